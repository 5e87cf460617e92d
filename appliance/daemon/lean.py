"""Keeps out of the daemon's memory what its libraries import and it does not use."""

import inspect
import os
import sys
import threading
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

_NEVER_RAISED = ("CertificateError", "SSLCertVerificationError", "SSLError", "SSLWantReadError", "SSLWantWriteError")


class Late(ModuleType):
    """Stands in for a module and loads it when it is first used; may be used by any thread.

    `importlib.util.LazyLoader` would load at the first look at anything, and in some versions of Python 3.11
    and 3.12 not safely in threads (cpython#114763).

    Args:
        name: The module's.
        known: What can be answered without loading it.
    """

    def __init__(self, name: str, known: Mapping[str, Any]) -> None:
        super().__init__(name)
        self._known, self._lock = known, threading.Lock()
        self._module: ModuleType | None = None

    def __getattr__(self, name: str) -> Any:
        if self._module is None and name in self._known:
            return self._known[name]
        if self._module is None and name.startswith("__") and name != "__path__":
            # whoever walks over all modules looks at such names, which is no reason to load it
            raise AttributeError(f"module {self.__name__!r} is not loaded yet")
        return getattr(self._module or self._load(), name)

    def _load(self) -> ModuleType:
        with self._lock:
            if self._module is None:
                for other in [name for name, module in sys.modules.items() if isinstance(module, Late)]:
                    if other == self.__name__ or other.startswith(f"{self.__name__}."):
                        del sys.modules[other]
                self._module = import_module(self.__name__)
        return self._module


class _NeverRaised(Exception):  # noqa: N818 - it stands for errors
    """Stands for an exception of a module that is not loaded: nothing can have raised it."""


def keep_out() -> None:
    """Let TLS, asyncio and what else only other programs use be loaded late or never; call it before all imports.

    OpenSSL is loaded for a broker with TLS and for a network camera; paho, urllib.request and http.client would import
    it in any case. typing_extensions loads asyncio for pydantic, up to Python 3.12, only to tell a coroutine from a
    function. pydantic looks for plug-ins in the metadata of all that is installed; we have none. Together 7.5 MB.
    """
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "1"
    coroutines = Late("asyncio.coroutines", {"iscoroutinefunction": inspect.iscoroutinefunction})
    for name, known in (
        ("asyncio", {"coroutines": coroutines}),
        ("hashlib", {}),
        ("html", {}),
        ("importlib.metadata", {}),
        ("ssl", dict.fromkeys(_NEVER_RAISED, _NeverRaised)),
        ("urllib.request", {}),
    ):
        if name not in sys.modules:
            _put(Late(name, known))
    if isinstance(sys.modules["asyncio"], Late):
        _put(coroutines)


def _put(module: Late) -> None:
    sys.modules[module.__name__] = module
    parent, _, name = module.__name__.rpartition(".")
    if parent and not isinstance(sys.modules.get(parent), Late):
        setattr(import_module(parent), name, module)
