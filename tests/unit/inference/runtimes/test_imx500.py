"""The seam of networks that a camera runs."""

import numpy as np
import pytest

from appliance.core.errors import ModelError
from appliance.core.manifest import Signature
from appliance.inference.runtimes import Placement, Plan
from appliance.inference.runtimes.imx500 import Imx500Runtime, Imx500Session

SIGNATURE = Signature.model_validate(
    {
        "input": {"shape": [1, "height", "width", 3], "dtype": "uint8"},
        "outputs": [{"shape": [1, "any", 4]}, {"shape": [1, "any"]}],
    }
)


def opened() -> Imx500Session:
    return Imx500Runtime().open(b"9464....", name="/m/net.rpk", threads=1, plan=Plan(signature=SIGNATURE))


def tensors() -> dict[str, np.ndarray]:
    return {"output0": np.ones((1, 7, 4), np.float32), "output1": np.ones((1, 7), np.float32)}


def test_tensors_are_those_of_the_manifest_its_words_left_open() -> None:
    session = opened()
    assert [str(one) for one in session.inputs] == ["picture uint8[1,?,?,3]"]
    assert [str(one) for one in session.outputs] == ["output0 float32[1,?,4]", "output1 float32[1,?]"]
    assert session.placements == (Placement("imx500", None),)


def test_what_the_camera_gave_comes_back_in_order() -> None:
    given = dict(reversed(tensors().items()))
    first, second = opened().run(given)
    assert (first.shape, second.shape) == ((1, 7, 4), (1, 7))
    assert not np.shares_memory(first, given["output0"])  # which is the frame's


@pytest.mark.parametrize(
    "change",
    [
        {"output0": np.ones((1, 7, 5), np.float32)},
        {"output1": np.ones((1, 7, 1), np.float32)},
        {"output1": np.ones((1, 7), np.float64)},
        {"output2": np.ones((1, 7), np.float32)},
    ],
)
def test_other_tensors_are_refused(change: dict[str, np.ndarray]) -> None:
    with pytest.raises(ModelError, match=r"/m/net\.rpk"):
        opened().run({**tensors(), **change})


def test_without_a_manifest_it_is_not_guessed_at() -> None:
    with pytest.raises(ModelError, match=r"/m/net\.rpk does not tell its tensors; put it beside a manifest\.toml"):
        Imx500Runtime().open(b"9464....", name="/m/net.rpk", threads=1)
