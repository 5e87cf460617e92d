"""The server for trying a fleet, as it is started by hand."""

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.simulators.publishing import Fleet


def test_it_says_where_it_is_gives_the_publisher_s_folder_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.publish()
    code = "from appliance.workbench.main import main; main()"
    command = [sys.executable, "-c", code, "fleet", "serve", str(fleet.repository.folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split(" ")[0]
            with urllib.request.urlopen(f"{url}/metadata/timestamp.json", timeout=20) as answer:  # noqa: S310 - of our own server
                assert answer.read() == (fleet.repository.metadata / "timestamp.json").read_bytes()
            assert "GET /metadata/timestamp.json" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        finally:
            process.kill()
