"""A running daemon and releases that are encrypted or licensed for a time. `make fleet` runs it; it takes minutes."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyrage", reason="needs pip install 'edgecam[protect]'")

from appliance.core.sealing import Keys, make_key
from tests.shared_data import needs
from tests.simulators.bad_models import WEIGHTS, released, spoilt
from tests.simulators.broker import Mosquitto
from tests.simulators.fleet import Fleet, Web
from tests.simulators.sealed import seal_folder
from tests.simulators.subscriber import Subscriber
from tests.system.fleet_config import configured
from tests.system.fleet_device import FOOTAGE, OFTEN, TRIAL, ended, seen_by
from tests.system.process import EdgecamProcess, wait_for

pytestmark = [needs(FOOTAGE), pytest.mark.timeout(1800)]

KEY = '[model]\nkey = { credential = "model-key" }\n'


def daemon(tmp_path: Path, fleet: Fleet, web: Web, broker: Mosquitto) -> EdgecamProcess:
    """Give a daemon whose key is a credential, as systemd hands it over."""
    config = KEY + configured(FOOTAGE, fleet.root, web, OFTEN)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    return EdgecamProcess(tmp_path, "--broker", broker.url, config=config, environment=environment)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "credentials" / "model-key"
    file.parent.mkdir()
    file.write_text(make_key()[0])
    return file


def publish(fleet: Fleet, folder: Path, counter: int, key: Path | None = None, **changes: Any) -> bytes:
    """Roll a release out, encrypted where there is a key; give its weights as they are."""
    plain = (folder / WEIGHTS).read_bytes()
    if key is not None:
        seal_folder(folder, key)
        held = {"sha256": hashlib.sha256(plain).hexdigest(), "size": len(plain)}
        changes |= {"plain": {f"{WEIGHTS}.age": held}}
        changes |= {"recipients": sorted(Keys(key.read_text(), "the test").recipients)}
    fleet.roll_out("edgecam-nano", fleet.release(folder, counter, **changes), trial=TRIAL)
    fleet.sign()
    return plain


def findings(status: dict[str, Any]) -> dict[str, str]:
    return {one["component"]: one["what"] for one in status["findings"] if one["state"] != "ok"}


def is_anywhere(folder: Path, content: bytes) -> list[Path]:
    """Give the files in which some bytes from the midst of a content are."""
    part = content[len(content) // 2 :][:64]
    return [file for file in folder.rglob("*") if file.is_file() and part in file.read_bytes()]


def test_an_encrypted_release_is_tried_committed_and_runs_after_a_restart_and_nothing_of_it_lies_in_the_clear(
    tmp_path: Path, fleet: Fleet, web: Web, broker: Mosquitto, key: Path
) -> None:
    with Subscriber(broker.port) as subscriber, daemon(tmp_path, fleet, web, broker) as edgecam:
        wait_for(lambda: seen_by(subscriber, "0.2.0"), 60, "the factory model")
        plain = publish(fleet, released(tmp_path / "v9", "9"), 9, key)
        assert ended(subscriber, "9", 600)["outcome"] == "committed"
        wait_for(lambda: seen_by(subscriber, "9"), 20, "messages that name the new version")
        publish(fleet, released(tmp_path / "v10", "10", spoilt("blind")), 10, key)
        assert ended(subscriber, "10", 600)["code"] == "E_GOLDEN"
        assert edgecam.status()["model"]["version"] == "9"
        assert list((tmp_path / "state").rglob("*.age"))
        assert is_anywhere(tmp_path / "state", plain) == []
        secret = key.read_text()[20:40]
        told = [payload for _, payload, _ in subscriber.messages]
        assert not any(secret.encode() in payload for payload in told)
        assert secret not in json.dumps(edgecam.status()) + edgecam.errors() + edgecam.output()
        assert secret.encode() not in Path(f"/proc/{edgecam.pid}/cmdline").read_bytes()
        edgecam.stop()
        edgecam.start()
        edgecam.wait_for_status(lambda now: now["model"]["version"] == "9", 60, "the release again")
        edgecam.kill()
        kept = key.read_text()
        key.unlink()
        edgecam.start()
        status = edgecam.wait_for_status(lambda now: now["model"]["version"] == "0.2.0", 60, "the factory model")
        wait_for(lambda: "(E_KEY)" in findings(edgecam.status()).get("release", ""), 20, "why")
        assert "model-key" in findings(status)["key"]
        edgecam.stop()
        key.write_text(kept)
        edgecam.start()
        edgecam.wait_for_status(lambda now: now["model"]["version"] == "9", 60, "the release with its key")
        assert findings(edgecam.status()) == {}


def test_a_licence_that_ends_soon_is_told_and_one_that_has_ended_is_not_run(
    tmp_path: Path, fleet: Fleet, web: Web, broker: Mosquitto
) -> None:
    today = datetime.now(UTC).date()
    with Subscriber(broker.port) as subscriber, daemon(tmp_path, fleet, web, broker) as edgecam:
        wait_for(lambda: seen_by(subscriber, "0.2.0"), 60, "the factory model")
        ends = (today + timedelta(days=10)).isoformat()
        publish(fleet, released(tmp_path / "v9", "9"), 9, licence={"spdx": "Apache-2.0", "expires": ends})
        assert ended(subscriber, "9", 600)["outcome"] == "committed"
        wait_for(lambda: f"its licence ends on {ends}" in findings(edgecam.status()).get("release", ""), 20, "the end")
        wait_for(lambda: (subscriber.bodies("/model")[-1]["licence"] or {}).get("expires") == ends, 20, "in `model`")
        edgecam.stop()
        over = (today - timedelta(days=2)).isoformat()
        folder = next((tmp_path / "state" / "models" / "releases").iterdir())
        told = json.loads((folder / "release.json").read_text())
        told["release"]["licence"]["expires"] = over  # two weeks pass
        (folder / "release.json").write_text(json.dumps(told))
        fleet.now = datetime.now(UTC)  # whose signed word counts where the machine's clock is not synchronised
        fleet.sign()
        edgecam.start()
        edgecam.wait_for_status(
            lambda now: now["model"]["version"] == "0.2.0" and "(E_LICENCE)" in findings(now).get("release", ""),
            60,
            "the factory model, and why",
        )
        withheld = wait_for(lambda: subscriber.bodies("/model")[-1]["withheld"], 20, "in `model`")
        assert withheld["code"] == "E_LICENCE"
        assert subscriber.bodies("/model")[-1]["active"]["version"] == "9"
