"""The ways to run a file that are worth measuring."""

import pytest

from appliance.core.manifest import Artifact
from appliance.core.providers import TensorrtProvider, default_provider
from appliance.inference.runtimes import NO_PLAN, Plan
from appliance.inference.ways import Way, thread_counts, ways


def artifact(**more: object) -> Artifact:
    facts = {"file": "a.onnx", "format": "onnx", "precision": "fp32", "sha256": "0" * 64, "size": 1}
    return Artifact.model_validate(facts | more)


def test_only_what_the_manifest_names_is_tried_where_it_names_anything() -> None:
    one = artifact(providers=[{"kind": "cuda"}, {"kind": "cpu"}])
    assert ways("onnx", one, ("openvino", "cuda", "cpu"), (1,)) == (Way(("cpu",)), Way(("cuda", "cpu")))


def test_a_file_that_must_not_run_on_the_cpu_is_not_tried_there() -> None:
    one = artifact(providers=[{"kind": "cuda"}])
    assert ways("onnx", one, ("cuda", "cpu"), (1, 2)) == (Way(("cuda",)),)
    assert ways("onnx", one, ("cpu",), (1,)) == (Way(()),)  # opening it says what is missing


def test_a_file_for_a_delegate_is_run_as_its_manifest_says() -> None:
    one = artifact(file="a.tflite", format="tflite", delegate={"library": "libedgetpu.so.1"})
    assert ways("tflite", one, (), (1, 2)) == (Way(),)


def test_a_provider_has_the_options_that_the_manifest_gives_it_and_the_owner_goes_before() -> None:
    one = artifact(providers=[{"kind": "tensorrt", "fp16": True}, {"kind": "cpu"}])
    plan = Way(("tensorrt", "cpu")).plan(one, NO_PLAN)
    assert plan.providers == (TensorrtProvider(kind="tensorrt", fp16=True), default_provider("cpu"))
    owners = Plan(providers=(default_provider("cpu"),))
    assert Way(("tensorrt", "cpu"), is_plain=True).plan(one, owners) == Plan(owners.providers, is_plain=True, threads=1)


@pytest.mark.parametrize(("processors", "counts"), [(1, (1,)), (2, (1, 2)), (4, (1, 2, 4)), (6, (1, 2, 4, 6))])
def test_threads_are_doubled_up_to_all_processors(processors: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(processors) == counts
