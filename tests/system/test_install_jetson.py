"""``scripts/install-jetson`` away from a Jetson: what it leaves where it stops half-way.

The shell, unpacking and importing are real, on a /usr/lib and an /etc of their own. apt, systemctl, uname and the
version of Python are not: a Jetson has them.
"""

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/install-jetson"
OWN = ("unshare", "--mount", "--map-root-user", "--propagation", "private")
WHEEL = "onnxruntime_gpu-1.31.1-cp312-cp312-linux_aarch64.whl"
ENTER = """\
set -e
mount -t tmpfs tmpfs "$1/layers"
mkdir "$1/layers/upper" "$1/layers/work" "$1/layers/etc"
mount -t overlay -o "lowerdir=/usr/lib,upperdir=$1/layers/upper,workdir=$1/layers/work" overlay /usr/lib
cp -R "$1/lib" /usr/lib/edgecam
mount --bind "$1/layers/etc" /etc
mount -t tmpfs tmpfs /sys/firmware
mkdir -p /sys/firmware/devicetree/base
printf 'nvidia,p3768\\0nvidia,tegra264' >/sys/firmware/devicetree/base/compatible
"""


def can_be_had() -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = "mount -t tmpfs tmpfs /mnt && mkdir /mnt/a /mnt/b && mount -t tmpfs tmpfs /sys/firmware && "
    tried += "mount -t overlay -o lowerdir=/usr/lib,upperdir=/mnt/a,workdir=/mnt/b overlay /usr/lib"
    return subprocess.run([*OWN, "sh", "-c", tried], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_be_had(), reason="needs mounts of its own: unshare --mount is refused")


