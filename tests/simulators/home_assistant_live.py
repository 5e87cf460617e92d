"""Run by a Python that has Home Assistant: a whole one, with its MQTT integration on a broker of ours.

Arguments: the broker's port on loopback, and a free one for its pages. Prints a JSON line with all states
whenever one has changed, and obeys lines on stdin: ``{"domain": …, "service": …, "data": …}`` calls a service; the end
of stdin ends it.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from homeassistant.bootstrap import async_setup_hass
from homeassistant.config_entries import ConfigEntry, ConfigEntryState
from homeassistant.core import HomeAssistant, callback
from homeassistant.runner import RuntimeConfig

CONFIGURATION = "homeassistant:\n  name: test\nhttp:\n  server_host: 127.0.0.1\n  server_port: {port}\n"


async def started(folder: str) -> HomeAssistant:
    """Start Home Assistant with nothing but what MQTT needs."""
    hass = await async_setup_hass(RuntimeConfig(config_dir=folder, skip_pip=True, safe_mode=False))
    assert hass is not None
    await hass.async_start()
    return hass


async def connect(hass: HomeAssistant, port: int) -> None:
    """Add the broker, as its owner would by hand."""
    entry = ConfigEntry(
        data={"broker": "127.0.0.1", "port": port},
        discovery_keys={},
        domain="mqtt",
        minor_version=2,
        options={},
        source="user",
        subentries_data=None,
        title="broker",
        unique_id=None,
        version=1,
    )
    await hass.config_entries.async_add(entry)
    assert entry.state is ConfigEntryState.LOADED, entry.state


def show(hass: HomeAssistant) -> None:
    """Print all states of entities that MQTT has made, with their attributes."""
    found: dict[str, Any] = {}
    for state in hass.states.async_all():
        found[state.entity_id] = {"state": state.state, **state.attributes}
    print(json.dumps(found, default=str), flush=True)


async def main(port: int, folder: str) -> None:
    """Run until stdin ends."""
    hass = await started(folder)
    await connect(hass, port)
    hass.bus.async_listen("state_changed", callback(lambda _: show(hass)))
    while line := await asyncio.to_thread(sys.stdin.readline):
        wanted = json.loads(line)
        await hass.services.async_call(wanted["domain"], wanted["service"], wanted["data"], blocking=True)
    await hass.async_stop(force=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        Path(place, "configuration.yaml").write_text(CONFIGURATION.format(port=sys.argv[2]), encoding="utf-8")
        asyncio.run(main(int(sys.argv[1]), place))
