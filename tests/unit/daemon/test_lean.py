"""Run in processes of their own: what is loaded there counts."""

import subprocess
import sys

import pytest

LEAN = "import sys\nfrom appliance.daemon.lean import keep_out\nkeep_out()\n"


def output_of(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_daemon_s_imports_load_neither_openssl_nor_asyncio() -> None:
    heavy = {"_ssl", "_hashlib", "asyncio.events", "html.entities"}
    daemon = f"{LEAN}import appliance.daemon.app, appliance.inference.runtimes.onnx\n"
    assert output_of(f"{daemon}print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_what_describes_messages_and_what_is_for_other_systems_is_not_loaded_unless_it_is_asked_for() -> None:
    ours = "{name for name in sys.modules if name.startswith('appliance.messaging.')}"
    parts = ("contract", "homeassistant", "frigate", "onvif", "relay")
    found = output_of(f"{LEAN}import appliance.daemon.app, appliance.daemon.outputs\nprint(*{ours})").split()
    assert "appliance.messaging.payloads" in found
    assert [name for name in found if name.split(".")[2] in parts] == []


def test_without_it_they_would() -> None:
    assert output_of("import paho.mqtt.client, sys; print('_ssl' in sys.modules)") == "True"


@pytest.mark.parametrize(
    ("use", "given"),
    [
        ("import ssl; print(ssl.create_default_context().check_hostname)", "True"),
        (
            "from paho.mqtt.client import ssl; ssl.SSLContext; import ssl as own; print(ssl.SSLError is own.SSLError)",
            "True",
        ),
        ("from hashlib import sha256; print(sha256(b'').hexdigest()[:8])", "e3b0c442"),
        ("import asyncio; print(asyncio.run(asyncio.sleep(0, 'slept')))", "slept"),
        ("from asyncio.events import get_event_loop_policy; print(bool(get_event_loop_policy()))", "True"),
        ("import urllib.request; print(urllib.request.Request('http://host').host)", "host"),
        ("from importlib.metadata import version; import numpy; print(version('numpy') == numpy.__version__)", "True"),
        ("from importlib.metadata import entry_points; print(len(entry_points(group='no such')))", "0"),
        ("import secrets; print(len(secrets.token_hex(4)))", "8"),
        ("import html; print(html.escape('<'))", "&lt;"),
    ],
)
def test_what_was_kept_out_is_there_as_soon_as_it_is_used(use: str, given: str) -> None:
    assert output_of(LEAN + use) == given


def test_an_error_of_a_library_that_is_not_loaded_is_no_other_error() -> None:
    script = (
        "import paho.mqtt.client as c\n"
        "try:\n    raise BlockingIOError\n"
        "except c.ssl.SSLWantReadError:\n    print('wrong')\n"
        "except BlockingIOError:\n    print('_ssl' in sys.modules)\n"
    )
    assert output_of(LEAN + script) == "False"


def test_threads_that_use_it_at_once_get_the_same_module() -> None:
    script = (
        "import ssl, threading\n"
        "start, got = threading.Barrier(8), []\n"
        "def use():\n    start.wait(10)\n    got.append(ssl.SSLContext)\n"
        "threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join(10) for thread in threads]\n"
        "print(len(got), len(set(got)))\n"
    )
    assert output_of(LEAN + script) == "8 1"
