import hashlib
import json
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from appliance.workbench.recipe import MOST_RECIPE_BYTES, PruneRecipe, read_recipe

RECIPES = Path(__file__).resolve().parents[3] / "models" / "edgecam-nano"
GOOD = (RECIPES / "recipe-accelerator.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(path.name for path in RECIPES.glob("recipe*.toml")))
def test_our_own_recipes_are_accepted_and_look_for_the_six_classes(name: str) -> None:
    recipe = read_recipe(RECIPES / name)
    assert recipe.labels == ("person", "bicycle", "car", "motorcycle", "bus", "truck")
    assert max(recipe.schedule.sizes) >= recipe.size


def test_both_recipes_of_a_whole_training_say_how_its_network_is_pruned() -> None:
    ours, accelerators = (read_recipe(RECIPES / name).prune for name in ("recipe.toml", "recipe-accelerator.toml"))
    assert ours is not None
    assert accelerators == ours


def test_all_errors_are_told_at_once_with_their_key_paths(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    bad = (
        GOOD.replace("size = 320", "size = 300")
        .replace("batch = 128", "batch = 0")
        .replace('version = "0.1.0"\n', "")
        .replace("mosaic = 0.6", "mosaic = 0.6\nmosiac = 1")
        .replace('boxes = "giou"', 'boxes = "l1"')
    )
    path.write_text(bad, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    message = str(caught.value)
    assert "recipe.toml: 5 entries are not accepted:" in message
    for line in ("size: ", "schedule.batch: ", "version: is required", "augment.mosiac: unknown entry", "(got 'l1')"):
        assert line in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"size =", "is no valid TOML"),
        (b"\xff", "is no UTF-8 text"),
        (b"#" * (MOST_RECIPE_BYTES + 1), "is larger than 65536 bytes; is it a recipe"),
        (GOOD.replace('"bicycle"', '"person"').encode(), "labels: each must be there once"),
        (GOOD.replace("repeats = [4, 8, 4]", "repeats = [4, 0, 4]").encode(), "repeats must be 1 or more each"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        read_recipe(path)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("[1.2, 0.8]", "augment.scale: the smallest comes first, then the largest: [0.8, 1.2]"),
        ("[0.8, inf]", "augment.scale.1: "),
        ("[nan, 1.2]", "augment.scale.0: "),
        ("[0.0, 1.2]", "augment.scale.0: "),
    ],
)
def test_a_span_that_is_none_is_refused(tmp_path: Path, span: str, expected: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(GOOD.replace("mosaic = 0.6", f"mosaic = 0.6\nscale = {span}"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("shares = [0.1]", "prune.iterations: is required"),
        ("iterations = 9\nshares = [0.2, 0.1]", "prune: shares: each must be larger by 0.001 than the one before"),
        ("iterations = 9\nshares = [0.1, 0.1004]", "prune: shares: each must be larger by 0.001 than the one before"),
        ("iterations = 9\nshares = [0.0]", "and the last above 0"),
        ("iterations = 9\nshares = [0.95]", "prune.shares.0: Input should be less than or equal to 0.9 (got 0.95)"),
        ("iterations = 9\nmultiple = 5", "prune.multiple: Input should be a multiple of 2 (got 5)"),
        ("iterations = 9\nmax_drop = -1", "prune.max_drop: "),
        ("iterations = 9\nleast = 0", "prune.least: "),
        ("iterations = 9\nmask = true", "prune.mask: unknown entry"),
    ],
)
def test_a_prune_table_that_makes_no_sense_is_refused(tmp_path: Path, table: str, expected: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f"{GOOD.partition('[prune]')[0]}\n[prune]\n{table}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    assert expected in str(caught.value)


def test_widths_must_fit_the_network(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    text = GOOD.partition("[prune]")[0] + "\n[network.widths]\n"
    head = "scores = [[9, 9], [9, 9], [9, 9]]\ndistances = [[9, 9], [9, 9], [9, 9]]\n"
    units = f"stages = [[8, 8, 8, 8], {[8] * 8}, [8, 8, 8, 7]]\n"
    path.write_text(text + units + head, encoding="utf-8")
    widths = read_recipe(path).network.all_widths()
    assert (widths.stages[2], widths.scores[0]) == ((8, 8, 8, 7), (9, 9))
    path.write_text(text + units.replace("[8, 8, 8, 7]", "[8, 8, 8]") + head, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"network: widths\.stages must have a number for each unit"):
        read_recipe(path)
    path.write_text(text + units + head.replace("[9, 9]", "[9]", 1), encoding="utf-8")
    with pytest.raises(ConfigError, match="must have a number for each of head_layers"):
        read_recipe(path)


def test_the_digest_does_not_know_how_a_network_is_pruned_but_which_widths_it_has() -> None:
    recipe = read_recipe(RECIPES / "recipe-accelerator.toml")
    pruned = recipe.model_copy(update={"prune": PruneRecipe(iterations=77)})
    assert pruned.digest() == recipe.model_copy(update={"prune": None}).digest() == recipe.digest()
    network = recipe.network.model_copy(update={"widths": recipe.network.all_widths()})
    assert recipe.model_copy(update={"network": network}).digest() != recipe.digest()


def test_a_missing_recipe_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^cannot read .*none\.toml: No such file or directory$"):
        read_recipe(tmp_path / "none.toml")


def test_the_digest_changes_with_any_value_and_with_nothing_else() -> None:
    recipe = read_recipe(RECIPES / "recipe-accelerator.toml")
    assert recipe.digest() == read_recipe(RECIPES / "recipe-accelerator.toml").digest()
    assert recipe.with_iterations(7).digest() != recipe.digest()
    assert recipe.with_iterations(7).schedule.iterations == 7


def test_what_comes_after_the_training_does_not_change_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(GOOD + "\n[quantize_aware]\niterations = 500\nlearning_rate = 5e-5\n", encoding="utf-8")
    plain, recipe = read_recipe(RECIPES / "recipe-accelerator.toml").without_quantization(), read_recipe(path)
    assert recipe.without_quantization().digest() == plain.digest()
    assert recipe.quantize_aware is not None
    after = recipe.for_quantization(recipe.quantize_aware)
    assert (after.schedule.iterations, after.schedule.learning_rate, after.schedule.sizes) == (500, 5e-5, (320,))
    others = recipe.quantize_aware.model_copy(update={"smoothing": 0.5})
    digests = {plain.digest(), after.digest(), recipe.for_quantization(others).digest()}
    assert len(digests) == 3


def test_older_recipes_say_inertia_for_smoothing_and_checkpoints_made_with_them_go_on(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    table = f"{GOOD}\n[quantize_aware]\niterations = 5\n"
    both = []
    for key in ("inertia = 0.9", "smoothing = 0.9"):
        path.write_text(f"{table}{key}\n", encoding="utf-8")
        both.append(read_recipe(path))
    assert both[0] == both[1]
    assert both[0].quantize_aware is not None
    assert both[0].quantize_aware.smoothing == 0.9
    values = both[0].model_dump(mode="json", exclude={"prune"}, exclude_none=True)
    values["quantize_aware"]["inertia"] = values["quantize_aware"].pop("smoothing")
    before = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    assert both[0].digest() == both[1].digest() == before
    path.write_text(f"{table}inertia = 0.9\nsmoothing = 0.9\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"quantize_aware\.inertia: unknown entry"):
        read_recipe(path)


def test_a_table_of_learning_in_8_bits_that_cannot_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    table = "\n[quantize_aware]\nlearning_rate = 0\nobserve = 2\nbits = 4\n"
    path.write_text(GOOD + table, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    for line in ("iterations: is required", "learning_rate: ", "observe: ", "bits: unknown entry"):
        assert f"quantize_aware.{line}" in str(caught.value)
