"""How far annotators agree: Krippendorff's alpha, Fleiss' and Cohen's kappa, raw agreement.

Which response of a pair is called a follows from ids and means nothing, yet what is expected
by chance depends on how often "a" was chosen. So every pair is entered in both orders
(`swap`), which frees the measures from that name. Pairs with one vote say nothing about
agreement and are left out.

- Alpha: Krippendorff 2011, "Computing Krippendorff's alpha-reliability"; nominal over who
  won, tie and both bad; ordinal over the signed strength, from significantly for a over
  tie to significantly for b.
- Fleiss' kappa: Fleiss 1971 (Psychological Bulletin 76:378), with P_i of each pair from its
  own number of votes.
- Cohen's kappa: Cohen 1960; of more than two annotators the mean over those who share
  MIN_SHARED pairs and more (Light 1971).
- Intervals: 95 %, percentile bootstrap over pairs.
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 1_000
MIN_SHARED = 10
CHOICES = ("a", "b", "tie", "both_bad")
SWAP_CHOICES = (1, 0, 2, 3)
STRENGTHS = ("significantly", "clearly", "slightly", "barely")
# Signed strength: a significantly … a barely, tie, b barely … b significantly.
SCALE = len(STRENGTHS) * 2 + 1
SWAP_SCALE = tuple(reversed(range(SCALE)))
_AT_ONCE = 4_000_000  # numbers in one block of resamples


@dataclass(frozen=True)
class Measure:
    """A coefficient with its 95 % interval; all None where it is undefined. `n`: pairs with
    two votes and more; `votes`: theirs."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    votes: int


