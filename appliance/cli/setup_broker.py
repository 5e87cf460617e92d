"""The questions about the broker: what is not asked anew stays, and what cannot stay is told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from appliance.cli.setup_asking import Asking, Said

_DEFAULT = "mqtt://127.0.0.1:1883"
_WITHOUT_ACCOUNT = ("embedded", "none")


def ask_broker(asking: Asking, current: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is asked of the broker, as a setup file says it; nothing where all stays.

    Args:
        asking: Who asks.
        current: The section ``[messaging]`` as it is configured.
    """
    there = current.get("broker", _DEFAULT)
    url = asking.answer("Broker, mqtt://HOST or mqtts://HOST", "broker.url", lambda text: _said(url=text), there)
    if url == there and url in _WITHOUT_ACCOUNT:
        return {}
    kept = _kept(asking, current)
    is_same = _is_same(url, there, kept)
    was = current.get("username", "") if is_same else ""
    name = asking.optional("User name at the broker", "broker.username", _with(url, "username"), was)
    is_unchanged = url == there and name == was
    stays = is_same and ("password" in kept or (is_unchanged and "password" in current))
    password = _ask_password(asking, url, stays=stays) if name else ""
    if is_unchanged and not password:
        return {}
    broker = {"url": url, **({"username": name} if name else {}), **(kept if is_same else {})}
    if password:
        broker["password"] = password
    elif not name:
        broker.pop("password", None)
    if is_same:
        _tell_what_goes(current, broker)
    return {"broker": broker}


def _said(**broker: Any) -> dict[str, Any]:
    return {"broker": broker}


def _with(url: str, setting: str) -> Said:
    return lambda text: _said(url=url, **{setting: text})


def _ask_password(asking: Asking, url: str, *, stays: bool) -> str:
    question = f"Password at the broker (empty: {'the one that is there' if stays else 'none'})"
    return asking.answer(question, "broker.password", _with(url, "password"), is_hidden=True)


def _is_same(url: str, there: str, kept: Mapping[str, Any]) -> bool:
    """Tell whether it is the broker of before; a password goes to no other host unless the owner says so."""
    before = urlsplit(there).hostname
    if urlsplit(url).hostname == before or not kept or before is None:
        return True
    told = {"ca_file": "certificates", "cert_file": "certificates"}
    what = " and ".join(dict.fromkeys(told.get(key, key) for key in kept))
    return click.confirm(f"Is it the same broker at a new address, with the same {what}?", err=True)


def _kept(asking: Asking, current: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a setup put there and the device still has, as a setup file says that it stays."""
    from appliance.provisioning import configuration
    from appliance.provisioning.secrets import MOVED

    kept: dict[str, Any] = {}
    if current.get("password") == {"credential": configuration.CREDENTIAL} and asking.is_kept("broker.password"):
        kept["password"] = dict(MOVED)
    tls = current.get("tls", {})
    for name, place in (("ca_file", configuration.CA), ("cert_file", configuration.CERTIFICATE)):
        if tls.get(name) == place and asking.is_kept(f"broker.{name}"):
            kept[name] = Path(place).name
    return kept


def _tell_what_goes(current: Mapping[str, Any], broker: Mapping[str, Any]) -> None:
    """Tell what somebody has written by hand and a setup file cannot say."""
    tls = current.get("tls", {})
    gone = ["password"] if "password" in current and "username" in broker and "password" not in broker else []
    gone += ["username_from"] if "username_from" in current else []
    gone += [f"tls.{name}" for name in ("ca_file", "cert_file") if name in tls and name not in broker]
    if gone:
        told = f"Taken out of [messaging], for they were written by hand: {', '.join(gone)}; write them again."
        click.echo(told, err=True)
