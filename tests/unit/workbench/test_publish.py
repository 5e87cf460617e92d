"""The commands that publish, as a person or a timer runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.core.errors import ConfigError, ModelError, StorageError
from appliance.core.files import write_atomically
from appliance.workbench.publish import publish
from appliance.workbench.publishing import keys
from tests.simulators.publishing import Fleet, metrics_of, write_model


def run(*arguments: object) -> str:
    return CliRunner().invoke(publish, [str(one) for one in arguments], catch_exceptions=False).stdout


def test_from_the_first_keys_to_a_folder_that_a_device_s_client_accepts(tmp_path: Path) -> None:
    fleet, www, held = tmp_path / "fleet", tmp_path / "www", tmp_path / "keys"
    told = json.loads(run("init", fleet, "--make-keys", held, "--json"))
    assert [one["wanted"] for one in told["staged"]] == [2, 2, 2]
    model = write_model(tmp_path / "mine")
    added = json.loads(run("add", fleet, model, "--metrics", metrics_of(model), "--json"))
    assert (added["name"], added["version"], added["counter"]) == ("mine", "1.0", 1)
    names = ("root-1", "root-2", "targets-1", "targets-2", "models-1", "models-2")
    signing = [part for name in names for part in ("--with", f"file2:{held / name}.pem")]
    signed = json.loads(run("sign", fleet, *signing, "--yes", "--json"))
    assert all(one["is_enough"] for one in signed["staged"])
    assert json.loads(run("refresh", fleet, "--json"))["accepted"] == ["root", "targets", "models"]
    assert json.loads(run("push", fleet, www, "--json"))["timestamp"] == 1
    assert json.loads(run("verify", www, "--json"))["releases"] == ["mine 1.0"]
    assert not any("PRIVATE" in file.read_text(errors="replace") for file in www.rglob("*") if file.is_file())
    assert {file.relative_to(www).parts[0] for file in www.rglob("*")} == {"metadata", "targets"}


def test_nothing_is_signed_before_it_was_shown_and_agreed_to(tmp_path: Path) -> None:
    run("init", tmp_path / "fleet", "--make-keys", tmp_path / "keys")
    arguments = ["sign", str(tmp_path / "fleet"), "--with", f"file2:{tmp_path / 'keys' / 'root-1.pem'}"]
    done = CliRunner().invoke(publish, arguments, input="n\n")
    assert done.exit_code == 1
    assert "+ roles > root > threshold = 2" in done.output
    told = json.loads(run(*arguments, "--yes", "--json"))
    assert [one["signed"] for one in told["staged"]] == [1, 0, 0]


def test_a_program_that_asks_for_json_does_not_take_away_what_a_person_is_shown(tmp_path: Path) -> None:
    run("init", tmp_path / "fleet", "--make-keys", tmp_path / "keys")
    arguments = ["sign", str(tmp_path / "fleet"), "--with", f"file2:{tmp_path / 'keys' / 'root-1.pem'}", "--json"]
    done = CliRunner().invoke(publish, arguments, input="y\n", catch_exceptions=False)
    assert "+ roles > root > threshold = 2" in done.stderr
    assert [one["signed"] for one in json.loads(done.stdout)["staged"]] == [1, 0, 0]


def test_a_holder_s_own_root_is_a_root(tmp_path: Path) -> None:
    run("init", tmp_path / "fleet", "--make-keys", tmp_path / "keys")
    staged, key = tmp_path / "fleet" / "staging", f"file2:{tmp_path / 'keys' / 'root-1.pem'}"
    with pytest.raises(ConfigError, match=r"is targets metadata; accepted: a root"):
        run("sign", staged, "--with", key, "--root", staged / "1.targets.json", "--yes")
    told = json.loads(run("sign", staged, "--with", key, "--root", staged / "1.root.json", "--yes", "--json"))
    assert told["staged"][0]["signed"] == 1


def test_an_online_key_is_found_from_whatever_folder_a_timer_starts_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    run("init", "fleet", "--make-keys", "keys")
    names = ("root-1", "root-2", "targets-1", "targets-2", "models-1", "models-2")
    run("sign", "fleet", *(part for name in names for part in ("--with", f"file2:keys/{name}.pem")), "--yes")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert json.loads(run("refresh", tmp_path / "fleet", "--json"))["timestamp"] == 1


def test_a_key_that_signs_nothing_of_what_waits_is_told(tmp_path: Path) -> None:
    run("init", tmp_path / "fleet", "--make-keys", tmp_path / "keys")
    with pytest.raises(ConfigError, match="signs nothing of what waits: root, targets, models"):
        run("sign", tmp_path / "fleet", "--with", f"file2:{tmp_path / 'keys' / 'online-1.pem'}", "--yes")


def test_a_fleet_without_keys_and_an_address_without_a_root_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="to try it out: --make-keys"):
        run("init", tmp_path / "fleet")
    with pytest.raises(ConfigError, match="would prove nothing"):
        run("verify", "https://fleet.example")
    with pytest.raises(ConfigError, match="begin with: edgecam-workbench publish init"):
        run("refresh", tmp_path / "none")


def run_without_terminal(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from appliance.workbench.main import main; main()", "publish", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | environment,
        start_new_session=True,  # else getpass would find the terminal that the tests run in
    )


def test_a_passphrase_that_nobody_can_give_is_an_error_that_says_how_else(tmp_path: Path) -> None:
    done = run_without_terminal("key", tmp_path / "one.pem")
    assert (done.returncode, done.stdout) == (78, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "EDGECAM_PASSPHRASE_FILE=FILE" in done.stderr
    assert not list(tmp_path.iterdir())


def test_without_a_terminal_a_file_gives_the_passphrase_of_a_key_and_signs_with_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("right\n", encoding="utf-8")
    secret.chmod(0o600)
    assert run_without_terminal("key", tmp_path / "anna.pem", EDGECAM_PASSPHRASE_FILE=str(secret)).returncode == 0
    assert b"ENCRYPTED" in (tmp_path / "anna.pem").read_bytes()
    run("init", tmp_path / "fleet", "--make-keys", tmp_path / "keys", "--root", tmp_path / "anna.pem.pub")
    signing = ("sign", tmp_path / "fleet", "--with", f"file2:{tmp_path / 'anna.pem'}")
    unanswered = run_without_terminal(*signing)
    assert (unanswered.returncode, "--yes" in unanswered.stderr) == (78, True)
    assert "EDGECAM_PASSPHRASE_FILE=FILE" in run_without_terminal(*signing, "--yes").stderr
    signed = run_without_terminal(*signing, "--yes", "--json", EDGECAM_PASSPHRASE_FILE=str(secret))
    assert [one["signed"] for one in json.loads(signed.stdout)["staged"]] == [1, 0, 0]


def test_a_passphrase_that_others_can_read_or_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    monkeypatch.setenv("EDGECAM_PASSPHRASE_FILE", str(secret))
    with pytest.raises(StorageError, match="cannot read"):
        run("key", tmp_path / "one.pem")
    for content, mode, why in ((b"right", 0o640, "chmod 600"), (b"\nright", 0o600, "not 0"), (b"\xff", 0o600, "UTF-8")):
        secret.write_bytes(content)
        secret.chmod(mode)
        with pytest.raises(ConfigError, match=why):
            run("key", tmp_path / "one.pem")


def test_a_folder_that_somebody_has_damaged_is_told_with_what_to_do(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.publish()
    folder, metadata = fleet.repository.folder, fleet.repository.metadata
    online = (folder / "online.json").read_bytes()
    (folder / "online.json").write_text("{", encoding="ascii")
    with pytest.raises(ConfigError, match=r"online.json: 1 entry is not accepted:\n.*\n  .*put it back from a copy"):
        run("refresh", folder)
    (folder / "online.json").write_bytes(online)
    (metadata / "1.snapshot.json").write_bytes((metadata / "1.root.json").read_bytes())
    with pytest.raises(ModelError, match=r"1.snapshot.json is root metadata, not snapshot"):
        run("refresh", folder)
    (metadata / "1.root.json").write_bytes((metadata / "timestamp.json").read_bytes())
    with pytest.raises(ModelError, match=r"1.root.json is timestamp metadata, not root"):
        run("refresh", folder)


def test_an_online_key_that_is_not_there_is_told_before_anybody_signs_for_it(tmp_path: Path) -> None:
    run("init", tmp_path / "fleet", "--make-keys", tmp_path / "keys")
    line = ["rotate", tmp_path / "fleet", "timestamp", "--key", tmp_path / "keys" / "online-1.pem.pub", "--online"]
    with pytest.raises(ConfigError, match="there is no such file"):
        run(*line, f"file2:{tmp_path / 'none.pem'}")
    with pytest.raises(ConfigError, match="is no address of a key"):
        run(*line, "none.pem")


def test_a_key_whose_public_half_does_not_fit_on_the_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, content: bytes, **more: int) -> None:
        if path.suffix == ".pub":
            raise StorageError("no space left")
        write_atomically(path, content, **more)

    monkeypatch.setattr(keys, "write_atomically", write)
    with pytest.raises(StorageError):
        run("key", tmp_path / "one.pem", "--no-passphrase")
    assert not list(tmp_path.iterdir()), "the name is free for another try"


def test_without_its_libraries_publishing_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['cryptography'] = None; from appliance.workbench.main import main; main()"
    command = [sys.executable, "-c", code, "publish", "init", str(tmp_path / "fleet"), "--make-keys", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 70
    assert "pip install 'edgecam[publish]'" in done.stderr
