"""By what a measurement is known to be of this machine."""

from pathlib import Path

import pytest

from appliance.inference.fingerprint import (
    Fingerprint,
    accelerators,
    memory_mb,
    package_version,
    processor_name,
    read_fingerprint,
)

# of a Raspberry Pi 5, as its kernel documents it; four cores of one kind
ARM = "".join(f"processor\t: {n}\nCPU implementer\t: 0x41\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\n\n" for n in range(4))
X86 = "model name\t: AMD EPYC\nflags\t\t: fpu avx2 sse avx512_vnni\n\nmodel name\t: AMD EPYC\nflags\t\t: fpu\n"


def fingerprint(**more: object) -> Fingerprint:
    facts = {"board": "Pi 5", "processor": "0x41 0xd0b", "processors": 4, "memory_mb": 8000, "kernel": "6.12"}
    facts |= {"libc": "glibc 2.41", "python": "3.13", "edgecam": "0.1.0", "runtimes": ("onnxruntime-1.31.1",)}
    return Fingerprint.model_validate(facts | {"files": {"a.onnx": "0" * 64}} | more)


def test_the_same_machine_twice_is_the_same() -> None:
    assert read_fingerprint({"a.onnx": "0" * 64}).changes(read_fingerprint({"a.onnx": "0" * 64})) == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"runtimes": ("onnxruntime-1.32.0",)}, "runtimes was onnxruntime-1.31.1, is onnxruntime-1.32.0"),
        ({"accelerators": ("/dev/hailo0",)}, "accelerators was none, is /dev/hailo0"),
        ({"processors": 2}, "processors was 4, is 2"),
        ({"memory_mb": 4000}, "memory mb was 8000, is 4000"),
        ({"kernel": "6.18"}, "kernel was 6.12, is 6.18"),
        ({"files": {"a.onnx": "1" * 64}}, "a.onnx is another file"),
        ({"files": {}}, "a.onnx is not here any more"),
        ({"files": {"a.onnx": "0" * 64, "b.tflite": "1" * 64}}, "b.tflite is new"),
    ],
)
def test_what_is_another_now_is_told(change: dict[str, object], told: str) -> None:
    assert fingerprint().changes(fingerprint(**change)) == (told,)


def test_what_firmware_keeps_of_the_memory_does_not_count() -> None:
    assert fingerprint().changes(fingerprint(memory_mb=7900)) == ()


def test_a_processor_has_its_name_or_on_arm_its_numbers() -> None:
    assert processor_name(X86) == "AMD EPYC avx2 avx512_vnni"
    assert processor_name(ARM) == "0x41 0xd0b"
    assert processor_name("") != ""
    assert memory_mb("MemTotal:        8000000 kB\nMemFree: 1 kB\n") == 8192
    assert memory_mb("") == 0


def test_accelerators_are_the_nodes_that_drivers_make(tmp_path: Path) -> None:
    for name in ("hailo0", "apex_0", "null", "nvidia0", "nvidiactl"):
        (tmp_path / name).touch()
    assert [Path(node).name for node in accelerators(tmp_path)] == ["apex_0", "hailo0", "nvidia0"]


def test_a_runtime_s_version_is_that_of_its_package_whatever_that_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "someruntime").mkdir()
    (tmp_path / "someruntime" / "__init__.py").write_text("raise RuntimeError('loaded')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert package_version("someruntime") == "someruntime of unknown version"
    (tmp_path / "someruntime_gpu-1.23.0.dist-info").mkdir()
    assert package_version("someruntime") == "someruntime_gpu-1.23.0"
    assert package_version("no_such_runtime") == ""
    assert package_version("onnxruntime").startswith("onnxruntime")
