"""The source tree for rpi-image-gen is what its documentation describes, and fits what the packages do.

Nothing is built here. With RPI_IMAGE_GEN=FOLDER, a checkout of github.com/raspberrypi/rpi-image-gen, and python3-debian
its own tools read the tree, too, and resolve all layers.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance.provisioning import Places
from appliance.provisioning.configuration import CA, CERTIFICATE, FLEET_ROOT, KEY
from appliance.provisioning.reading import camera_secret
from appliance.provisioning.steps import BROKER_PASSWORD
from appliance.provisioning.wireless import WIFI_PASSWORD
from appliance.workbench.flashing.bootfs import with_memory_limits

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / "image/rpi-image-gen"
CONFIG = TREE / "config/edgecam-ab.yaml"
LAYERS = sorted((TREE / "layer").glob("*.yaml"))
DEVICES = ("rpi5", "rpi4", "rpi-cm5", "rpi-cm4")
UPSTREAM = os.environ.get("RPI_IMAGE_GEN", "")
# docs/layer/index.adoc there, "Layer Attributes"; its tools and its own layers write Desc
FIELDS = {
    "Name",
    "Desc",
    "Category",
    "Version",
    "Requires",
    "RequiresProvider",
    "Provides",
    "AfterProvider",
    "Conflicts",
}
# as its templates/rpi/boot-firmware/cmdline.txt, which the layer rpi-boot-firmware puts there
KERNEL_LINE = b"console=serial0,115200 console=tty1 root=ROOTDEV fsck.repair=yes rootwait\n"
NAME = r"[a-z0-9][a-z0-9-]*"


def metadata(layer: Path) -> dict[str, str]:
    """Give the fields between METABEGIN and METAEND, which are DEB822 in comments."""
    block = re.findall(r"^# METABEGIN\n(.*?)^# METAEND$", layer.read_text(), re.DOTALL | re.MULTILINE)
    assert len(block) == 1, layer
    fields: dict[str, str] = {}
    name = ""
    for line in block[0].splitlines():
        assert line.startswith("# "), line
        if line.startswith("#  "):  # goes on with the field before
            fields[name] += line[2:]
            continue
        name, colon, value = line[2:].partition(":")
        assert colon, line
        fields[name] = value.strip()
    return fields


def listed(value: str) -> list[str]:
    return [one.strip() for one in value.split(",")]


def hooks(layer: Path) -> list[str]:
    told: dict[str, Any] = yaml.safe_load(layer.read_text())
    return list(told["mmdebstrap"].get("customize-hooks", []))


@pytest.mark.parametrize("layer", LAYERS, ids=lambda path: path.name)
def test_a_layer_s_metadata_is_as_rpi_image_gen_documents_it(layer: Path) -> None:
    fields = metadata(layer)
    assert {name.removeprefix("X-Env-Layer-") for name in fields} <= FIELDS
    assert fields["X-Env-Layer-Name"] == layer.stem
    assert re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", fields["X-Env-Layer-Version"])
    for kind in ("Requires", "RequiresProvider"):
        for name in listed(fields.get(f"X-Env-Layer-{kind}", "none")):
            assert re.fullmatch(NAME, name), name
    assert set(yaml.safe_load(layer.read_text())) == {"mmdebstrap"}


@pytest.mark.parametrize("layer", LAYERS, ids=lambda path: path.name)
def test_a_layer_s_scripts_are_scripts(layer: Path, tmp_path: Path) -> None:
    for number, hook in enumerate(hooks(layer)):
        script = tmp_path / f"{number}.sh"
        script.write_text(f"#!/bin/sh\n{hook}\n")
        subprocess.run(["sh", "-n", script], check=True, timeout=30)
        if shutil.which("shellcheck"):
            done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == 0, done.stdout


def run_hooks(root: Path) -> bool:
    """Run the hooks of the layer as mmdebstrap does; give whether all went well."""
    return all(
        subprocess.run(["sh", "-c", hook, "hook", root], check=False, timeout=30, capture_output=True).returncode == 0
        for hook in hooks(TREE / "layer/edgecam.yaml")
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What the layers before have made."""
    folder = tmp_path / "a root"
    for name in ("etc/edgecam", "boot/firmware"):
        (folder / name).mkdir(parents=True)
    (folder / "etc/edgecam/edgecam.toml").write_text("# an example\n")
    (folder / "boot/firmware/cmdline.txt").write_bytes(KERNEL_LINE)
    return folder


def test_what_the_hooks_do_to_a_root_is_what_they_say(root: Path) -> None:
    assert run_hooks(root)
    # it would be copied over the owner's at each boot
    assert not (root / "etc/edgecam/edgecam.toml").exists()
    assert (root / "etc/systemd/system.conf.d/edgecam.conf").read_text() == "[Manager]\nRuntimeWatchdogSec=15\n"
    assert "Storage=volatile\n" in (root / "etc/systemd/journald.conf.d/edgecam.conf").read_text()


@pytest.mark.parametrize(
    "line", [KERNEL_LINE, b"quiet cgroup_enable=memory \n", b"xcgroup_enable=memory", b"quiet\nleft\n"]
)
def test_the_kernel_holds_services_to_their_memory_as_on_a_card_that_flash_has_written(root: Path, line: bytes) -> None:
    path = root / "boot/firmware/cmdline.txt"
    path.write_bytes(line)
    for _ in range(2):
        assert run_hooks(root)
        assert path.read_bytes() == with_memory_limits(line)


