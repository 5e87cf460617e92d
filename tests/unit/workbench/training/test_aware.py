import copy
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")
onnx = pytest.importorskip("onnx", reason="needs the onnx package: pip install 'edgecam[workbench]'")
pytest.importorskip("pycocotools", reason="pycocotools, the extra `workbench`, is not installed")

from appliance.core.errors import ConfigError, ModelError
from appliance.workbench.quantizer import Quantizer
from appliance.workbench.ranges import read_ranges
from appliance.workbench.recipe import DataRecipe, NetworkRecipe, read_recipe
from appliance.workbench.train import train
from appliance.workbench.training.aware import QuantizeAware, fake_quantize, fake_quantize_weights, scale_of
from appliance.workbench.training.checkpoints import read_checkpoint, write_checkpoint
from appliance.workbench.training.corpus import draw_street
from appliance.workbench.training.export import to_onnx
from appliance.workbench.training.network import PIXEL_SCALE, Network
from appliance.workbench.training.run import AWARE_FOLDER, run
from tests.simulators.training import RECIPE, write_corpus

ROOT = Path(__file__).resolve().parents[4]
COMMAND = [sys.executable, "-c", "from appliance.workbench.main import main; main()", "train"]
TINY = NetworkRecipe(stem=8, stages=(16, 24, 32), repeats=(2, 1, 2), neck=16, head_layers=1, kernel=3)
AWARE = "[quantize_aware]\niterations = 8\nlearning_rate = 1e-3\nobserve = 0.5\n"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def run_onnx(content: bytes, inputs: dict[str, Any]) -> list[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def test_fake_quantization_rounds_and_saturates_as_onnx_does() -> None:
    low, high = torch.tensor(-1.0), torch.tensor(4.1)  # a step is 0.02
    scale, zero = scale_of(low, high)
    # halves between two steps, both neighbours of each, and what lies outside
    halves = (torch.arange(-60, 220).float() + 0.5) * scale
    values = torch.cat((halves, halves.nextafter(torch.tensor(9.0)), halves.nextafter(torch.tensor(-9.0))))
    values = torch.cat((values, torch.tensor([-1e9, -1.01, 4.11, 1e9, 0.0])))
    helper = onnx.helper
    stored = [("scale", scale.numpy()), ("zero", zero.numpy().astype(np.uint8))]
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["values", "scale", "zero"], ["steps"]),
            helper.make_node("DequantizeLinear", ["steps", "scale", "zero"], ["back"]),
        ],
        "rounding",
        [helper.make_tensor_value_info("values", 1, [len(values)])],
        [helper.make_tensor_value_info("back", 1, [len(values)])],
        [onnx.numpy_helper.from_array(value, name) for name, value in stored],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (expected,) = run_onnx(model.SerializeToString(), {"values": values.numpy()})
    np.testing.assert_array_equal(fake_quantize(values, low, high).numpy(), expected)
    assert expected.max() == np.float32(205 * scale.item())


def test_gradients_pass_through_rounding_and_stop_outside_the_range() -> None:
    values = torch.tensor([-2.0, -0.5, 0.013, 0.9, 1.5], requires_grad=True)
    fake_quantize(values, torch.tensor(-1.0), torch.tensor(1.0)).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0, 1, 1, 1, 0]


def test_a_filter_of_zeros_and_a_large_bias_are_no_harm() -> None:
    weight, bias = torch.zeros(2, 1, 3, 3), torch.tensor([0.0, 5.0])
    weight[1] = 1e-12  # its bias would not fit 32 bits with a scale so small
    rounded, kept = fake_quantize_weights(weight, bias, torch.tensor(1e-4))
    assert torch.equal(rounded[0], weight[0])
    torch.testing.assert_close(kept, bias)


@functools.cache
def small() -> QuantizeAware:
    """Give a network that has learned to be in 8 bits for a few steps, in evaluation mode."""
    torch.manual_seed(1)
    network = Network(TINY, 6)
    with torch.no_grad():
        for branch in (*network.scores, *network.distances):
            branch.out.weight.mul_(20)  # as if it had learned: what it gives differs from place to place
        for _ in range(3):
            network(random_pictures(2))
    aware = QuantizeAware(network.eval(), observe=4, smoothing=0.5).train()
    optimiser = torch.optim.Adam(aware.parameters(), 1e-3)
    for _ in range(6):
        scores, distances = aware(random_pictures(2))
        optimiser.zero_grad()
        ((scores - 1).square().mean() + (distances - 3).square().mean()).backward()
        optimiser.step()
    return aware.eval()


def random_pictures(count: int) -> Any:
    coarse = torch.randint(0, 200, (count, 3, 8, 8)).float().repeat_interleave(8, 2).repeat_interleave(8, 3)
    return (coarse + torch.randint(0, 56, (count, 3, 64, 64))) * PIXEL_SCALE


