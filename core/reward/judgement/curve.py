"""The learning curve: how good a model is by how many pairs it was given, and what more of
them should bring.

A learner is refitted on nested parts of the training pairs, in several orders, and judged each
time on the test split. The fit and its going on are `core.reward.judgement.extrapolate`'s.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from core.reward.judgement.extrapolate import Posterior, covariance, posterior, summary
from core.reward.judgement.figures import figure
from core.reward.judgement.pairs import Judged, Row, agree

Predict = Callable[[Sequence[Row]], np.ndarray]  # rows -> (n,) d, in logits
Fit = Callable[[Sequence[Row], int], Predict]  # training rows, seed

SMALLEST = 20  # training pairs
MIN_PAIRS, MIN_TEST = 40, 20
MORE = (100, 500, 2_000)  # votes
EARLY, LATE = 0.25, 2.0  # of the budget: spent before anything is projected; projected, to give up


def curve_sizes(n: int, count: int) -> list[int]:
    """`count` sizes up to n, each about half of the next, none below SMALLEST."""
    sizes = [n]
    while len(sizes) < count and sizes[0] // 2 >= SMALLEST:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def learning_curve(
    train: Sequence[Row], test: Judged, fit: Fit, *, learner: str, sizes: int, orders: int, seed: int = 0,
    n_train: int | None = None, budget_s: float = float("inf"), give_up: bool = False,
    tell: Callable[[float], None] = lambda share: None, stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | None:  # fmt: skip
    """`n_train`: how many training pairs the model had, where `train` is only some of them.
    None where there are too few pairs, where somebody asked to stop before two orders were
    whole, or, with `give_up`, where these would take far longer than `budget_s`. See `core.reward.judgement` for what is answered."""
    plan = curve_sizes(len(train), sizes)
    least = 2 * sum(plan)  # pairs that two whole orders are fitted on
    done = 0
    if len(train) < MIN_PAIRS or len(plan) < 2 or test.decided.sum() < MIN_TEST:
        return None
    started = time.monotonic()
    found: list[list[np.ndarray]] = []
    for order in range(orders):
        line = []
        shuffled = np.random.default_rng([seed, 17, order]).permutation(len(train))
        for number, size in enumerate(plan):
            late = len(found) >= 2 and time.monotonic() - started > budget_s
            if late or stop():
                break
            line.append(fit([train[i] for i in shuffled[:size]], seed + order)(test.rows))
            done += size
            # A learner too slow for even two orders is known after its first fits.
            spent = time.monotonic() - started
            if (
                give_up
                and done < least
                and spent > EARLY * budget_s
                and spent * least / done > LATE * budget_s
            ):
                return None
            tell((order + (number + 1) / len(plan)) / orders)
        if len(line) < len(plan):
            break
        found.append(line)
    if len(found) < 2:
        return None
    return judged_curve(
        np.array(found), np.array(plan, dtype=float), train, test, learner, n_train or len(train)
    )


def judged_curve(
    d: np.ndarray, sizes: np.ndarray, train: Sequence[Row], test: Judged, learner: str, n_train: int
) -> dict[str, Any]:
    orders = len(d)
    a_pair = float(np.mean([row.get("n") or 1 for row in train])) or 1.0
    decided = test.decided
    q = test.q
    wrong = 1 - np.array([[agree(one, q)[decided] for one in line] for line in d])  # (S, k, decided)
    loss = q * np.logaddexp(0, -d) + (1 - q) * np.logaddexp(0, d)  # (S, k, n)
    parts = {}
    covs = {}
    for name, outcomes, place in (("accuracy", wrong, test.place[decided]), ("log_loss", loss, test.place)):
        cov = covariance(outcomes, sizes, place)
        covs[name] = cov
        parts[name] = continued(
            posterior(outcomes.mean((0, 2)), cov, sizes), name, sizes, n_train, a_pair, outcomes.shape[2]
        )
    points = []
    for j, size in enumerate(sizes):
        row: dict[str, Any] = {"pairs": int(size), "votes": round(size * a_pair), "fits": orders}
        for name, mean, n in (
            ("accuracy", 1 - wrong[:, j].mean(), wrong.shape[2]),
            ("log_loss", loss[:, j].mean(), len(q)),
        ):
            half = 1.959964 * float(np.sqrt(covs[name][j, j]))
            row[name] = figure(mean, mean - half, mean + half, n)
        points.append(row)
    return {"learner": learner, "unit_votes": a_pair, "points": points, **parts}


def continued(
    of: Posterior, name: str, sizes: np.ndarray, n_train: int, a_pair: float, n: int
) -> dict[str, Any]:
    """The fitted curve, to four times what there is, and what more votes should bring."""

    def shown(draws: np.ndarray) -> np.ndarray:
        return 1 - draws if name == "accuracy" else draws

    grid = np.unique(np.geomspace(sizes[0], 4 * n_train, 25).round())
    fit = []
    for size in grid:
        at = summary(shown(of.error(size)), n)
        fit.append(
            {
                "pairs": int(size),
                "votes": round(size * a_pair),
                **{k: at[k] for k in ("value", "low", "high")},
            }
        )
    more = []
    for votes in MORE:
        pairs = votes / a_pair
        if pairs <= 4 * n_train:  # beyond, the form of the curve would decide and not the data
            more.append({"votes": votes, "pairs": round(pairs), "gain": summary(of.gain(n_train, pairs), n)})
    return {"fit": fit, "more": more, "message": message(name, more)}


def message(name: str, more: list[dict[str, Any]]) -> str:
    chosen = next((row for row in more if row["votes"] == 500), more[-1] if more else None)
    if chosen is None:
        return "There are too few training pairs to say what more votes would bring."
    gain, votes = chosen["gain"], chosen["votes"]
    if name == "accuracy":
        value, low, high = (100 * gain[key] for key in ("value", "low", "high"))
        return f"{votes:,} more votes should bring {value:+.1f} points of accuracy ({low:.1f} to {high:.1f})."
    value, low, high = (gain[key] for key in ("value", "low", "high"))
    return f"{votes:,} more votes should take {value:.3f} off the log-loss ({low:.3f} to {high:.3f})."
