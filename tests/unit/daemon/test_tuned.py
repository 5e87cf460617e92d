"""What the composition root gets of a stored choice."""

import subprocess
import sys
from pathlib import Path

from appliance.config import ModelSettings
from appliance.daemon.tuned import TUNING, find_stored
from appliance.inference.tuning import FOLDER
from tests.simulators.models import write_folder, yolox, yolox_answer
from tests.simulators.tunings import store


def test_a_choice_that_holds_needs_no_worker_and_one_that_does_not_has_one(tmp_path: Path) -> None:
    model = ModelSettings(use=str(write_folder(tmp_path / "mine", {"fp32": yolox(yolox_answer())})))
    (tmp_path / "state").mkdir()
    assert find_stored(model, tmp_path / "state", lambda: None).facts() == {"state": "none", "why": ""}
    store(tmp_path / "state", model, "fp32.onnx")
    held = find_stored(model, tmp_path / "state", lambda: None)
    assert held.preference is not None
    assert (held.facts()["state"], held.workers) == ("used", ())
    store(tmp_path / "state", model, "fp32.onnx", kernel="2.6")
    stale = find_stored(model, tmp_path / "state", lambda: None)
    assert (stale.preference, stale.facts()["state"]) == (None, "stale")
    assert [worker.name for worker in stale.workers] == ["tuning"]


def test_where_nothing_is_stored_nothing_is_loaded_for_it(tmp_path: Path) -> None:
    assert TUNING == FOLDER
    words = (
        "import sys; from pathlib import Path; import appliance.daemon.app; "
        "from appliance.config import ModelSettings; "
        "from appliance.daemon.tuned import find_stored; "
        f"find_stored(ModelSettings(), Path({str(tmp_path)!r}), lambda: None); "
        "print([name for name in sys.modules if 'tuning' in name or 'retuner' in name or 'measuring' in name])"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
