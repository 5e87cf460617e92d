"""Keeps out of the daemon's memory what its libraries import and it does not use."""

import inspect
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
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
        functions: Those of its functions that can be looked at without loading it, but not called.
    """

    def __init__(self, name: str, known: Mapping[str, Any], functions: Sequence[str] = ()) -> None:
        super().__init__(name)
        self._known = {**known, **{function: partial(self._call, function) for function in functions}}
        self._lock = threading.Lock()
        self._module: ModuleType | None = None

    def __getattr__(self, name: str) -> Any:
        if self._module is None and name in self._known:
            return self._known[name]
        if self._module is None and name.startswith("__") and name != "__path__":
            # whoever walks over all modules looks at such names, which is no reason to load it
            raise AttributeError(f"module {self.__name__!r} is not loaded yet")
        return getattr(self._module or self._load(), name)

    def _call(self, function: str, *given: Any, **named: Any) -> Any:
        return getattr(self._module or self._load(), function)(*given, **named)

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


def _path(package: str) -> list[str]:
    """Give where its modules lie: `from package import name` asks for it."""
    spec = find_spec(package)
    return [] if spec is None or spec.submodule_search_locations is None else list(spec.submodule_search_locations)


def keep_out() -> None:
    """Let TLS, asyncio and what else only other programs use be loaded late or never; call it before all imports.

    OpenSSL is loaded for a broker with TLS, a network camera and a large model; paho, urllib.request and http.client
    would import it in any case, and so would pydantic 2.14 with `secrets`. For pydantic before that, typing_extensions
    loads asyncio up to Python 3.12, only to tell a coroutine from a function. pydantic looks for plug-ins in the
    metadata of all that is installed; we have none. Together 6.6 MB.
    """
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "1"
    coroutines = Late("asyncio.coroutines", {"iscoroutinefunction": inspect.iscoroutinefunction})
    for late in (
        Late("asyncio", {"coroutines": coroutines}),
        Late("hashlib", {}),
        Late("html", {}),
        Late("importlib.metadata", {"__path__": _path("importlib.metadata")}, functions=("entry_points",)),
        Late("secrets", {}),
        Late("ssl", dict.fromkeys(_NEVER_RAISED, _NeverRaised)),
        Late("urllib.request", {}),
    ):
        if late.__name__ not in sys.modules:
            _put(late)
    if isinstance(sys.modules["asyncio"], Late):
        _put(coroutines)


def _put(module: Late) -> None:
    sys.modules[module.__name__] = module
    parent, _, name = module.__name__.rpartition(".")
    if parent and not isinstance(sys.modules.get(parent), Late):
        setattr(import_module(parent), name, module)
