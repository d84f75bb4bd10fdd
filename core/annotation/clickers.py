"""Who votes as if at random: a sequential test with a known false-alarm rate.

After Chiang et al. 2024 ("Chatbot Arena", arXiv 2403.04132, section 5, on anomalous users): each vote gets
a p-value by its rank among the votes of others in the same situation, p-values are combined
by Fisher's method, and the sum is looked at five times drawn at random, each at a fifth of
the level. Taken from there, and changed where pairs have few votes:

- A vote is the more unusual, the fewer of the other votes on its pair it agrees with. Others
  in the same situation: votes on the same two prompts with as many other votes on the pair
  (on any two prompts, where those are fewer than MIN_ALIKE). If the annotator judges like
  the others, its rank among them is uniform, whatever the prompts are.
- Ranks have many ties, of which p-values would make nothing (two votes on a pair either agree
  or do not). So each vote counts with the mean of -2 ln p over its ranks (Lancaster 1949,
  Biometrika 36:370): the sum has the mean of Fisher's chi-squared and less variance, so
  there are fewer false alarms than the level says, never more.
- The five looks are spread over the first 1,000 votes (LOOKS), not over 100.

An alarm says that somebody agrees with the others less than these agree with each other.
`suspected` are those of them whose agreement is not above what clicking by their own habits
(so often left, so often tie) would give.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincc

LEVEL = 0.01
LOOKS = ((5, 20), (21, 50), (51, 100), (101, 250), (251, 1000))
MIN_ALIKE = 100
Z = 1.959964


@dataclass(frozen=True)
class Found:
    """For J annotators. p: the smallest p-value of the looks taken, times five, at most 1;
    alarm: p is below the level. looked: votes at the last look. agreed: mean share of the
    others' votes on the same pairs that are the same; guessing: what clicking by their own
    habits would give; gain_low, gain_high: 95 % interval of the difference; compared: votes
    that could be compared."""

    p: np.ndarray
    alarm: np.ndarray
    suspected: np.ndarray
    looked: np.ndarray
    agreed: np.ndarray
    guessing: np.ndarray
    gain_low: np.ndarray
    gain_high: np.ndarray
    compared: np.ndarray


def find(
    pair: np.ndarray, judge: np.ndarray, choice: np.ndarray, a_left: np.ndarray, at: np.ndarray,
    meeting: np.ndarray, names: list[str], level: float = LEVEL,
) -> Found:  # fmt: skip
    """pair, judge, choice (0 a, 1 b, 2 tie, 3 both bad), a_left (1, 0, -1 unknown), at
    (time): (V,), one vote each. meeting: (P,) a number for the two prompts of a pair. names:
    of the J annotators, from which their looks are drawn."""
    pairs, judges = len(meeting), len(names)
    counts = np.bincount(pair * 4 + choice, minlength=pairs * 4).reshape(-1, 4)
    others = counts.sum(1)[pair] - 1
    kept = others > 0
    pair, judge, choice, a_left, at, others = (x[kept] for x in (pair, judge, choice, a_left, at, others))
    same = counts[pair, choice] - 1
    value = _values(judge, _situations(meeting[pair], others), np.round(same / others, 6), judges)
    p, looked = _looks(judge, at, value, names)
    agreed, guessing, half, n = _against_guessing(pair, judge, choice, a_left, counts, same / others, judges)
    gain = agreed - guessing
    alarm = p < level
    return Found(
        p, alarm, alarm & (gain - half <= 0), looked, agreed, guessing, gain - half, gain + half, n
    )  # fmt: skip


def _situations(meeting: np.ndarray, others: np.ndarray) -> np.ndarray:
    """A number for each situation: the two prompts and the other votes, or, where that is
    rare, the other votes alone."""
    many = int(others.max(initial=0)) + 1
    fine = meeting * many + others
    _, place, size = np.unique(fine, return_inverse=True, return_counts=True)
    return np.where(size[place] >= MIN_ALIKE, many + fine, others)


def _values(judge: np.ndarray, situation: np.ndarray, score: np.ndarray, judges: int) -> np.ndarray:
    """(V,) Lancaster's value of each vote: the mean of -2 ln p over the ranks that votes with
    its score share, among its own and all votes of others in the situation. Low scores are
    unusual."""
    if not len(judge):
        return np.zeros(0)
    levels, level = np.unique(score, return_inverse=True)
    _, situation = np.unique(situation, return_inverse=True)
    wide = len(levels)
    cell = situation * wide + level
    size = (int(situation.max(initial=-1)) + 1) * wide
    all_at = np.bincount(cell, minlength=size).reshape(-1, wide)
    all_upto = np.cumsum(all_at, axis=1)
    key = judge.astype(np.int64) * size + cell
    mine, place, own_at = np.unique(key, return_inverse=True, return_counts=True)
    # How many of one's own votes in the situation have a lower score, and how many it has in all.
    block = mine // wide
    upto = np.cumsum(own_at)
    first = np.searchsorted(block, block, side="left")
    last = np.searchsorted(block, block, side="right")
    before = np.where(first > 0, upto[first - 1], 0)
    own_below, own_all = upto - own_at - before, upto[last - 1] - before
    there = mine % size
    s, k = there // wide, there % wide
    total = all_upto[s, -1] - own_all + 1  # the others, and this vote
    below = all_upto[s, k] - all_at[s, k] - own_below
    alike = all_at[s, k] - own_at + 1
    low, high = below / total, (below + alike) / total
    return np.asarray((2 - 2 * (_xlogx(high) - _xlogx(low)) / (high - low))[place])


def _xlogx(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x * np.log(np.maximum(x, 1e-300)), 0.0)


def _looks(
    judge: np.ndarray, at: np.ndarray, value: np.ndarray, names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """(J,) adjusted p-values, and votes at the last look."""
    order = np.lexsort((at, judge))
    starts = np.searchsorted(judge[order], np.arange(len(names) + 1))
    p, looked = np.ones(len(names)), np.zeros(len(names), dtype=int)
    for j, name in enumerate(names):
        sums = np.cumsum(value[order[starts[j] : starts[j + 1]]][: LOOKS[-1][1]])
        taken = [look for look in looks_of(name) if look <= len(sums)]
        if taken:
            # Chi-squared with 2n degrees above x is the upper incomplete gamma function of n, x/2.
            p[j] = min(1.0, len(LOOKS) * min(float(gammaincc(n, sums[n - 1] / 2)) for n in taken))
            looked[j] = taken[-1]
    return p, looked


def looks_of(name: str) -> list[int]:
    """The numbers of votes after which this annotator is looked at: drawn from the name, so
    that they are the same every time and nobody can vote around them."""
    digest = hashlib.sha256(name.encode()).digest()
    return [
        first + int.from_bytes(digest[4 * i : 4 * i + 4], "big") % (last - first + 1)
        for i, (first, last) in enumerate(LOOKS)
    ]


def _against_guessing(
    pair: np.ndarray, judge: np.ndarray, choice: np.ndarray, a_left: np.ndarray, counts: np.ndarray,
    share: np.ndarray, judges: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """(J,) mean agreement, the mean that choosing by one's own habits would give, the half
    width of the difference's interval, and n."""
    n = np.bincount(judge, minlength=judges)
    side = np.where(choice < 2, np.where(a_left == 1, choice, 1 - choice), choice)
    sided = (choice >= 2) | (a_left >= 0)
    habit = np.bincount(judge * 4 + side, sided, judges * 4).reshape(judges, 4).astype(float)
    habit[:, :2] += np.bincount(judge, ~sided, judges)[:, None] / 2
    habit = habit / np.maximum(1, n)[:, None]
    rest = counts[pair].astype(float)
    rest[np.arange(len(choice)), choice] -= 1
    rest /= rest.sum(1, keepdims=True)
    left = np.where(a_left < 0, (rest[:, 0] + rest[:, 1]) / 2, np.where(a_left == 1, rest[:, 0], rest[:, 1]))
    right = np.where(a_left < 0, (rest[:, 0] + rest[:, 1]) / 2, np.where(a_left == 1, rest[:, 1], rest[:, 0]))
    h = habit[judge]
    expected = h[:, 0] * left + h[:, 1] * right + h[:, 2] * rest[:, 2] + h[:, 3] * rest[:, 3]
    gain = share - expected
    some = np.maximum(1, n)
    mean = np.bincount(judge, gain, judges) / some
    square = np.bincount(judge, gain**2, judges) / some - mean**2
    half = Z * np.sqrt(np.maximum(square, 0) / np.maximum(1, n - 1))
    half = np.where(n > 1, half, 1.0)
    agreed = np.bincount(judge, share, judges) / some
    return agreed, agreed - mean, half, n
