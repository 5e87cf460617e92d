import io
import tarfile
from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from appliance.diagnostics.report.bundle import MOST_BYTES, MOST_MEMBER_BYTES, Member, pack, write_report


def unpacked(content: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = {entry.name: archive.extractfile(entry) for entry in archive}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


def test_what_is_packed_is_there_and_listed() -> None:
    files = unpacked(pack([Member("a.txt", "the first", "hällo\n")], "report"))
    assert files["report/a.txt"] == "hällo\n"
    assert "a.txt" in files["report/CONTENTS.txt"]
    assert "the first" in files["report/CONTENTS.txt"]


def test_of_a_long_log_the_end_is_kept_and_it_is_said_that_more_was_there() -> None:
    data = Member("journal.txt", "", "old\n" + "x" * 2 * MOST_MEMBER_BYTES + "\nnew\n").data
    assert len(data) == MOST_MEMBER_BYTES
    assert data.endswith(b"\nnew\n")
    assert b"left out" in data[:100]


def test_a_report_is_bounded_and_names_what_it_lacks() -> None:
    members = [Member(f"{number}.txt", "", "x" * MOST_MEMBER_BYTES) for number in range(12)]
    files = unpacked(pack(members, "r"))
    assert sum(map(len, files.values())) <= MOST_BYTES + 1000
    assert "r/0.txt" in files
    assert "left out, as the report would be too large: 8.txt, 9.txt, 10.txt, 11.txt" in files["r/CONTENTS.txt"]


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "edgecam-report.tar.gz"
    assert write_report(path, [Member("a.txt", "", "a")]) == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o600
    assert "edgecam-report/a.txt" in unpacked(path.read_bytes())


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        write_report(tmp_path / "none" / "r.tar.gz", [])
