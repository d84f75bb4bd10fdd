"""Intervals and tests that several rooms use. A rate is shown with its n and its interval."""

from math import sqrt

from scipy.special import betaincinv  # scipy.stats would cost each start a second


def wilson(successes: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927, JASA 22:209); `successes`
    may be fractional (a tie counts half). Without data: (0, 1)."""
    if n <= 0:
        return 0.0, 1.0
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the limit is the end itself, which rounding must not miss.
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    return low, 1.0 if successes >= n else min(1.0, centre + half)


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval for a proportion (Clopper and Pearson 1934)."""
    if n <= 0:
        return 0.0, 1.0
    a = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, a))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - a))
    return low, high
