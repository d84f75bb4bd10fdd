"""How far a judge agrees with people, and people with each other, on the same pairs.

People's votes on a pair are a spread over a, b, tie and "both bad"; for a judge whose prompt does
not let it say the last, over a, b and neither. A judge agrees with a pair by the share of the people on it who
said the same; people agree with each other by the share of ordered couples of them who did
(each left out in turn, and compared with the others). Both are means over pairs, so that they
can be compared. Zheng et al. 2023 (MT-Bench, section 4.2, tables 5 and 6) report the same two,
with ties (setup 1) and without (setup 2).

Kappa takes off what chance gives (Cohen 1960): (p - e) / (1 - e), where e comes from how often
each side says each of these. Which response is called a means nothing, so each pair enters in
both orders. With one person a pair it is Cohen's kappa.

Intervals: 95 %, percentiles of a bootstrap over pairs (1,000 resamples). On fewer than SMALL
pairs a bootstrap is too narrow (of pairs that all agree it has no width at all): a share has
the wider of it and Wilson's interval, as if each pair were one vote, and kappa has none where
the resamples do not differ.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.annotation.agreement import RESAMPLES
from core.stats import wilson
from storage.judges import Kind

CHOICES = ("a", "b", "tie", "both_bad")
SMALL = 30  # pairs
FEW = 2  # people on a pair, to compare them with each other


@dataclass(frozen=True)
class Figure:
    """`n`: pairs. None where there are none, or where it is not defined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True)
class Agreement:
    """Of a judge with people, and of the people with each other (`people_…`) on those of the
    pairs that two and more have judged. `decisive…`: ties and "both bad" left out on both sides."""

    share: Figure
    kappa: Figure
    decisive: Figure
    people_share: Figure
    people_kappa: Figure
    people_decisive: Figure


def agreement(
    kinds: Sequence[Kind], resamples: int = RESAMPLES, seed: int = 0, *, both_bad: bool = True
) -> Agreement:
    """From one judge's pairs by kind (`storage.judges.compared`). `both_bad`: the judge may say
    so; else people's "both bad" is a tie."""
    together: Counter[tuple[int, ...]] = Counter()
    for kind in kinds:
        said_by = (kind.a, kind.b, kind.tie, kind.both_bad)
        if not both_bad:
            said_by = (kind.a, kind.b, kind.tie + kind.both_bad, 0)
        together[CHOICES.index(kind.choice), *said_by] += kind.pairs
    rows = sorted(together.items())  # so that the same pairs give the same resamples
    said = np.array([key[0] for key, _ in rows], dtype=int)  # (K,)
    people = np.array([key[1:] for key, _ in rows], dtype=float).reshape(-1, 4)
    times = np.array([pairs for _, pairs in rows], dtype=float)  # (K,)
    n = people.sum(axis=1)
    judge = np.eye(4)[said].reshape(-1, 4)
    spread = people / np.maximum(n, 1)[:, None]
    share = (judge * spread).sum(axis=1)
    among = (people * (people - 1)).sum(axis=1) / np.maximum(n * (n - 1), 1)
    two = people[:, :2]
    chose = two.sum(axis=1)
    with_two = (judge[:, :2] * two).sum(axis=1) / np.maximum(chose, 1)
    among_two = (two * (two - 1)).sum(axis=1) / np.maximum(chose * (chose - 1), 1)
    decided, compared = (said < 2) & (chose > 0), n >= FEW
    both_decided = chose >= FEW

    drawn = _draws(times, resamples, seed)  # (1 + B, K), the first as it is
    return Agreement(
        share=_mean(share, n > 0, times, drawn),
        kappa=_kappa(share, judge, spread, n > 0, times, drawn),
        decisive=_mean(with_two, decided, times, drawn),
        people_share=_mean(among, compared, times, drawn),
        people_kappa=_kappa(among, spread, spread, compared, times, drawn),
        people_decisive=_mean(among_two, both_decided, times, drawn),
    )


def _draws(times: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    total = int(times.sum())
    if not total:
        return np.zeros((1, len(times)))
    rng = np.random.default_rng(seed)
    return np.vstack([times, rng.multinomial(total, times / total, resamples)])


def _mean(values: np.ndarray, use: np.ndarray, times: np.ndarray, drawn: np.ndarray) -> Figure:
    weight = drawn[:, use]
    total = weight.sum(axis=1)
    with np.errstate(invalid="ignore"):
        found = weight @ values[use] / total
    figure = _figure(found, times[use].sum(), share=True)
    if figure.value is None or figure.low is None or figure.high is None or figure.n >= SMALL:
        return figure
    low, high = wilson(figure.value * figure.n, figure.n)
    return Figure(figure.value, min(figure.low, low), max(figure.high, high), figure.n)


def _kappa(
    agreed: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    use: np.ndarray,
    times: np.ndarray,
    drawn: np.ndarray,
) -> Figure:
    """`first`, `second` (K, 4): how often each side says each of CHOICES, within each kind."""
    weight = drawn[:, use]
    total = weight.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = weight @ agreed[use] / total
        expected = sum(
            (
                _either_way(weight @ first[use] / total[:, None])
                * _either_way(weight @ second[use] / total[:, None])
            ).T
        )
        found = (p - expected) / (1 - expected)
    return _figure(np.where(np.isclose(expected, 1), np.nan, found), times[use].sum(), share=False)


def _either_way(shares: np.ndarray) -> np.ndarray:
    """(B, 4) shares of CHOICES, every pair in both orders: a and b alike."""
    one = (shares[:, 0] + shares[:, 1]) / 2
    return np.column_stack([one, one, shares[:, 2:]])


def _figure(found: np.ndarray, pairs: float, *, share: bool) -> Figure:
    if not pairs or np.isnan(found[0]):
        return Figure(n=int(pairs))
    found = np.round(found, 12) + 0.0  # a judge that always says the same: 0, not 2e-16 or -0
    spread = found[1:][~np.isnan(found[1:])]
    low, high = np.quantile(spread, [0.025, 0.975]) if len(spread) else (None, None)
    if low == high and pairs < SMALL:
        low, high = (low, high) if share else (None, None)
    return Figure(
        float(found[0]),
        None if low is None else float(low),
        None if high is None else float(high),
        int(pairs),
    )
