from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")

from appliance.config import ModelSettings
from appliance.core.errors import ModelError, StorageError
from appliance.core.manifest import read_manifest
from appliance.inference.artifacts import resolve_model
from appliance.inference.decoders import Choice
from appliance.inference.decoders.distances import DistancesDecoder
from appliance.inference.runtimes.onnx import OnnxRuntime
from appliance.workbench.recipe import NetworkRecipe, read_recipe
from appliance.workbench.training.export import export, to_onnx
from appliance.workbench.training.network import PIXEL_SCALE, STRIDES, Network, cells, count, to_boxes

OWN = Path(__file__).resolve().parents[4] / "models" / "edgecam-nano" / "recipe.toml"
TINY = NetworkRecipe(stem=8, stages=(16, 24, 32), repeats=(2, 1, 2), neck=16, head_layers=1, kernel=3)


def trained_a_little(recipe: NetworkRecipe, classes: int) -> Network:
    """Give a network whose normalisations have seen pictures, in evaluation mode."""
    torch.manual_seed(1)
    network = Network(recipe, classes)
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(2, 3, 64, 64) * 4)
    return network.eval()


def test_the_file_gives_what_the_network_gives() -> None:
    network = trained_a_little(TINY, 6)
    picture = torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8)
    session = OnnxRuntime().open(to_onnx(network, 96, {}), name="tiny", threads=1)
    assert [str(spec) for spec in session.inputs] == ["image uint8[1,3,96,96]"]
    scores, distances = session.run({"image": picture.numpy()})
    with torch.no_grad():
        expected, reach = network(picture.float() * PIXEL_SCALE)
    np.testing.assert_allclose(scores, expected.sigmoid().numpy(), atol=1e-5)
    np.testing.assert_allclose(distances, reach.numpy(), atol=1e-4)
    session.close()


def test_the_device_decodes_the_boxes_that_training_meant(tmp_path: Path) -> None:
    recipe = read_recipe(OWN).model_copy(update={"network": TINY, "size": 64})
    network = trained_a_little(TINY, 6)
    manifest = read_manifest(export(network, recipe, tmp_path, {}))
    picture = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        logits, distances = network(picture.float() * PIXEL_SCALE)
    boxes = to_boxes(distances, *cells(64, 64, torch.device("cpu")))[0]
    best, classes = logits.sigmoid()[0].max(dim=0)
    decoder = DistancesDecoder(manifest, Choice(0.0, np.ones(6, bool)))
    found = decoder.decode([logits.sigmoid().numpy(), distances.numpy()])
    np.testing.assert_allclose(found.boxes, boxes.numpy(), atol=1e-3)
    np.testing.assert_allclose(found.scores, best.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(found.class_ids, classes.numpy())


def test_the_folder_is_a_model_that_the_device_knows(tmp_path: Path) -> None:
    recipe = read_recipe(OWN)
    folder = export(trained_a_little(recipe.network, 6), recipe, tmp_path, {"step": "0"})
    manifest = read_manifest(folder)
    assert (manifest.decoder.kind, manifest.labels, manifest.input.dtype) == ("distances", recipe.labels, "uint8")
    model = resolve_model(ModelSettings(use=recipe.name, directories=(tmp_path,)))
    assert model.binding.input == "image"
    # a bare file of it is known by its tensors, among all families
    bare = resolve_model(ModelSettings(use=str(model.path), directories=(tmp_path,)))
    assert bare.manifest.name == recipe.name


def test_a_folder_that_cannot_be_made_is_told_with_the_next_step(tmp_path: Path) -> None:
    recipe = read_recipe(OWN).model_copy(update={"network": TINY, "size": 64})
    (tmp_path / recipe.name).write_text("a file of the model's name")
    with pytest.raises(StorageError, match=r"cannot make .*edgecam-nano: File exists; free the name or give a folder"):
        export(trained_a_little(TINY, 6), recipe, tmp_path, {})


def test_the_default_network_is_small_and_fit_for_8_bits() -> None:
    recipe = read_recipe(OWN)
    network = Network(recipe.network, len(recipe.labels))
    parameters, steps = count(network, recipe.size)
    assert parameters <= 1.1e6
    assert steps <= 0.5e9
    kinds = {type(module).__name__ for module in network.modules() if not list(module.children())}
    kinds -= {"Cells", "Halves", "Shuffle", "Sum", "Together"}
    assert kinds == {"Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Upsample"}
    scores, distances = network(torch.zeros(2, 3, 64, 96))
    places = sum(64 * 96 // stride**2 for stride in STRIDES)
    assert (scores.shape, distances.shape) == ((2, 6, places), (2, 4, places))


def test_a_layer_that_cannot_be_exported_is_refused_by_name() -> None:
    network = trained_a_little(TINY, 2)
    network.backbone.stem[1] = torch.nn.AvgPool2d(2)
    with pytest.raises(ModelError, match="layer AvgPool2d has no node"):
        to_onnx(network, 64, {})
