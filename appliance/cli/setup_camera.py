"""The questions about a camera: one that is attached, one in the network, or none now."""

import re
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.setup_asking import Asking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.cameras.discover import Found

_NAME = "door"


def ask_camera(asking: Asking, found: "Sequence[Found]") -> dict[str, Any]:
    """Give the camera that is asked for, as a setup file says it; nothing where there is to be none now.

    Args:
        asking: Who asks.
        found: What is attached, the best first.
    """
    usable = [one for one in found if one.is_usable]
    _show(found, usable)
    network = len(usable) + 1
    default = 1 if first_camera(found) else 0
    chosen = click.prompt("Camera", type=click.IntRange(0, network), default=default, err=True)
    if not chosen:
        click.echo("Nothing runs without a camera; once there is one: sudo edgecam setup", err=True)
        return {}
    section = {"kind": "rtsp"} if chosen == network else _section(usable[chosen - 1])
    name = _ask_name(asking, section)
    return {"cameras": {name: _ask_network(asking, name) if chosen == network else section}}


def first_camera(found: "Sequence[Found]") -> dict[str, Any]:
    """Give the best camera that is attached, as a setup file says it; nothing where there is none.

    A drawn street is none.

    Args:
        found: What is attached, the best first.
    """
    attached = [one for one in found if one.is_usable and one.kind != "synthetic"]
    return {"cameras": {_NAME: _section(attached[0])}} if attached else {}


def _show(found: "Sequence[Found]", usable: "Sequence[Found]") -> None:
    click.echo("Cameras:\n  0  none now", err=True)
    for number, one in enumerate(usable, 1):
        click.echo(f"  {number}  {one.title}" + (f" ({one.address})" if one.address != one.kind else ""), err=True)
    click.echo(f"  {len(usable) + 1}  a network camera, by its RTSP address", err=True)
    for one in found:
        if not one.is_usable:
            click.echo(f"  -  {one.title} ({one.address}): {one.why}", err=True)


def _ask_name(asking: Asking, section: dict[str, Any]) -> str:
    whole = section if section["kind"] != "rtsp" else {**section, "url": "rtsp://host/"}  # until it is known
    return asking.answer("Its name in topics", "cameras.", lambda text: {"cameras": {text: whole}}, _NAME)


def _ask_network(asking: Asking, name: str) -> dict[str, Any]:
    section: dict[str, Any] = {"kind": "rtsp", "url": "rtsp://host/"}
    path = f"cameras.{name}"

    def with_url(text: str) -> dict[str, Any]:
        if "@" in text.partition("://")[2].partition("/")[0]:
            raise click.BadParameter("carries a user name or password; both are asked for next: leave them out here")
        return {"cameras": {name: {**section, "url": text}}}

    def with_one(setting: str, text: str) -> dict[str, Any]:
        return {"cameras": {name: {**section, setting: text}}}

    section["url"] = asking.answer("Its address, rtsp://HOST/PATH", f"{path}.url", with_url, None)
    user = asking.optional("User name at the camera", f"{path}.username", lambda text: with_one("username", text))
    if not user:
        return section
    section["username"] = user
    question = "Password at the camera (empty: none)"
    password = asking.answer(question, f"{path}.password", lambda text: with_one("password", text), is_hidden=True)
    return {**section, **({"password": password} if password else {})}


def _section(found: "Found") -> dict[str, Any]:
    section: dict[str, Any] = {"kind": found.kind}
    if found.kind == "v4l2":
        section["device"] = found.address
    if (place := re.fullmatch(r"picamera2:(\d+)", found.address)) is not None:
        section["index"] = int(place[1])
    return section