@dataclass
class Jetson:
    """A device on which the CPU's ONNX Runtime is installed, and the service runs."""

    folder: Path

    def install(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the script and keep what it leaves in `after`."""
        shutil.rmtree(self.folder / "after", ignore_errors=True)
        run = f'{ENTER}set +e; folder=$1 shell=$2 script=$3; shift 3; "$shell" "$script" dist "$@"; code=$?; '
        run += 'cp -R /usr/lib/edgecam "$folder/after"; exit $code'
        command = [*OWN, "sh", "-c", run, "sh", str(self.folder), "bash", str(SCRIPT), *arguments]
        path = {"PATH": f"{self.folder}/tools:/usr/sbin:/usr/bin:/sbin:/bin"}
        return subprocess.run(
            command, cwd=self.folder, env=path, capture_output=True, text=True, check=False, timeout=60
        )

    def wheel(self, provider: str) -> str:
        """Make one whose ONNX Runtime has this provider."""
        with zipfile.ZipFile(self.folder / WHEEL, "w") as file:
            file.writestr("onnxruntime/__init__.py", f"def get_available_providers():\n    return [{provider!r}]\n")
        return WHEEL

    def asked(self, program: str) -> list[str]:
        lines = (self.folder / "asked").read_text().splitlines()
        return [line.removeprefix(f"{program} ") for line in lines if line.startswith(f"{program} ")]

    @property
    def started(self) -> bool:
        """Tell whether the service was started after it was stopped."""
        asked = [line for line in self.asked("systemctl") if line.startswith(("start", "stop"))]
        assert asked[0] == "stop edgecam.service"
        return asked[1:] == ["start edgecam.service"]

    @property
    def runtime(self) -> str:
        """Give the ONNX Runtime that is there afterwards."""
        return (self.folder / "after/vendor/cp312/onnxruntime/__init__.py").read_text()

    @property
    def remains(self) -> list[str]:
        """Give what lies beside it."""
        return sorted(
            str(path.relative_to(self.folder / "after")) for path in (self.folder / "after").glob("vendor/*/*")
        )


@pytest.fixture
def jetson(tmp_path: Path) -> Jetson:
    for name in ("dist", "tools", "layers", "lib/app", "lib/dropins", "lib/vendor/cp312/onnxruntime"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("edgecam-runtime_1_arm64.deb", "edgecam_1_all.deb"):
        (tmp_path / "dist" / name).touch()
    (tmp_path / "lib/dropins/jetson.conf").touch()
    (tmp_path / "lib/vendor/cp312/onnxruntime/__init__.py").write_text("# the CPU's\n")
    (tmp_path / "state").write_text("active\n")
    note = f'echo "$(basename "$0") $*" >>"{tmp_path}/asked"\n'
    tools = {
        "apt-get": note,
        "systemctl": f"{note}state={tmp_path}/state\n"
        'case $1 in show) cat "$state" ;; is-active) grep -qx active "$state" ;; '
        f"start) [ ! -e {tmp_path}/fails ] ;; esac\n",
        "edgecam": note,
        "uname": "echo aarch64\n",
        "python3": f'case $* in *version_info*) exit 0 ;; esac\nexec {sys.executable} "$@"\n',
    }
    for name, text in tools.items():
        (tmp_path / "tools" / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / "tools" / name).chmod(0o755)
    return Jetson(tmp_path)


def test_the_example_s_folder_is_one_that_apt_takes_for_files(jetson: Jetson) -> None:
    done = jetson.install(jetson.wheel("CUDAExecutionProvider"))
    assert done.returncode == 0, done.stderr
    names = jetson.asked("apt-get")[0].split()[2:]
    assert names == [f"{jetson.folder}/dist/{name}" for name in ("edgecam-runtime_1_arm64.deb", "edgecam_1_all.deb")]
    assert "CUDAExecutionProvider" in jetson.runtime
    assert jetson.remains == ["vendor/cp312/onnxruntime"]
    assert jetson.started


@pytest.mark.parametrize("state", ["active", "activating", "reloading"])
@pytest.mark.parametrize("drop_in", [True, False])
def test_a_service_that_runs_or_is_to_runs_afterwards_whatever_comes(
    jetson: Jetson, state: str, *, drop_in: bool
) -> None:
    (jetson.folder / "state").write_text(f"{state}\n")
    if not drop_in:
        (jetson.folder / "lib/dropins/jetson.conf").unlink()
    assert (jetson.install(jetson.wheel("CUDAExecutionProvider")).returncode == 0) == drop_in
    assert jetson.started


@pytest.mark.parametrize("state", ["inactive", "failed", "deactivating", ""])
def test_a_service_that_its_owner_has_stopped_stays_so(jetson: Jetson, state: str) -> None:
    (jetson.folder / "state").write_text(f"{state}\n")
    assert jetson.install(jetson.wheel("CUDAExecutionProvider")).returncode == 0
    assert not jetson.started


def test_a_service_that_fails_for_what_is_asked_now_is_set_up_nevertheless(jetson: Jetson) -> None:
    (jetson.folder / "state").write_text("activating\n")
    (jetson.folder / "fails").touch()
    assert jetson.install(jetson.wheel("CUDAExecutionProvider")).returncode != 0
    assert jetson.install(jetson.wheel("CUDAExecutionProvider"), "door.toml").returncode == 0
    assert jetson.asked("edgecam") == ["setup --file door.toml --yes"]


def test_what_a_cut_has_left_of_an_unpacked_wheel_is_removed(jetson: Jetson) -> None:
    for name in ("cp312.aB3xYz", "cp313"):
        (jetson.folder / "lib/vendor" / name / "onnxruntime").mkdir(parents=True)
    jetson.install(jetson.wheel("CPUExecutionProvider"))
    assert sorted(path.name for path in (jetson.folder / "after/vendor").iterdir()) == ["cp312", "cp313"]


@pytest.mark.parametrize("provider", ["CPUExecutionProvider", "AzureExecutionProvider"])
def test_a_wheel_that_does_not_find_the_gpu_changes_nothing_that_runs(jetson: Jetson, provider: str) -> None:
    done = jetson.install(jetson.wheel(provider))
    assert done.returncode == 69
    assert "finds neither TensorRT nor CUDA" in done.stderr
    assert jetson.runtime == "# the CPU's\n"
    assert jetson.remains == ["vendor/cp312/onnxruntime"]
    assert not (jetson.folder / "asked").read_text().count("stop")


def test_a_damaged_wheel_changes_nothing_that_runs(jetson: Jetson) -> None:
    (jetson.folder / WHEEL).write_bytes(b"half of it")
    assert jetson.install(WHEEL).returncode == 69
    assert jetson.runtime == "# the CPU's\n"
    assert jetson.remains == ["vendor/cp312/onnxruntime"]


def test_what_fails_after_the_exchange_is_taken_back_and_the_service_started(jetson: Jetson) -> None:
    (jetson.folder / "lib/dropins/jetson.conf").unlink()
    assert jetson.install(jetson.wheel("CUDAExecutionProvider")).returncode != 0
    assert jetson.runtime == "# the CPU's\n"
    assert jetson.remains == ["vendor/cp312/onnxruntime"]
    assert jetson.started


def test_after_a_cut_between_the_moves_the_same_command_does_it(jetson: Jetson) -> None:
    vendor = jetson.folder / "lib/vendor/cp312"
    (vendor / "onnxruntime").rename(vendor / "onnxruntime.before")
    assert jetson.install(jetson.wheel("CPUExecutionProvider")).returncode == 69
    assert jetson.runtime == "# the CPU's\n"
    assert jetson.install(jetson.wheel("TensorrtExecutionProvider")).returncode == 0
    assert "TensorrtExecutionProvider" in jetson.runtime
    assert jetson.remains == ["vendor/cp312/onnxruntime"]


def test_packages_of_several_versions_are_not_chosen_from(jetson: Jetson) -> None:
    (jetson.folder / "dist/edgecam_2_all.deb").touch()
    done = jetson.install(jetson.wheel("CUDAExecutionProvider"))
    assert done.returncode == 69
    assert "several versions" in done.stderr
