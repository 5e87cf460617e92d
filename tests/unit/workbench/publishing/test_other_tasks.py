"""A classifier and a segmentation network are released with their own figures and golden frames, or not at all."""

import json
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError, ModelError
from appliance.workbench.publishing.adding import add
from appliance.workbench.publishing.release import read_contents
from tests.simulators.publishing import Fleet
from tests.simulators.publishing import metrics_of as metrics_of_a_detector
from tests.simulators.seeing_tasks import metrics_of, released, write_seeing

FIGURES = {"classify": {"top1": 10_000, "top5": 10_000}, "segment": {"miou": 10_000}}
TASKS = tuple(FIGURES)


@pytest.mark.parametrize("task", TASKS)
def test_what_is_signed_names_its_task_its_figures_in_whole_numbers_and_the_data_set(tmp_path: Path, task: str) -> None:
    fleet, folder = Fleet(tmp_path / "publisher"), released(tmp_path / "mine", task)
    added = add(fleet.repository, read_contents(folder, metrics_of(folder)), fleet.now)
    fleet.publish()
    release = added.released.release
    assert release.task == task
    assert release.metrics.figures == FIGURES[task]
    assert (release.metrics.dataset, release.metrics.pictures) == ("mine-dataset", 2)
    assert {"model.onnx", "golden/golden.json", "golden/grey.png"} <= set(release.files)


@pytest.mark.parametrize("task", TASKS)
def test_without_golden_frames_or_with_those_of_another_task_it_is_refused(tmp_path: Path, task: str) -> None:
    bare = write_seeing(tmp_path / "bare", task)
    with pytest.raises(ConfigError, match=r"has no golden frames.*edgecam-workbench golden"):
        read_contents(bare, metrics_of(bare))
    folder, other = released(tmp_path / "mine", task), next(one for one in TASKS if one != task)
    strange = released(tmp_path / "strange", other) / "golden" / "golden.json"
    (folder / "golden" / "golden.json").write_bytes(strange.read_bytes())
    with pytest.raises(ModelError, match=r"golden\.json is not accepted"):
        read_contents(folder, metrics_of(folder))


@pytest.mark.parametrize(("task", "told"), [("classify", "top1 or top5"), ("segment", "miou")])
def test_figures_of_another_kind_are_refused(tmp_path: Path, task: str, told: str) -> None:
    folder = released(tmp_path / "mine", task)
    with pytest.raises(ConfigError, match="nobody has said how good"):
        read_contents(folder, None)
    with pytest.raises(ConfigError, match=rf"a model for task '{task}' has {told}"):
        read_contents(folder, metrics_of_a_detector(folder))


@pytest.mark.parametrize("task", TASKS)
def test_a_data_set_without_a_name_is_refused(tmp_path: Path, task: str) -> None:
    folder = released(tmp_path / "mine", task)
    file = metrics_of(folder)
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"dataset": ""}), encoding="utf-8")
    with pytest.raises(ConfigError, match="dataset: "):
        read_contents(folder, file)
