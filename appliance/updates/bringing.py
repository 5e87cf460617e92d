"""Brings the files of a release: from what is here already, by a delta, or whole; each is verified."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.core.download import Wanted, download
from appliance.core.errors import ModelError, StorageError, UnavailableError
from appliance.core.files import make_folder
from appliance.updates.orders import BringAnswer, BringOrder, Known, Piece
from appliance.updates.patching import apply_delta
from appliance.updates.places import local_path
from appliance.updates.refusals import Code, RefusedError, UnreachedError
from appliance.updates.troubles import refused, unreached

_CHUNK: Final = 1 << 20


def bring(order: BringOrder, progress: Callable[[int, int], None]) -> BringAnswer:
    """Bring all files of an order; what a call before has brought is not brought again.

    Args:
        order: What.
        progress: Is told how many bytes are here, and how many there will be.

    Raises:
        RefusedError: A file is not what was signed.
        StorageError: It cannot be written.
        UnreachedError: It cannot be had now; what came is kept.
    """
    whole = sum(piece.known.size for piece in order.pieces)
    done = brought = 0
    refused: dict[str, str] = {}
    for piece in order.pieces:
        path = order.folder / piece.name
        make_folder(path.parent)

        def tell(bytes_here: int, before: int = done) -> None:
            progress(before + bytes_here, whole)

        if not _is(path, piece.known) and not _take_what_is_here(piece, path):
            why = _patch(piece, path, is_dated=order.is_dated)
            if why is None and piece.delta is not None:
                brought += piece.delta.size
            else:
                refused |= {piece.name: why} if why else {}
                bring_file(piece.known, path, tell, is_dated=order.is_dated)
                brought += piece.known.size
        done += piece.known.size
        progress(done, whole)
    return BringAnswer(brought=brought, refused_deltas=refused)


def bring_file(known: Known, path: Path, tell: Callable[[int], None], *, is_dated: bool = True) -> None:
    """Bring one file, from a server or out of a folder.

    Args:
        known: What was signed.
        path: Where to; replaced when it is verified.
        tell: Is told how many bytes are here.
        is_dated: The server's certificate is held against the clock; see `core.web.ask`.

    Raises:
        RefusedError: What is there is not what was signed.
        StorageError: It cannot be written.
        UnreachedError: It cannot be had now.
    """
    if (source := local_path(known.url)) is not None:
        _copy_verified(source, known, path)
        return
    wanted = Wanted(known.url, known.sha256, known.size, known.size, may_be_plain=True, is_dated=is_dated)
    try:
        download(wanted, path, lambda done, _whole: tell(done))
    except ModelError as error:
        raise refused(error) from error
    except UnavailableError as error:
        raise unreached(error) from error


def _take_what_is_here(piece: Piece, path: Path) -> bool:
    """Copy a file that another release has already; tell whether it is what was signed."""
    if piece.have is None or not _is(piece.have, piece.known):
        return False
    try:
        _copy_verified(piece.have, piece.known, path)
    except (UnavailableError, RefusedError):
        return False  # it has gone meanwhile: it is brought
    return True


def _patch(piece: Piece, path: Path, *, is_dated: bool) -> str | None:
    """Make a file of a delta; give why that did not do, empty where there is none, None where it did."""
    if piece.delta is None or piece.base is None:
        return ""
    if digest_of(piece.base) != piece.base_sha256:
        return f"{piece.base.name} of the release before is damaged"
    packed, made = path.with_name(f"{path.name}.delta"), path.with_name(f"{path.name}.made")
    try:
        bring_file(piece.delta, packed, lambda _: None, is_dated=is_dated)
        apply_delta(piece.base, packed.read_bytes(), made, piece.known.size)
        if digest_of(made) != piece.known.sha256:
            return "the delta does not lead to what was signed"
        os.replace(made, path)  # noqa: PTH105 - a rename in place; the release is synced as a whole
    except ModelError as error:
        return str(error)
    except OSError as error:
        raise StorageError(f"cannot write {made}: {error.strerror or error}") from error
    finally:
        packed.unlink(missing_ok=True)
        made.unlink(missing_ok=True)
    return None


def _copy_verified(source: Path, known: Known, path: Path) -> None:
    """Copy a file that was signed; a part of it never has its name."""
    part = path.with_name(f"{path.name}.copy")
    try:
        with source.open("rb") as file:
            if os.fstat(file.fileno()).st_size != known.size:
                raise RefusedError(Code.HASH, f"{source} has not the {known.size} bytes that were signed")
            with part.open("wb") as out:
                shutil.copyfileobj(file, out, _CHUNK)
    except FileNotFoundError as error:
        why = f"{source} is not there; is the whole of the fleet's folder here?"
        raise UnreachedError(Code.NETWORK, why) from error
    except OSError as error:
        raise StorageError(f"cannot copy {source} to {part}: {error.strerror or error}") from error
    if digest_of(part) != known.sha256:
        part.unlink(missing_ok=True)
        raise RefusedError(Code.HASH, f"{source} is not what was signed")
    part.replace(path)


def digest_of(path: Path) -> str:
    """Give the SHA-256 of a file, 64 hexadecimal digits; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _is(path: Path, known: Known) -> bool:
    try:
        return path.stat().st_size == known.size and digest_of(path) == known.sha256
    except OSError:
        return False
