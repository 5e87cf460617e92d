"""What of a release is to be brought, and how: from what is here, by a delta, or whole."""

from dataclasses import dataclass, field
from typing import Final

from appliance.core.manifest import MANIFEST_NAME
from appliance.updates.orders import Known, Offer, Piece
from appliance.updates.store import Store

SMALL: Final = 64 << 10
"""Bytes of a file that is brought whole over a connection that costs, where only deltas may be."""


@dataclass
class Delivery:
    """How far the bringing of a release is, beside what is kept.

    Attributes:
        offer: The release.
        begins: Monotonic seconds from which on it may begin.
        metered: What may be brought over a connection that costs.
        dear: Name of a file that may not; empty: all may.
        tries: How often it was cut short.
        wait: Seconds that were waited for the last try.
        due: Monotonic seconds of the next try.
        progress: Bytes that are here, and that there will be.
    """

    offer: Offer
    begins: float
    metered: str
    dear: str = ""
    tries: int = 0
    wait: float = 0.0
    due: float = float("-inf")
    progress: dict[str, int] = field(default_factory=dict)


def files_of(offer: Offer) -> dict[str, Known]:
    """Give all files of a release by name, its manifest among them."""
    return {MANIFEST_NAME: offer.manifest, **offer.files}


def pieces_of(offer: Offer, store: Store) -> tuple[Piece, ...]:
    """Give what is to be brought of a release, with what of it is here already.

    Args:
        offer: The release.
        store: Where releases lie.
    """
    return tuple(_piece(name, known, offer, store) for name, known in files_of(offer).items())


def too_dear(pieces: tuple[Piece, ...], metered: str) -> str:
    """Give the name of a file that may not be brought over a connection that costs; empty when all may.

    Args:
        pieces: What is to be brought.
        metered: ``none``, ``deltas`` or ``all``, as the rollout says.
    """
    if metered == "all":
        return ""
    for piece in pieces:
        is_whole = piece.delta is None and piece.known.size > SMALL
        if piece.have is None and (metered == "none" or is_whole):
            return piece.name
    return ""


def _piece(name: str, known: Known, offer: Offer, store: Store) -> Piece:
    piece = Piece(name=name, known=known, have=store.find(known.sha256))
    signed = offer.release.files.get(name)
    for delta in signed.deltas if signed is not None else ():
        base, way = store.find(delta.base), offer.deltas.get(delta.path)
        if base is not None and way is not None and way.size < known.size:
            return piece.model_copy(update={"delta": way, "base": base, "base_sha256": delta.base})
    return piece
