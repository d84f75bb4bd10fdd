"""Which pair is worth the next vote: one rule a strategy.

A rule gives every two prompts a weight; open pairs are then drawn without replacement in
proportion to the weight of their prompts, shared among the pairs of the same two prompts
(by the Gumbel trick: Yellott 1977; Vieira 2014). Drawing, rather than always taking the
largest, keeps a batch that is chosen at once from asking the same thing many times.

Ratings while votes are few: Bradley-Terry with a weak normal prior on each rating
(standard deviation 2 on the logit scale), so that every prompt has a finite rating and a
variance from the first vote on. The leaderboard's own ratings (`ratings.py`) have no prior.

Two rules ask the reward model about each pair instead: how near its chance is to one half
(uncertainty sampling: Lewis and Gale 1994), and how far several models differ about it (query
by committee: Seung et al. 1992). They draw by lot from the tenth of the open pairs with the
largest value, for the same reason.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PRIOR_SD = 2.0
_NEWTON_STEPS = 30


@dataclass(frozen=True)
class Standing:
    """What the votes so far say of k prompts.

    n: (k, k) how often i and j met, symmetric. t: (k,) ratings on the logit scale.
    spread: (k, k) variance of t_i - t_j. p: (k, k) chance that i beats j.
    """

    n: np.ndarray
    t: np.ndarray
    spread: np.ndarray
    p: np.ndarray


@dataclass(frozen=True)
class OpenPairs:
    """Pairs that want votes: a, b (m,) indices of their prompts, votes (m,) they have."""

    a: np.ndarray
    b: np.ndarray
    votes: np.ndarray


def standing(wins: np.ndarray) -> Standing:
    """From wins (k, k): how often i beat j, a tie counting half to each."""
    n = wins + wins.T
    k = len(wins)
    t = np.zeros(k)
    prior = np.eye(k) / PRIOR_SD**2
    covariance = np.linalg.inv(prior) if k else prior
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(np.clip(t[None, :] - t[:, None], -30, 30)))
        gradient = (wins - n * p).sum(axis=1) - t / PRIOR_SD**2
        weight = n * p * (1 - p)
        covariance = np.linalg.inv(np.diag(weight.sum(axis=1)) - weight + prior)
        step = covariance @ gradient
        t = t + np.clip(step, -2, 2)
        if np.abs(step).max(initial=0) < 1e-8:
            break
    diagonal = np.diag(covariance)
    spread = np.maximum(0, diagonal[:, None] + diagonal[None, :] - 2 * covariance)
    p = 1 / (1 + np.exp(np.clip(t[None, :] - t[:, None], -30, 30)))
    return Standing(n, t, spread, p)


# --- the rules: a weight (k, k) for every two prompts --------------------------------------


def _rating_uncertainty(now: Standing, champion: int | None) -> np.ndarray:
    return now.spread


def _information(now: Standing, champion: int | None) -> np.ndarray:
    """How much the standard error of the two prompts' win rate falls with one more vote
    (Chiang et al. 2024, Chatbot Arena, section 5): sqrt(v / n) - sqrt(v / (n + 1)), where v
    is a vote's variance. Two that never met count as having met half a time."""
    v = now.p * (1 - now.p)
    n = np.maximum(now.n, 0.5)
    return np.sqrt(v / n) - np.sqrt(v / (n + 1))


def _champion(now: Standing, champion: int | None) -> np.ndarray:
    """Only the champion's own pairs, the closer the race and the fewer the votes the sooner;
    pairs of others come when there are no more of these."""
    weight = np.full(now.n.shape, 1e-6)
    if champion is not None:
        weight[champion, :] = weight[:, champion] = _information(now, champion)[champion]
    return weight


def _unsure(chances: np.ndarray) -> np.ndarray:
    return 0.5 - np.abs(chances[:, 0] - 0.5)


def _disagreement(chances: np.ndarray) -> np.ndarray:
    """Standard deviation of the models' chances."""
    return chances.std(axis=1)


@dataclass(frozen=True)
class Strategy:
    """`weigh` is None where the prompts do not matter, but the pairs themselves. `models`: how
    many reward models it needs; then `value` says what a pair is worth, from (m, M) chances
    that a beats b by each of them, the active one first."""

    key: str
    title: str
    about: str
    weigh: Callable[[Standing, int | None], np.ndarray] | None = None
    models: int = 0
    value: Callable[[np.ndarray], np.ndarray] | None = None


STRATEGIES = {
    rule.key: rule
    for rule in (
        Strategy(
            "fewest_votes",
            "Fewest votes first",
            "Every pair gets its first vote before any pair gets its second; otherwise by lot.",
        ),
        Strategy("random", "Random", "By lot among all pairs that want a vote."),
        Strategy(
            "rating_uncertainty",
            "Uncertain ratings",
            "Prompts whose difference in rating is least certain are compared more often.",
            _rating_uncertainty,
        ),
        Strategy(
            "information",
            "Information gain",
            "Prompts for which one more vote narrows the win rate most are compared more often "
            "(Chatbot Arena's rule).",
            _information,
        ),
        Strategy(
            "champion",
            "Champion against challengers",
            "Pairs with the champion come first, close races before clear ones.",
            _champion,
        ),
        Strategy(
            "reward_uncertainty",
            "Uncertain reward model",
            "Pairs come first whose winner the active reward model is least sure of: by lot from the tenth "
            "nearest to 50 %. For the model's sake: the leaderboard is less exact for it.",
            models=1,
            value=_unsure,
        ),
        Strategy(
            "reward_disagreement",
            "Reward models disagree",
            "Pairs come first about which the project's newest reward models (two to five) differ most: by lot "
            "from the tenth with the largest spread. For the model's sake: the leaderboard is less exact for it.",
            models=2,
            value=_disagreement,
        ),
    )
}
DEFAULT = "fewest_votes"

TOP_SHARE = 0.1  # of the open pairs that have a value, from which a row is drawn


def choose_by_value(value: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of up to `count` pairs, in the order they should be asked: by lot from those
    with the largest value (m,); pairs without one (nan) are not chosen."""
    known = np.flatnonzero(~np.isnan(value))
    top = max(min(count, len(known)), int(np.ceil(TOP_SHARE * len(known))))
    tie = rng.random(len(known))
    best = known[np.lexsort((tie, -value[known]))[:top]]
    return rng.permutation(best)[:count]


def choose(
    strategy: str,
    pairs: OpenPairs,
    now: Standing,
    count: int,
    rng: np.random.Generator,
    champion: int | None = None,
) -> np.ndarray:
    """Indices of up to `count` of the open pairs, in the order they should be asked."""
    m = len(pairs.a)
    if m == 0:
        return np.zeros(0, dtype=int)
    rule = STRATEGIES[strategy]
    if rule.key == "fewest_votes":
        score = -pairs.votes + rng.random(m)
    elif rule.weigh is None:
        score = rng.random(m)
    else:
        weight = rule.weigh(now, champion)[pairs.a, pairs.b]
        low, high = np.minimum(pairs.a, pairs.b), np.maximum(pairs.a, pairs.b)
        _, of, alike = np.unique(low * len(now.t) + high, return_inverse=True, return_counts=True)
        score = np.log(np.maximum(weight, 1e-300) / alike[of]) + rng.gumbel(size=m)
    count = min(count, m)
    best = np.argpartition(-score, count - 1)[:count]
    return best[np.argsort(-score[best])]
