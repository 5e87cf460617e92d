"""How sure a figure of some devices is: 95 % intervals of means, of shares and of differences. Pure.

A device is the unit: a thousand readings of one device say no more about another than one does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import fmean, variance
from typing import Final

Z: Final = 1.959964  # 97.5th percentile of the normal distribution
_EXACT: Final = {1: 12.7062, 2: 4.3027}  # of Student's t, where the expansion is poor


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and how sure it is.

    Attributes:
        value: The figure; None: nobody knows.
        low: Lower end of its 95 % interval; None: too few devices to tell one.
        high: Upper end.
        devices: How many it is of.
    """

    value: float | None
    low: float | None
    high: float | None
    devices: int


def t_quantile(freedom: float) -> float:
    """Give the 97.5th percentile of Student's t distribution.

    Cornish-Fisher expansion: Abramowitz and Stegun, 26.7.5. Fractions of a degree of freedom are rounded down, which
    makes intervals wider.

    Args:
        freedom: Degrees of freedom, from 1 on.
    """
    whole = int(min(freedom, 1e9))
    if whole in _EXACT:
        return _EXACT[whole]
    z = Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(whole) ** power for power, term in enumerate(terms, 1))


def mean(values: Sequence[float]) -> Estimate:
    """Give the mean of one figure of each device."""
    if len(values) < 2:  # noqa: PLR2004 - one device tells nothing of how devices differ
        return Estimate(values[0] if values else None, None, None, len(values))
    middle, half = fmean(values), t_quantile(len(values) - 1) * sqrt(variance(values) / len(values))
    return Estimate(middle, middle - half, middle + half, len(values))


def share(part: int, whole: int) -> Estimate:
    """Give a share of devices, 0..1, with the interval of Wilson (1927), which is good for few and for rare."""
    if not whole:
        return Estimate(None, None, None, 0)
    observed, square = part / whole, Z * Z / whole
    middle = (observed + square / 2) / (1 + square)
    half = Z / (1 + square) * sqrt(observed * (1 - observed) / whole + square / (4 * whole))
    return Estimate(observed, max(0.0, middle - half), min(1.0, middle + half), whole)


def difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Give by how much the mean of the second is above that of the first: Welch (1947), for unequal variances."""
    count = len(first) + len(second)
    if not first or not second:
        return Estimate(None, None, None, count)
    apart = fmean(second) - fmean(first)
    if min(len(first), len(second)) < 2:  # noqa: PLR2004 - likewise
        return Estimate(apart, None, None, count)
    errors = [variance(one) / len(one) for one in (first, second)]
    spread = sum(error**2 / (len(one) - 1) for error, one in zip(errors, (first, second), strict=True))
    half = t_quantile(sum(errors) ** 2 / spread if spread else inf) * sqrt(sum(errors))
    return Estimate(apart, apart - half, apart + half, count)
