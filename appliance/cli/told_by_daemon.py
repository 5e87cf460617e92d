"""What the running daemon says of itself, as the doctor's outcomes. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from appliance.core.checkup import CheckState, Outcome
from appliance.inference.running import FIX

_STATES: Final = {"ok": CheckState.OK, "degraded": CheckState.WARNING, "failed": CheckState.FAILED}
_CAMERA: Final = "look at the camera and its cable; the daemon goes on trying by itself"
_PUBLISH: Final = ("state", "delivery")
_TOLD_ELSEWHERE: Final = frozenset(
    {
        "model",
        "releases",
        "outbox",
        "broker",
        "credentials",
        "tls",
        "subscriptions",
        "identity",
        "temperature",
        "disk",
        "power",
    }
    | set(_PUBLISH)
)


def daemon_outcomes(status: Mapping[str, Any]) -> list[Outcome]:
    """Tell that it answers, and give each of its findings that no other check tells."""
    seen = f"edgecam {status['version']}, up {status['uptime_s'] / 3600.0:.1f} h, {status['state']}"
    restarts = ", ".join(f"{name} {count}" for name, count in status.get("restarts", {}).items())
    if restarts:
        what = f"{seen}; parts that had to be started again: {restarts}"
        told = [Outcome("daemon", CheckState.WARNING, what, "edgecam logs --level warning")]
    else:
        told = [Outcome("daemon", CheckState.OK, seen)]
    for finding in status["findings"]:
        component = finding["component"]
        is_elsewhere = component in _TOLD_ELSEWHERE or component.startswith("camera:")
        if finding["state"] != "ok" and not is_elsewhere:
            told.append(_of_finding(f"daemon.{component}", finding))
    return told


def camera_outcome(name: str, status: Mapping[str, Any]) -> Outcome:
    """Tell how a camera is."""
    camera = status["cameras"].get(name)
    if camera is None:
        what = "the daemon does not know this camera: it runs with an older configuration"
        return Outcome(f"camera.{name}", CheckState.WARNING, what, "sudo systemctl reload edgecam")
    if camera["state"] == "online":
        seen = f"{camera['fps']:.1f} frames a second, {camera['width']}x{camera['height']}"
        return Outcome(f"camera.{name}", CheckState.OK, seen)
    if camera["state"] == "disabled":
        return Outcome(f"camera.{name}", CheckState.SKIPPED, "switched off in the configuration")
    finding = _find(status, f"camera:{name}")
    what = camera["why"] or (finding or {}).get("what") or "no frames come"
    fix = (finding or {}).get("fix") or _CAMERA
    return Outcome(f"camera.{name}", CheckState.FAILED, f"{camera['state']}: {what}", fix)


def runtime_outcome(status: Mapping[str, Any]) -> Outcome:
    """Tell what really runs the model."""
    model, finding = status["model"], _find(status, "model")
    parts = (
        one["name"] if one["nodes"] is None else f"{one['nodes']} nodes on {one['name']}" for one in model["providers"]
    )
    name = f"{model['name']} {model['version']}, {model['file']}"
    seen = f"{name}: {', '.join(parts)}" if model["in_service"] else f"nothing of {name} is in service"
    if finding is not None:
        state = _STATES[finding["state"]]
        return Outcome("runtime", state, f"{seen}; {finding['what']}", finding["fix"] or FIX)
    return Outcome("runtime", CheckState.OK, seen)


def broker_outcomes(status: Mapping[str, Any], patterns: Sequence[str]) -> list[Outcome]:
    """Tell of the connection that the daemon has, from the credentials on; nothing when it has none."""
    figures = status["messaging"]
    if not figures.get("connected"):
        return []
    stages = {
        "credentials": "the daemon's are accepted",
        "mqtt": f"the daemon is connected with MQTT {figures['protocol']}",
        "publish": f"the broker has taken {figures.get('acknowledged', 0)} messages since the start",
        "subscribe": f"{', '.join(patterns)} may be read" if patterns else "",
    }
    blamed = {
        "credentials": ("credentials",),
        "mqtt": ("identity",),
        "publish": _PUBLISH,
        "subscribe": ("subscriptions",),
    }
    told = []
    for stage, seen in stages.items():
        finding = next((found for name in blamed[stage] if (found := _find(status, name)) is not None), None)
        if finding is not None:
            told.append(_of_finding(f"broker.{stage}", finding))
        elif seen:
            told.append(Outcome(f"broker.{stage}", CheckState.OK, seen))
        else:
            what = "the device reads nothing: commands are off"
            told.append(Outcome(f"broker.{stage}", CheckState.SKIPPED, what))
    return told


def outbox_outcome(status: Mapping[str, Any]) -> Outcome:
    """Tell how the outbox is."""
    figures, finding = status["messaging"], _find(status, "outbox")
    if figures["broker"] == "none":
        return Outcome("outbox", CheckState.SKIPPED, "there is no broker: messages are counted, not kept")
    oldest = f", the oldest for {figures.get('oldest_age_s', 0.0) / 3600.0:.1f} h" if figures["rows"] else ""
    seen = f"{figures['rows']} messages wait{oldest}; {figures.get('bytes', 0) / 1e6:.1f} MB"
    lost = figures.get("evicted", 0) + figures.get("declared_lost", 0)
    if finding is not None:
        return _of_finding("outbox", finding, f"; {seen}")
    if lost:
        what = f"{seen}; {lost} were given up since the start, and are named in gap records"
        fix = "enlarge [messaging.outbox] or the disk, or see to the broker"
        return Outcome("outbox", CheckState.WARNING, what, fix)
    return Outcome("outbox", CheckState.OK, seen)


def releases_outcome(status: Mapping[str, Any]) -> Outcome | None:
    """Tell what the daemon has found of its record of releases; None: nothing."""
    finding = _find(status, "releases")
    return None if finding is None else _of_finding("releases", finding)


def _of_finding(identity: str, finding: Mapping[str, Any], more: str = "") -> Outcome:
    fix = finding["fix"] or "edgecam logs --level warning"
    return Outcome(identity, _STATES[finding["state"]], f"{finding['what']}{more}", fix)


def _find(status: Mapping[str, Any], component: str) -> Mapping[str, Any] | None:
    """Give what is the matter with a component; None: nothing."""
    wrong = (each for each in status["findings"] if each["state"] != "ok")
    return next((each for each in wrong if each["component"] == component), None)