@pytest.mark.parametrize("scheme", ["u8s8", "s8s8"])
def test_the_quantized_file_gives_what_was_learned(scheme: Any) -> None:
    """In steps of 8 bits of each output: none may be off by more than one, and hardly any by that."""
    aware = small()
    quantizer = Quantizer(to_onnx(aware.network, 64, {}), "small.onnx", scheme)
    quantizer.take_ranges(aware.ranges())
    pictures = [random_pictures(1) for _ in range(4)]
    with torch.no_grad():
        expected = [aware(picture) for picture in pictures]
    stored = quantizer.variant()
    images = [(picture / PIXEL_SCALE).to(torch.uint8).numpy() for picture in pictures]
    low, high = aware.ranges()["distances"]
    assert high - low > 1
    for (logits, distances), (scores, found) in zip(expected, quantizer.outputs(stored, images), strict=True):
        off = np.abs(found - distances.numpy()) / ((high - low) / 255)
        assert off.max() < 1.01
        assert (off > 0.01).mean() < 0.02
        # the sigmoid comes after what is simulated, and rounds once more: to half a step
        assert np.abs(scores - logits.sigmoid().numpy()).max() < 1.5 / 255
        assert (np.abs(scores - logits.sigmoid().numpy()) > 0.501 / 255).mean() < 0.02
    assert np.ptp(found) > 3 * (high - low) / 255  # no constant, which would agree with anything


def test_it_is_rounded_where_the_quantizer_rounds_and_to_the_same_weights() -> None:
    aware = small()
    quantizer = Quantizer(to_onnx(aware.network, 64, {}), "small.onnx")
    quantizer.take_ranges(aware.ranges())
    graph = onnx.load_from_string(quantizer.variant()).graph
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    scales = {node.input[1].removesuffix("_scale") for node in graph.node if node.op_type == "QuantizeLinear"}
    # the last concatenation has the name of the output; the scores' sigmoid comes after what is learned
    assert scales - {"scores", "distances"} == set(aware.ranges()) - {"scores", "distances", "together.1"}
    first = stored["backbone.stem.0.0.weight_quantized"]
    layer: Any = aware.network.get_submodule("backbone.stem.0.0")
    weight, _ = fake_quantize_weights(layer.weight, layer.bias, torch.tensor(PIXEL_SCALE))
    scale = stored["backbone.stem.0.0.weight_scale"].reshape(-1, 1, 1, 1) / PIXEL_SCALE
    np.testing.assert_array_equal(first, np.rint(weight.detach().numpy() / scale))


def test_ranges_follow_what_is_seen_and_then_stay() -> None:
    aware = copy.deepcopy(small()).train()
    before = aware.low.clone(), aware.high.clone()
    aware(torch.full((1, 3, 64, 64), 255.0) * PIXEL_SCALE)
    assert torch.equal(before[0], aware.low)
    assert torch.equal(before[1], aware.high)
    assert int(aware.seen) == 7
    fresh = QuantizeAware(Network(TINY, 6), observe=2, smoothing=0.5).train()
    seen = []
    for level in (100.0, 200.0, 255.0):
        fresh(torch.full((2, 3, 64, 64), level) * PIXEL_SCALE)
        seen.append(fresh.high.clone())
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])


def test_a_layer_that_is_not_known_in_8_bits_is_refused_by_name() -> None:
    network = Network(NetworkRecipe(stem=8, stages=(16, 24, 32), repeats=(1, 1, 1), neck=16, head_layers=1), 2)
    network.backbone.stem[1] = torch.nn.AvgPool2d(2)
    with pytest.raises(ModelError, match="layer AvgPool2d has no form in 8 bits"):
        QuantizeAware(network, observe=1, smoothing=0.5)


def test_learning_in_8_bits_brings_the_file_nearer_to_the_float_network_than_calibrating_it() -> None:
    """On drawn streets; the error of both files' outputs, as a share of the variance of the float network's."""
    torch.manual_seed(1)
    network = Network(TINY, 2)
    with torch.no_grad():
        for branch in (*network.scores, *network.distances):
            branch.out.weight.mul_(20)
        for _ in range(3):
            network(random_pictures(2))
    pictures = street(8)
    with torch.no_grad():
        expected = [each.sigmoid() if at == 0 else each for at, each in enumerate(network.eval()(pictures))]

    def error(scores: Any, distances: Any) -> Any:
        pairs = zip((scores, distances), expected, strict=True)
        return sum((got - wanted).square().mean() / wanted.var() for got, wanted in pairs)

    aware = QuantizeAware(network, observe=8, smoothing=0.5).train()
    optimiser = torch.optim.Adam(aware.parameters(), 3e-4)
    for _ in range(25):
        logits, distances = aware(pictures)
        optimiser.zero_grad()
        error(logits.sigmoid(), distances).backward()
        optimiser.step()
    images = [picture.numpy()[None] for picture in (pictures / PIXEL_SCALE).to(torch.uint8)]
    calibrated, learned = (Quantizer(to_onnx(each, 64, {}), "street.onnx") for each in (network, aware.network))
    assert list(calibrated.calibrate(images))  # on the very pictures that judge: as good as it can be
    learned.take_ranges(aware.ranges())
    errors = []
    for quantizer in (calibrated, learned):
        parts = zip(*quantizer.outputs(quantizer.variant(), images), strict=True)
        errors.append(float(error(*(torch.from_numpy(np.concatenate(part)) for part in parts))))
    assert errors[1] < 0.7 * errors[0]  # 0.007 and 0.018


