"""`edgecam model` as an operator meets it."""

from click.testing import CliRunner, Result

from appliance.cli.model import model

FAMILIES = [
    "d-fine",
    "efficientdet",
    "fastestdet",
    "nanodet",
    "picodet",
    "rf-detr",
    "ssd-mobilenet",
    "yolox",
]


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(model, arguments, catch_exceptions=False)


def test_each_model_is_one_line_on_a_terminal_of_80_columns() -> None:
    done = run("list")
    lines = done.stdout.rstrip("\n").splitlines()
    assert [line.split()[0] for line in lines] == ["model", *FAMILIES]
    assert max(map(len, lines)) <= 80
    assert "…" not in done.stdout
    assert "--model FILE.onnx" in done.stderr


def test_a_name_that_is_not_known_is_a_mistake_on_the_command_line_and_the_known_are_told() -> None:
    done = run("show", "yolo")
    assert done.exit_code == 2
    assert ", ".join(FAMILIES) in " ".join(done.stderr.split())
