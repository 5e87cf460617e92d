"""A fleet's repository made and signed with python-tuf's own metadata types, in a folder, and served over HTTP.

It is made without any of Edgecam's code, so that what Edgecam reads is what the specification says.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from tests.simulators.listening import answering

TOP = ("root", "timestamp", "snapshot", "targets")
ROLES = {"models": ["models/*/*/*", "models/*/*/golden/*", "deltas/*"], "rollout-stable": ["rollout/stable/*"]}


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Fleet:
    """A repository in a folder; `sign` writes what has changed.

    Attributes:
        now: When it is signed; what is signed expires some time after it.
        issued: That is signed into the timestamp, too; or else what is signed in its place.
    """

    def __init__(self, folder: Path, now: datetime | None = None) -> None:
        self.folder, self.now = folder, now or datetime.now(UTC)
        self.issued: bool | str = True
        (folder / "metadata").mkdir(parents=True, exist_ok=True)
        (folder / "targets").mkdir(exist_ok=True)
        self.signers = {role: CryptoSigner.generate_ed25519() for role in (*TOP, *ROLES)}
        self.targets: dict[str, dict[str, TargetFile]] = {role: {} for role in ROLES}
        self.versions = dict.fromkeys((*TOP, *ROLES), 0)
        self.lives = {"timestamp": 7}
        self.renew_root()
        self.sign()

    @property
    def root(self) -> Path:
        """The root of trust that devices are given."""
        return self.folder / "metadata" / "1.root.json"

    def put(self, role: str, path: str, content: bytes, custom: Mapping[str, Any] | None = None) -> str:
        """Put a file into the repository; give its digest."""
        digest = sha256(content).hexdigest()
        target = TargetFile.from_data(path, content, ["sha256"])
        if custom:
            target.unrecognized_fields["custom"] = custom
        self.targets[role][path] = target
        folder, _, name = path.rpartition("/")
        place = self.folder / "targets" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{digest}.{name}").write_bytes(content)
        return digest

    def stored(self, path: str) -> Path:
        """Give where a file lies that was put last under a path."""
        target = next(each[path] for each in self.targets.values() if path in each)
        folder, _, name = path.rpartition("/")
        return self.folder / "targets" / folder / f"{target.hashes['sha256']}.{name}"

    def release(
        self, folder: Path, counter: int, *, version: str = "", plain: Mapping[str, Any] | None = None, **changes: Any
    ) -> dict[str, str]:
        """Put a model's folder in as a release; give its selection.

        Args:
            folder: The model's.
            counter: Of the release.
            version: In place of the manifest's.
            plain: What encrypted files hold, by their names.
            **changes: In place of what is signed about it.
        """
        manifest = (folder / "manifest.toml").read_bytes()
        name = next(line.split('"')[1] for line in manifest.decode().splitlines() if line.startswith("name"))
        version = version or next(
            line.split('"')[1] for line in manifest.decode().splitlines() if line.startswith("version")
        )
        base = f"models/{name}/{version}"
        files = {}
        for file in sorted(folder.rglob("*")):
            relative = file.relative_to(folder).as_posix()
            if file.is_file() and relative != "manifest.toml":
                self.put("models", f"{base}/{relative}", file.read_bytes())
                held = {"plain": plain[relative]} if plain and relative in plain else {}
                files[relative] = {"path": f"{base}/{relative}", **held}
        signed = {
            "schema": 1,
            "name": name,
            "version": version,
            "counter": counter,
            "task": "detect",
            "metrics": {"dataset": "drawn", "pictures": 1, "figures": {"ap": 1}},
            "licence": {"spdx": "Apache-2.0"},
            "provenance": "a test",
            "files": files,
            **changes,
        }
        digest = self.put("models", f"{base}/manifest.toml", manifest, {"edgecam": signed})
        return {"path": f"{base}/manifest.toml", "sha256": digest}

    def roll_out(self, name: str, *choose: Mapping[str, str], **changes: Any) -> None:
        """Put a rollout in."""
        rollout = {
            "schema": 1,
            "id": f"{name}-{len(self.targets['models'])}",
            "name": name,
            "choose": list(choose),
            "salt": "s",
            "share_ppm": 1_000_000,
            "jitter_seconds": 0,
            **changes,
        }
        self.put("rollout-stable", f"rollout/stable/{name}.json", json.dumps(rollout).encode())

    def sign(self, **expires: datetime) -> None:
        """Sign all anew, the timestamp last.

        Args:
            **expires: When a role's metadata ends, in place of what is usual.
        """
        keys = {role: self.signers[role].public_key for role in ROLES}
        roles = {
            role: DelegatedRole(role, [keys[role].keyid], 1, terminating=True, paths=paths)
            for role, paths in ROLES.items()
        }
        delegations = Delegations({key.keyid: key for key in keys.values()}, roles)
        signed: dict[str, Any] = {"targets": Targets(delegations=delegations)}
        signed |= {role: Targets(targets=dict(targets)) for role, targets in self.targets.items()}
        for role, one in signed.items():
            self._write(role, one, expires)
        meta = {f"{role}.json": MetaFile(self.versions[role]) for role in signed}
        self._write("snapshot", Snapshot(meta=meta), expires)
        timestamp = Timestamp(snapshot_meta=MetaFile(self.versions["snapshot"]))
        if self.issued:
            timestamp.unrecognized_fields["x-issued"] = text(self.now) if self.issued is True else self.issued
        self._write("timestamp", timestamp, expires)

    def renew_root(self) -> None:
        """Sign the next version of the root of trust, with the same keys."""
        root = Root(consistent_snapshot=True)
        for role in TOP:
            root.add_key(self.signers[role].public_key, role)
        self._write("root", root, {})

    def _write(self, role: str, signed: Any, expires: Mapping[str, datetime]) -> None:
        self.versions[role] += 1
        signed.version = self.versions[role]
        signed.expires = expires.get(role, self.now + timedelta(days=self.lives.get(role, 365))).replace(microsecond=0)
        metadata: Metadata[Any] = Metadata(signed)
        metadata.sign(self.signers[role])
        name = "timestamp.json" if role == "timestamp" else f"{signed.version}.{role}.json"
        (self.folder / "metadata" / name).write_bytes(metadata.to_bytes())


@dataclass
class Web:
    """What the server does.

    Attributes:
        url: Where it is.
        asked: Path of each request.
        sent: Bytes of bodies.
        statuses: Answered in place of the file, by a part of its path; with the value of ``Retry-After``.
        replaced: What is sent in place of a file, likewise.
        kind: As what that is sent: its Content-Type.
    """

    url: str = ""
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    statuses: dict[str, tuple[int, str]] = field(default_factory=dict)
    replaced: dict[str, bytes] = field(default_factory=dict)
    kind: str = "text/html"


@contextmanager
def served(folder: Path) -> Iterator[Web]:
    """Serve a folder over HTTP on loopback until the end of the block."""
    web = Web()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, directory=str(folder), **named)

        def do_GET(self) -> None:
            web.asked.append(self.path)
            for part, (status, wait) in web.statuses.items():
                if part in self.path:
                    self.send_response(status)
                    if wait:
                        self.send_header("Retry-After", wait)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            for part, content in web.replaced.items():
                if part in self.path:
                    self.send_response(200)
                    self.send_header("Content-Type", web.kind)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                    return
            super().do_GET()

        def copyfile(self, source: Any, outputfile: Any) -> None:
            content = source.read()
            web.sent += len(content)
            outputfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with answering(Handler) as web.url:
        yield web
