"""How well annotators judge, where nobody knows the truth: Dawid-Skene and MACE.

Both take each pair to have a true answer (a, b, tie, both bad) and find, by expectation
maximisation, the truth and the annotators together. Written here and not taken from a
library: crowd-kit, which has both, would bring scikit-learn, nltk and transformers into the
web process, and knows neither of these two:
- which response is called a means nothing, so the model must be the same when a and b
  change places (`SWAP`);
- somebody who does not look clicks on a side, not on "a".

Only pairs with two votes and more take part: a single vote would be its own witness.
"""

from dataclasses import dataclass

import numpy as np

CHOICES = 4  # a, b, tie, both bad, as in `storage.ballots`
SWAP = (1, 0, 2, 3)
Z = 1.959964


@dataclass(frozen=True)
class DawidSkene:
    """truth: (P, 4) posterior of each pair (uniform where it took no part). confusion:
    (J, 4, 4) what an annotator says (last) given the truth. accuracy: (J,) the chance of
    saying the truth, over the true answers as they occur. n: (J,) votes that took part."""

    truth: np.ndarray
    confusion: np.ndarray
    accuracy: np.ndarray
    n: np.ndarray


def dawid_skene(
    pair: np.ndarray, judge: np.ndarray, choice: np.ndarray, pairs: int, judges: int, *,
    smoothing: float = 1.0, most: int = 50, tolerance: float = 1e-3,
) -> DawidSkene:  # fmt: skip
    """Dawid and Skene 1979 (Applied Statistics 28:20). pair, judge, choice: (V,) integers.
    `smoothing`: votes as everybody's, added to each row of an annotator's confusion, so that
    few votes do not make a sure verdict."""
    shared = np.bincount(pair, minlength=pairs)[pair] > 1
    pair, judge, choice = pair[shared], judge[shared], choice[shared]
    n = np.bincount(judge, minlength=judges)
    counts = np.bincount(pair * CHOICES + choice, minlength=pairs * CHOICES).reshape(pairs, CHOICES)
    voted = counts.sum(1) > 0
    truth = np.where(voted[:, None], counts / np.maximum(1, counts.sum(1, keepdims=True)), 1 / CHOICES)
    cell = judge * CHOICES + choice
    confusion = np.full((judges, CHOICES, CHOICES), 1 / CHOICES)
    prior = np.full(CHOICES, 1 / CHOICES)
    for _ in range(most if len(pair) else 0):
        prior = truth[voted].mean(0)
        prior = (prior + prior[list(SWAP)]) / 2
        said: np.ndarray = np.stack(
            [
                np.bincount(cell, truth[pair, k], judges * CHOICES).reshape(judges, CHOICES)
                for k in range(CHOICES)
            ],
            axis=1,
        )  # (J, truth, said)
        said = (said + said[:, SWAP][:, :, SWAP]) / 2
        every = said.sum(0) + 0.1 * np.eye(CHOICES) + 1e-3
        said = said + smoothing * every / every.sum(1, keepdims=True)
        confusion = said / said.sum(2, keepdims=True)
        before, truth = (
            truth,
            _posterior(np.log(confusion), np.log(prior + 1e-12), pair, judge, choice, pairs),
        )
        truth[~voted] = 1 / CHOICES
        if np.abs(truth - before).max() < tolerance:
            break
    accuracy = np.einsum("k,jkk->j", prior, confusion)
    return DawidSkene(truth, confusion, accuracy, n)


def _posterior(
    log_confusion: np.ndarray, log_prior: np.ndarray, pair: np.ndarray, judge: np.ndarray, choice: np.ndarray,
    pairs: int,
) -> np.ndarray:  # fmt: skip
    log = np.stack(
        [np.bincount(pair, log_confusion[judge, k, choice], pairs) for k in range(CHOICES)], axis=1
    )
    log = log + log_prior
    log -= log.max(1, keepdims=True)
    truth = np.exp(log)
    return np.asarray(truth / truth.sum(1, keepdims=True))


@dataclass(frozen=True)
class Mace:
    """competence: (J,) the share of an annotator's votes that they judged and did not guess,
    with its 95 % interval; habit: (J, 4) what a guess falls on: left, right, tie, both bad.
    truth: (P, 4). n: (J,) votes that took part."""

    competence: np.ndarray
    low: np.ndarray
    high: np.ndarray
    habit: np.ndarray
    truth: np.ndarray
    n: np.ndarray