def test_an_image_without_a_kernel_s_line_is_not_made(root: Path) -> None:
    path = root / "boot/firmware/cmdline.txt"
    for damage in (lambda: path.write_bytes(b""), path.unlink):
        damage()
        assert not run_hooks(root)
    # the layer that puts it there comes before
    fields = metadata(TREE / "layer/edgecam.yaml")
    assert "rpi-boot-firmware" in listed(fields["X-Env-Layer-Requires"])


def test_all_that_has_to_outlive_a_slot_is_shared_by_both() -> None:
    file = TREE / "layer/edgecam.rootfs-overlay/etc/rpi-image-gen/slot-shared.d/edgecam.conf"
    version, *paths = file.read_text().splitlines()
    assert version == "Version=1"
    shared = [Path(line.removeprefix("Path=")) for line in paths]
    places = Places()
    unit = (ROOT / "systemd/edgecam.service").read_text()
    state = re.findall(r"^StateDirectory=(\S+)$", unit, re.MULTILINE)
    kept = [Path(path) for path in (CA, CERTIFICATE, KEY, FLEET_ROOT, BROKER_PASSWORD, WIFI_PASSWORD)]
    kept += [Path(camera_secret("door")), places.configuration, places.state / "identity.json"]
    kept += [Path("/var/lib", name, "outbox.db") for name in state]
    assert state
    assert [path for path in kept if not any(path.is_relative_to(folder) for folder in shared)] == []


def test_the_configuration_names_the_layers_here_and_the_packages_of_the_readme() -> None:
    told = yaml.safe_load(CONFIG.read_text())
    assert set(told) == {"device", "image", "layer", "ssh", "packages"}
    assert set(told["layer"].values()) == {metadata(layer)["X-Env-Layer-Name"] for layer in LAYERS}
    assert told["device"]["layer"] in DEVICES
    assert told["ssh"]["pubkey_only"] == "y" or told["ssh"]["pubkey_only"] is True
    readme = (TREE / "README.md").read_text()
    copied = re.findall(r"^cp \S+ image/rpi-image-gen/(pkgs/\S+)$", readme, re.MULTILINE)
    assert sorted(told["packages"]) == sorted(copied)
    assert [name for name in DEVICES if f"`{name}`" not in readme] == []
    assert "nothing here has been built or booted yet" in readme


@pytest.mark.skipif(
    not UPSTREAM, reason="needs RPI_IMAGE_GEN=FOLDER, a checkout of github.com/raspberrypi/rpi-image-gen"
)
@pytest.mark.parametrize("device", DEVICES)
def test_rpi_image_gen_s_own_tools_take_it_and_resolve_its_layers(device: str, tmp_path: Path) -> None:
    folder = Path(UPSTREAM).resolve()
    tool = [sys.executable, str(folder / "bin/ig")]

    def ask(*arguments: str | Path) -> str:
        done = subprocess.run([*tool, *arguments], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    for layer in LAYERS:
        ask("metadata", "--lint", layer)
    settings = tmp_path / "settings"
    ask("config", "--path", f"{CONFIG.parent}:{folder / 'config'}", "--write-to", settings, CONFIG)
    own = {
        **dict.fromkeys(("IGTOP", "IGROOT"), folder),
        **dict.fromkeys(("DEB_BUILD_ARCH", "DEB_HOST_ARCH"), "arm64"),
        **dict.fromkeys(("DEB_BUILD_GNU_TYPE", "DEB_HOST_GNU_TYPE"), "aarch64-linux-gnu"),
        "TOOLCHAIN_MODE": "native",
        "LAYER_HOOKS": folder / "layer-hooks",
        "RPI_TEMPLATES": folder / "templates/rpi",
        "DYNROOT": tmp_path,
        "SRCROOT": TREE,
    }
    lines = [ask("metadata", "--emit", folder / "registry.defs"), settings.read_text()]
    settings.write_text("".join(lines) + "".join(f'{name}="{value}"\n' for name, value in own.items()))
    layers = ["essential", device, "image-rota", *yaml.safe_load(CONFIG.read_text())["layer"].values()]
    (tmp_path / "dynamic").mkdir()
    searched = {"DYNlayer": tmp_path / "dynamic", "src": TREE / "layer"}
    searched |= {name: folder / name for name in ("layer", "device", "image")}
    plan = tmp_path / "plan"
    ask(
        *("pipeline", "--env-in", settings, "--layers", *layers),
        *("--path", ":".join(f"{tag}={place}" for tag, place in searched.items())),
        *("--env-out", tmp_path / "environment", "--plan-out", plan),
    )
    resolved = [line.partition(":")[0] for line in plan.read_text().splitlines()]
    assert resolved[-2:] == ["edgecam-base", "edgecam"]
    assert resolved.index("rpi-boot-firmware") < resolved.index("edgecam")  # which changes what that one puts there
    template = folder / "templates/rpi/boot-firmware/cmdline.txt"
    assert template.read_bytes().splitlines()[:1] == KERNEL_LINE.splitlines()
    assert {"network-manager", "openssh-server", "fake-hwclock", "image-rota", device} <= set(resolved)
