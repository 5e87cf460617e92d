"""edgecam-workbench fleet: a whole fleet on one machine, to try it."""

from pathlib import Path

import click

from appliance.workbench.publishing.extras import loaded


@click.group()
def fleet() -> None:
    """Try a fleet on this machine; see docs/fleet.md."""


@fleet.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; other machines: 0.0.0.0.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any that is free.")
def serve(folder: Path, *, host: str, port: int) -> None:
    """Serve FOLDER, which `publish push` wrote, or the publisher's own, until Ctrl-C; a line for each request.

    For trying it out. A fleet is served by any web server, object store or CDN.
    """
    with loaded():
        from appliance.workbench.publishing.serving import RepositoryServer
    published = folder / "repository"
    server = RepositoryServer(published if published.is_dir() else folder, host, port, is_told=True)
    with server:
        click.echo(f"{server.url}  [fleet] url; Ctrl-C ends it")
        server.serve_forever()
