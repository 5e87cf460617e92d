"""The packages: what is in them, and that the same sources give the same bytes."""

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from appliance import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed: apt-get install dpkg"),
    pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="packages are made from a checkout"),
]


def run(out: Path, tree: Path = REPOSITORY, **changed: str) -> subprocess.CompletedProcess[str]:
    """Build the application's package, which needs no network."""
    own = {"OUT": str(out), "PYTHON": sys.executable, "APPLICATION_ONLY": "1"}
    command = [tree / "scripts/deb"]
    environment = {**os.environ, **own, **changed}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=110)


def build(out: Path, tree: Path = REPOSITORY) -> Path:
    done = run(out, tree)
    assert done.returncode == 0, done.stderr
    return out / f"edgecam_{__version__}_all.deb"


def names(package: Path) -> list[str]:
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True, timeout=60)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        return sorted(archive.getnames())


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def contents(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contents")
    subprocess.run(["dpkg-deb", "--raw-extract", package, folder], check=True, timeout=60)
    return folder


def test_the_same_sources_give_the_same_bytes(package: Path, tmp_path: Path) -> None:
    old = os.umask(0o077)  # nor does the builder's umask matter
    try:
        again = build(tmp_path / "second")
    finally:
        os.umask(old)
    assert package.read_bytes() == again.read_bytes()


def test_a_checkout_that_git_may_not_read_gives_no_package_but_what_to_do(tmp_path: Path) -> None:
    # as root in another user's clone; whoever runs this may have allowed it
    done = run(
        tmp_path, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null", GIT_TEST_ASSUME_DIFFERENT_OWNER="1"
    )
    assert done.returncode == 1
    assert "safe.directory" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_sources_without_git_give_the_same_files(package: Path, tmp_path: Path) -> None:
    listed = subprocess.check_output(["git", "ls-files"], cwd=REPOSITORY, text=True, timeout=60)
    for name in listed.splitlines():
        if (REPOSITORY / name).is_file() and not name.startswith("tests/"):
            (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, tmp_path / "tree" / name)
    compiled = tmp_path / "tree/appliance/__pycache__/remains.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.touch()
    assert names(build(tmp_path / "out", tmp_path / "tree")) == names(package)


def test_the_owner_s_configuration_is_the_only_file_that_dpkg_asks_about(contents: Path) -> None:
    assert (contents / "DEBIAN/conffiles").read_text().split() == ["/etc/edgecam/edgecam.toml"]


def test_what_a_workstation_runs_stays_there(contents: Path) -> None:
    application = contents / "usr/lib/edgecam/app/appliance"
    assert (application / "daemon/app.py").is_file()
    assert not (application / "workbench").exists()


def test_what_the_code_reads_beside_itself_and_what_subscribers_read_is_there(contents: Path) -> None:
    schema = [path.name for path in (REPOSITORY / "appliance/messaging/schema").glob("*.sql")]
    assert schema
    installed = contents / "usr/lib/edgecam/app/appliance/messaging/schema"
    assert sorted(path.name for path in installed.iterdir()) == sorted(schema)
    documents = contents / "usr/share/doc/edgecam"
    assert (documents / "asyncapi.yaml").is_file()
    assert (documents / "schemas/events.json").is_file()


def test_every_part_of_the_unit_is_where_systemd_looks(contents: Path) -> None:
    installed = {path.name for path in (contents / "usr/lib/systemd/system").iterdir()}
    assert installed == {
        path.name for path in (REPOSITORY / "systemd").iterdir() if path.suffix in {".service", ".timer"}
    }
    for place in ("sysusers.d/edgecam.conf", "tmpfiles.d/edgecam.conf", "udev/rules.d/60-edgecam.rules"):
        assert (contents / "usr/lib" / place).is_file()


def test_every_command_is_in_the_manual_and_completed(contents: Path) -> None:
    with gzip.open(contents / "usr/share/man/man1/edgecam.1.gz", "rt") as file:
        manual = file.read()
    for command in ("run", "status", "events", "detect", "tune", "camera list", "model add", "config check"):
        assert f".SS edgecam {command}" in manual
    completion = contents / "usr/share/bash-completion/completions/edgecam"
    assert "_EDGECAM_COMPLETE=bash_complete" in completion.read_text()
    assert subprocess.run(["bash", "-n", completion], check=False, timeout=10).returncode == 0


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
def test_scripts_are_sound_for_the_shell_that_dpkg_uses(contents: Path, script: str) -> None:
    assert subprocess.run(["sh", "-n", contents / "DEBIAN" / script], check=False, timeout=10).returncode == 0


def test_the_libraries_are_of_the_same_version_and_numpy_is_the_system_s(contents: Path) -> None:
    control = (contents / "DEBIAN/control").read_text()
    assert f"edgecam-runtime (= {__version__})" in control
    assert "python3-numpy" in control
    assert "@" not in control.replace("edgecam@", "")