def street(count: int) -> Any:
    found = draw_street(DataRecipe(street=count), ("person", "car"))
    images = [cv2.resize(one.image, (64, 64), interpolation=cv2.INTER_AREA) for one in found]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() * PIXEL_SCALE


def test_a_finished_run_goes_on_to_8_bits_when_its_recipe_says_so(corpus: Path, tmp_path: Path) -> None:
    """The table is written into the recipe after the training; stopped and resumed, the same bytes come out."""
    recipe_file = tmp_path / "recipe.toml"
    recipe_file.write_text(RECIPE, encoding="utf-8")
    plain = run(read_recipe(recipe_file), data=corpus, device="cpu", folder=tmp_path / "run", resume=False, threads=1)
    assert plain.is_done
    float_file = (tmp_path / "run" / "tiny" / "tiny-fp32.onnx").read_bytes()
    recipe_file.write_text(RECIPE + AWARE.replace("= 8", "= 10"), encoding="utf-8")
    arguments = [*COMMAND, str(recipe_file), "--data", str(corpus), "--run", str(tmp_path / "run"), "--resume"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        after = 0
        while after < 2:
            line = process.stderr.readline()
            assert line, "it ended before it was stopped"
            after += line.startswith("step ")
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(60) == 75
    chosen = read_recipe(recipe_file)
    parts = run(chosen, data=corpus, device="cpu", folder=tmp_path / "run", resume=True, threads=1)
    whole = run(chosen, data=corpus, device="cpu", folder=tmp_path / "whole", resume=False, threads=1)
    assert (parts.is_done, parts.step, parts.iterations) == (True, 10, 10)
    assert [point["loss"] for point in parts.curve] == [point["loss"] for point in whole.curve]
    for name in ("tiny-fp32.onnx", "ranges.json", "manifest.toml"):
        files = [tmp_path / name_of / AWARE_FOLDER / "tiny" / name for name_of in ("run", "whole")]
        assert files[0].read_bytes() == files[1].read_bytes(), name
    assert (tmp_path / "run" / "tiny" / "tiny-fp32.onnx").read_bytes() == float_file
    report = json.loads((tmp_path / "run" / AWARE_FOLDER / "report.json").read_text(encoding="utf-8"))
    assert report["figures"] == parts.figures
    assert parts.figures["int8_ap50"] == pytest.approx(parts.figures["ap50"], abs=0.2)  # a network that knows nothing
    content = (tmp_path / "run" / AWARE_FOLDER / "tiny" / "tiny-fp32.onnx").read_bytes()
    Quantizer(content, "tiny").take_ranges(
        read_ranges(tmp_path / "run" / AWARE_FOLDER / "tiny" / "ranges.json", hashlib.sha256(content).hexdigest())
    )
    other = CliRunner().invoke(train, [*arguments[len(COMMAND) : -1], "--resume"])
    assert other.exit_code == 0  # done is done
    recipe_file.write_text(RECIPE + AWARE, encoding="utf-8")
    changed = CliRunner().invoke(train, [*arguments[len(COMMAND) : -1], "--resume"])
    assert "was made by another recipe" in str(changed.exception)


def test_a_range_that_is_missing_is_told_by_its_tensor() -> None:
    aware = small()
    ranges = aware.ranges()
    del ranges["backbone.stem.0.2"]
    quantizer = Quantizer(to_onnx(aware.network, 64, {}), "small.onnx")
    with pytest.raises(ModelError, match=r"tensors without a range: backbone\.stem\.0\.0"):
        quantizer.take_ranges(ranges)


def test_8_bits_wait_when_the_last_step_was_stopped_and_belong_to_one_network(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE + AWARE.replace("= 8", "= 1"), encoding="utf-8")
    recipe, folder = read_recipe(path).with_iterations(2), tmp_path / "run"
    stopped = run(recipe, data=corpus, device="cpu", folder=folder, resume=False, threads=1, until=2)
    assert (stopped.is_done, stopped.step) == (False, 2)
    assert not (folder / AWARE_FOLDER).exists()
    assert run(recipe, data=corpus, device="cpu", folder=folder, resume=True, threads=1).is_done
    kept = read_checkpoint(folder)
    average = {name: one + 1 if "out.bias" in name else one for name, one in kept.average.items()}
    write_checkpoint(folder, replace(kept, average=average))
    with pytest.raises(ConfigError, match="belongs to another network than was trained here"):
        run(recipe, data=corpus, device="cpu", folder=folder, resume=True, threads=1)
