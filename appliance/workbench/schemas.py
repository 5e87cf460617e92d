"""edgecam-workbench schemas: writes the JSON Schemas and the AsyncAPI document of what a device publishes."""

import json
from pathlib import Path

import click


@click.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("docs"),
    show_default=True,
    help="Folder for asyncapi.yaml and schemas/.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit status 1 when a file is not as it would be written.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the files that were not as they are now.")
def schemas(*, output: Path, check: bool, as_json: bool) -> int:
    """Write what a device publishes as JSON Schemas and an AsyncAPI 3 document, made from the code."""
    files = rendered()
    stale = {path.relative_to(output).as_posix() for path in (output / "schemas").glob("*.json")} - files.keys()
    changed = [name for name, text in files.items() if _read(output / name) != text]
    if not check:
        _write(output, {name: files[name] for name in changed}, stale)
    done = sorted([*changed, *stale])
    if as_json:
        click.echo(json.dumps({"folder": str(output), "changed": done}))
    else:
        for name in done:
            click.echo(f"{output / name} {'is not current' if check else 'written'}")
        if check and done:
            click.echo("do: edgecam-workbench schemas", err=True)
    return 1 if check and done else 0


def rendered() -> dict[str, str]:
    """Give the content of all files by their path below the folder."""
    from appliance import __version__
    from appliance.messaging.contract.asyncapi import document, to_yaml
    from appliance.messaging.contract.channels import CHANNELS
    from appliance.messaging.contract.schemas import schema_of

    files = {
        f"schemas/{channel.name}.json": json.dumps(schema_of(channel), indent=2, ensure_ascii=False) + "\n"
        for channel in CHANNELS
        if channel.has_schema
    }
    head = "# Made from the code by `make docs`: do not edit.\n"
    return {"asyncapi.yaml": head + "\n".join(to_yaml(document(__version__))) + "\n", **files}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _write(output: Path, files: dict[str, str], stale: set[str]) -> None:
    from appliance.core.errors import StorageError
    from appliance.core.files import make_folder, write_atomically

    make_folder(output / "schemas")
    try:
        for name in stale:
            (output / name).unlink()
    except OSError as error:
        raise StorageError(f"cannot remove {error.filename}: {error.strerror}; choose another --output") from error
    for name, text in files.items():
        write_atomically(output / name, text.encode())
