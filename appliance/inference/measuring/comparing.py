"""Chooses the reference among the measured, and compares the others with it. Pure but for the golden frames."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from appliance.core.errors import ModelError
from appliance.inference.golden import GoldenArtifact, GoldenSet, Tolerance, compare_golden, read_golden
from appliance.inference.measuring.agreement import Agreement, Objects, of_labels, of_objects, of_pixels, of_tensors
from appliance.inference.measuring.rounds import Measured


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of comparing one candidate.

    Attributes:
        agreement: With the reference; None: it is the reference itself, or nothing can be compared.
        is_reference: The others are compared with it.
        is_same_file: It and the reference are one file, run in other ways.
        reference: What it was compared with, for messages.
        note: What there is to know beside the figure.
        golden: What it does not do on the golden frames of its model that it did where it was made; empty: it passed,
            or nothing is known of it there.
    """

    agreement: Agreement | None
    is_reference: bool = False
    is_same_file: bool = False
    reference: str = ""
    note: str = ""
    golden: str = ""


def compare(measured: Sequence[Measured]) -> list[Compared]:
    """Compare each candidate with the reference of its group, in the order given.

    A group are the files of one model: those of one manifest, or bare files of one family and input size. Its reference
    is the float file, run in the plainest way; where the model has golden frames, what that file finds there where it
    was made.
    """
    groups: dict[Hashable, list[int]] = {}
    for at, one in enumerate(measured):
        groups.setdefault(_group(one), []).append(at)
    found: dict[int, Compared] = {}
    for members in groups.values():
        working = [at for at in members if not measured[at].error]
        if working:
            reference = min(working, key=lambda at: (measured[at].first.is_quantized, at))
            for at in working:
                found[at] = _against(measured[reference], measured[at])
    return [found.get(at, Compared(None)) for at in range(len(measured))]


def _group(one: Measured) -> Hashable:
    if one.candidate.folder is not None:
        return one.candidate.folder
    known = one.first.model
    return (known, one.first.input) if known else one.candidate.file


def _against(reference: Measured, one: Measured) -> Compared:
    golden = _golden(one)
    expected = _written(golden, reference)
    broken = _broken(golden, one)
    if one is reference and expected is None:
        return Compared(None, is_reference=True, is_same_file=True, note=_kind(one), golden=broken)
    objects: Objects = reference.first.objects if expected is None else expected
    note = "" if expected is None else "golden frames"
    agreement = _told(reference, objects, one)
    if agreement is None:
        note = _kind(one) or "nothing was found in the pictures"
        agreement = of_tensors(reference.tensors, one.tensors)
    return Compared(
        agreement,
        is_reference=one is reference,
        is_same_file=one.candidate.file == reference.candidate.file,
        reference=reference.candidate.file.name + (" on its golden frames" if note == "golden frames" else ""),
        note=note,
        golden=broken,
    )


def _told(reference: Measured, objects: Objects, one: Measured) -> Agreement | None:
    """Compare what two files of one model tell of the pictures; None: nothing, or nothing that can be compared."""
    task, min_score = one.first.task, max(reference.first.min_score, one.first.min_score)
    if not one.first.model:
        return None
    if task == "classify":
        pairs = zip(reference.tensors, one.tensors, strict=False)  # one, or none where it could not be kept
        return next((of_labels(*pair, min_score) for pair in pairs), None)
    if task == "segment":
        return of_pixels(reference.tensors, one.tensors)
    return of_objects(objects, one.first.objects, min_score) if len(objects) == len(one.first.objects) else None


def _kind(one: Measured) -> str:
    return "" if one.first.model else "no decoder known"


def _golden(one: Measured) -> GoldenSet | None:
    """Give the golden frames that a candidate was run on; None where it was run on other pictures."""
    folder, pictures = one.candidate.folder, one.candidate.pictures
    if folder is None or {path.parent for path in pictures} != {folder / "golden"}:
        return None
    try:
        return read_golden(folder)
    except ModelError:
        return None  # taken away meanwhile: what was found is still there to compare


def _known(golden: GoldenSet | None, one: Measured) -> GoldenArtifact | None:
    if golden is None:
        return None
    return next((known for known in golden.artifacts if known.sha256 == one.first.sha256), None)


def _written(golden: GoldenSet | None, reference: Measured) -> Objects | None:
    """Give what the reference finds where it was made; None where that is not known."""
    known = _known(golden, reference)
    return known.frames if known is not None and known.min_score == reference.first.min_score else None


def _broken(golden: GoldenSet | None, one: Measured) -> str:
    """Tell what a file does not do here that it did where it was made."""
    known = _known(golden, one)
    if golden is None or known is None or known.min_score != one.first.min_score:
        return ""
    tolerance: Tolerance = golden.tolerance
    least = known.min_score + tolerance.score
    deviations = [
        deviation
        for frame, expected, given in zip(golden.frames, known.frames, one.first.objects, strict=True)
        for deviation in compare_golden(frame.file, expected, given, tolerance, least)
    ]
    if not deviations:
        return ""
    return f"{len(deviations)} objects are not as they were where it was made; the first: {deviations[0]}"