def mace(
    pair: np.ndarray, judge: np.ndarray, choice: np.ndarray, a_left: np.ndarray, pairs: int, judges: int, *,
    prior: tuple[float, float] = (2.0, 2.0), most: int = 100, tolerance: float = 1e-4,
) -> Mace:  # fmt: skip
    """MACE (Hovy, Berg-Kirkpatrick, Vaswani, Hovy 2013, NAACL, section 2): a vote is the
    truth with probability competence, else drawn from the annotator's habit, here over sides
    where they are known. How often each answer is the true one is estimated too (MACE takes
    it as uniform, and would hold it against annotators that hardly any pair is both bad).
    Maximum a posteriori: a Beta(`prior`) on competence, one more vote
    of each kind in the habits.

    a_left: (V,) 1, 0, or -1 where sides are not known. Interval: from the curvature of each
    annotator's own likelihood, the truth of a pair taken from the other votes on it.
    """
    shared = np.bincount(pair, minlength=pairs)[pair] > 1
    pair, judge, choice, a_left = pair[shared], judge[shared], choice[shared], a_left[shared]
    n = np.bincount(judge, minlength=judges)
    side = np.where(choice < 2, np.where(a_left == 1, choice, 1 - choice), choice)
    sided = (choice >= 2) | (a_left >= 0)
    competence = np.full(judges, 0.6)
    habit = np.full((judges, CHOICES), 1 / CHOICES)
    truth: np.ndarray = np.full((pairs, CHOICES), 1 / CHOICES)
    alpha, beta = prior
    guessed = np.zeros(len(pair))
    often = np.full(CHOICES, 1 / CHOICES)  # how often each answer is the true one
    voted = np.bincount(pair, minlength=pairs) > 0
    answer = pair * CHOICES + choice
    click = judge * CHOICES + side
    for _ in range(most if len(pair) else 0):
        guess = np.where(sided, habit[judge, side], habit[judge, :2].mean(1))
        guessed = (1 - competence[judge]) * guess  # chance of this vote by guessing
        # log of: competence + guessed for the answer it names, guessed for the others.
        named = np.log1p(competence[judge] / guessed)
        log = np.bincount(answer, named, pairs * CHOICES).reshape(pairs, CHOICES) + np.log(often)
        log -= log.max(1, keepdims=True)
        truth = np.exp(log)
        truth /= truth.sum(1, keepdims=True)
        often = truth[voted].mean(0) + 1e-4
        often = (often + often[list(SWAP)]) / 2 / often.sum()
        looked = truth.reshape(-1)[answer] * competence[judge] / (competence[judge] + guessed)
        before = competence
        competence = (np.bincount(judge, looked, judges) + alpha - 1) / (n + alpha + beta - 2)
        clicks: np.ndarray = np.bincount(click, (1 - looked) * sided, judges * CHOICES)
        # Of unknown sides, half a guess to each.
        blind = np.bincount(judge, (1 - looked) * ~sided, judges) / 2
        clicks = clicks.reshape(judges, CHOICES) + 1.0
        clicks[:, :2] += blind[:, None]
        habit = clicks / clicks.sum(1, keepdims=True)
        if np.abs(competence - before).max() < tolerance:
            break
    competence = np.where(n > 0, competence, (alpha - 1) / (alpha + beta - 2))
    low, high = _interval(pair, judge, choice, competence, guessed, truth, judges, prior)
    return Mace(competence, low, high, habit, truth, n)


def _interval(
    pair: np.ndarray, judge: np.ndarray, choice: np.ndarray, competence: np.ndarray, guessed: np.ndarray,
    truth: np.ndarray, judges: int, prior: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """On the logit scale, from the curvature of sum log(c t + (1 - c) g) and of the prior."""
    c = competence[judge]
    guess = guessed / np.maximum(1e-9, 1 - c)
    # The truth by the others: without this vote's own factor.
    own = c + guessed
    there = truth[pair, choice]
    others = (there / own) / (there / own + (1 - there) / np.maximum(1e-12, guessed))
    slope = (others - guess) / np.maximum(1e-9, c * others + (1 - c) * guess)
    curvature = np.bincount(judge, slope**2, judges)
    alpha, beta = prior
    k = np.clip(competence, 1e-3, 1 - 1e-3)
    curvature = curvature + (alpha - 1) / k**2 + (beta - 1) / (1 - k) ** 2
    half = Z / np.sqrt(np.maximum(curvature, 1e-9)) / (k * (1 - k))
    logit = np.log(k / (1 - k))
    return 1 / (1 + np.exp(-(logit - half))), 1 / (1 + np.exp(-(logit + half)))