def alpha(
    counts: np.ndarray, level: str = "nominal", *, swap: tuple[int, ...] | None = None,
    times: np.ndarray | None = None, resamples: int = RESAMPLES, seed: int = 0,
) -> Measure:  # fmt: skip
    """Krippendorff's alpha. counts: (pairs, V) votes for each value, in order; `times`: how
    many pairs each row stands for (one); `swap`: the value each becomes when a and b change
    places; level: nominal or ordinal. Undefined
    where all votes that can be compared say the same (with `swap`, a and b are not)."""
    kinds, times, n, votes = _kinds(counts, times)
    if n == 0:
        return Measure(None, None, None, 0, 0)
    m = kinds.sum(1)  # (K,)
    values = kinds.shape[1]
    # Coincidences within a pair of each kind (K, V, V): ordered couples of its votes, / (m - 1).
    within = (kinds[:, :, None] * kinds[:, None, :]).astype(float)
    within[:, np.arange(values), np.arange(values)] -= kinds
    within /= (m - 1)[:, None, None]
    if swap is not None:
        within = within + within[:, swap][:, :, swap]
    flat = within.reshape(len(kinds), -1)

    def of(weights: np.ndarray) -> np.ndarray:
        seen = (weights @ flat).reshape(-1, values, values)  # (B, V, V)
        margin = seen.sum(2)  # (B, V)
        total = margin.sum(1)
        apart = _distance(margin, level)
        observed = (seen * apart).sum((1, 2))
        expected = (margin[:, :, None] * margin[:, None, :] * apart).sum((1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(expected > 1e-12, 1 - (total - 1) * observed / expected, np.nan)

    return _measure(of, times, n, votes, resamples, seed)


def fleiss(
    counts: np.ndarray, *, swap: tuple[int, ...] | None = None, times: np.ndarray | None = None,
    resamples: int = RESAMPLES, seed: int = 0,
) -> Measure:  # fmt: skip
    """Fleiss' kappa, pairs with any number of votes from two on. Arguments as of `alpha`."""
    kinds, times, n, votes = _kinds(counts, times)
    if n == 0:
        return Measure(None, None, None, 0, 0)
    same = _same(kinds)
    both = kinds if swap is None else kinds + kinds[:, list(swap)]

    def of(weights: np.ndarray) -> np.ndarray:
        agreed = weights @ same / weights.sum(1)
        margin = weights @ both
        chance = ((margin / margin.sum(1, keepdims=True)) ** 2).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(chance < 1 - 1e-12, (agreed - chance) / (1 - chance), np.nan)

    return _measure(of, times, n, votes, resamples, seed)


def raw(
    counts: np.ndarray, *, times: np.ndarray | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Measure:
    """The chance that two votes on the same pair are the same: the mean over pairs."""
    kinds, times, n, votes = _kinds(counts, times)
    if n == 0:
        return Measure(None, None, None, 0, 0)
    same = _same(kinds)
    return _measure(lambda w: w @ same / w.sum(1), times, n, votes, resamples, seed)


def cohen(table: np.ndarray) -> float | None:
    """Cohen's kappa of two annotators. table: (V, V) pairs by what the first and the second
    chose. None where chance alone makes them agree always."""
    found = _cohens(np.asarray(table, dtype=float)[None])[0]
    return None if np.isnan(found) else float(found)


@dataclass(frozen=True)
class Cohen(Measure):
    """The mean of Cohen's kappa over `couples` of annotators."""

    couples: int = 0


def cohens(
    pair: np.ndarray, judge: np.ndarray, choice: np.ndarray, *, values: int = 4,
    swap: tuple[int, ...] | None = SWAP_CHOICES, least: int = MIN_SHARED, resamples: int = 200, seed: int = 0,
) -> Cohen:  # fmt: skip
    """Mean of Cohen's kappa over every two annotators with `least` pairs in common. pair,
    judge, choice: (votes,) integers from 0, one vote each."""
    item, key, cell = _couples(pair, judge, choice, values)
    couples, which, shared = np.unique(key, return_inverse=True, return_counts=True)
    kept = shared[which] >= least
    couples, which = np.unique(key[kept], return_inverse=True)
    item, cell = item[kept], cell[kept]
    if not len(couples):
        return Cohen(None, None, None, 0, 0, 0)
    place, size = which * values * values + cell, len(couples) * values * values

    def of(weights: np.ndarray | None) -> float:
        table = np.bincount(place, weights, size).reshape(-1, values, values)
        if swap is not None:
            table = table + table[:, swap][:, :, swap]
        found = _cohens(table)
        return float(np.nanmean(found)) if np.isfinite(found).any() else np.nan

    value = of(None)
    items, item = np.unique(item, return_inverse=True)
    rng = np.random.default_rng(seed)
    # Poisson weights of the pairs: the bootstrap without keeping how many there are fixed.
    drawn = [of(rng.poisson(1.0, len(items)).astype(float)[item]) for _ in range(resamples)]
    low, high = _ends(np.array(drawn), value)
    if not np.isfinite(value):
        return Cohen(None, None, None, len(items), len(cell), len(couples))
    return Cohen(value, low, high, len(items), len(cell), len(couples))


# --- parts ------------------------------------------------------------------------------


def _kinds(counts: np.ndarray, times: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Distinct rows with two votes and more, how often each comes, pairs, votes. Pairs with
    equal counts are interchangeable, so that a resample costs what the kinds do."""
    counts = np.asarray(counts)
    each = np.ones(len(counts)) if times is None else np.asarray(times, dtype=float)
    shared = counts.sum(1) > 1
    counts, each = counts[shared], each[shared]
    if not len(counts):
        return counts, each, 0, 0
    kinds, place = np.unique(counts, axis=0, return_inverse=True)
    found = np.bincount(place.reshape(-1), each)
    return kinds, found, int(each.sum()), int(each @ counts.sum(1))


def _same(kinds: np.ndarray) -> np.ndarray:
    """The share of ordered couples of votes that are the same, for each kind."""
    n = kinds.sum(1)
    return ((kinds**2).sum(1) - n) / (n * (n - 1))


def _measure(of, times: np.ndarray, n: int, votes: int, resamples: int, seed: int) -> Measure:  # type: ignore[no-untyped-def]
    value = float(of(times[None])[0])
    if not np.isfinite(value):
        return Measure(None, None, None, n, votes)
    rng = np.random.default_rng(seed)
    block = max(1, _AT_ONCE // len(times))
    found = [
        of(rng.multinomial(n, times / n, size=min(block, resamples - start)).astype(float))
        for start in range(0, resamples, block)
    ]
    low, high = _ends(np.concatenate(found), value)
    return Measure(value, low, high, n, votes)


def _ends(drawn: np.ndarray, value: float) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return value, value
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _distance(margin: np.ndarray, level: str) -> np.ndarray:
    """Squared distances of the values, (B or 1, V, V)."""
    values = margin.shape[1]
    if level == "nominal":
        return (1.0 - np.eye(values))[None]
    # Ordinal: the votes from one value to the other, the two ends counting half.
    upto = np.cumsum(margin, axis=1)  # (B, V)
    middle = upto - margin / 2
    return (middle[:, :, None] - middle[:, None, :]) ** 2


def _cohens(tables: np.ndarray) -> np.ndarray:
    """tables: (P, V, V) -> (P,), nan where undefined."""
    n = tables.sum((1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        agreed = np.trace(tables, axis1=1, axis2=2) / n
        chance = (tables.sum(1) * tables.sum(2)).sum(1) / n**2
        return np.where(chance < 1 - 1e-12, (agreed - chance) / (1 - chance), np.nan)


def _couples(
    pair: np.ndarray, judge: np.ndarray, choice: np.ndarray, values: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every two votes on one pair: the pair, a number for the two annotators, and the cell
    of their table."""
    order = np.lexsort((judge, pair))
    pair, judge, choice = pair[order], judge[order].astype(np.int64), choice[order]
    many = int(judge.max(initial=-1)) + 1
    items, keys, cells = [], [], []
    step = 1
    while True:
        first = np.flatnonzero(pair[step:] == pair[:-step]) if step < len(pair) else np.zeros(0, int)
        if not len(first):
            break
        second = first + step
        items.append(pair[first])
        keys.append(judge[first] * many + judge[second])
        cells.append(choice[first] * values + choice[second])
        step += 1
    none = np.zeros(0, dtype=np.int64)
    return tuple(np.concatenate(part) if part else none for part in (items, keys, cells))  # type: ignore[return-value]
