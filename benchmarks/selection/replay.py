"""One strategy, one seed: which pairs it asks for, and what is known after so many votes."""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from benchmarks.selection.head import Heads
from benchmarks.selection.worlds import World
from core.annotation.selection import STRATEGIES, OpenPairs, Standing, choose, choose_by_value, standing
from core.reward.metrics import accuracy, log_loss
from core.reward.scores import Scores
from core.reward.scoring import SCORED_PAIRS

BATCH = 50  # votes between two rankings of the open pairs
ENSEMBLE = 5
ELO = 400 / np.log(10)
MEASURES = ("ratings_elo", "win_matrix_points", "reward_log_loss", "reward_accuracy_points")


def replay(strategy: str, world: World, seed: int, at: Sequence[float], ridge: float) -> np.ndarray:
    """(shares, MEASURES) at each share of all votes in `at`; those of the reward model are nan
    where nothing is held out. Votes on a pair come in an order drawn by the seed. The champion
    of that strategy is the best in truth."""
    rng = np.random.default_rng([seed, sum(map(ord, strategy))])
    order = np.random.default_rng(seed)
    waiting = [list(order.permutation(of)) for of in world.votes]
    k, given = len(world.truth_t), np.zeros(len(world.a), dtype=int)
    left = np.array([len(of) for of in waiting])
    wins = np.zeros((k, k))
    rule = STRATEGIES[strategy]
    members = 1 if rule.models <= 1 else ENSEMBLE
    heads = Heads(world.features, world.row_a, world.row_b, ridge, members, seed)
    champion = int(np.argmax(world.truth_t))
    done, marks, found = 0, [round(share * world.total) for share in at], []
    while marks:
        if rule.models or (world.held and done >= marks[0]):
            heads.fit()
        now = standing(wins)
        while marks and done >= marks[0]:
            found.append((*board_errors(now, world), *reward_measures(heads, world)))
            marks.pop(0)
        if not marks:
            break
        wanted = min(BATCH, marks[0] - done)
        open_ = np.flatnonzero(left)
        if rule.value is not None:
            picked = by_reward(heads, world, open_, given, strategy, wanted, rng)
        else:
            pairs = OpenPairs(world.a[open_], world.b[open_], given[open_])
            picked = open_[choose(strategy, pairs, now, wanted, rng, champion)]
        scores = np.array([waiting[i].pop() for i in picked])
        left[picked] -= 1
        given[picked] += 1
        done += len(picked)
        np.add.at(wins, (world.a[picked], world.b[picked]), scores)
        np.add.at(wins, (world.b[picked], world.a[picked]), 1 - scores)
        heads.see(picked, scores)
    return np.array(found)


def by_reward(
    heads: Heads, world: World, open_: np.ndarray, given: np.ndarray, strategy: str, wanted: int,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """As the front row does it (`core.annotation.front`): the open pairs with the fewest votes
    are scored, and the strategy's value decides among them."""
    value = STRATEGIES[strategy].value
    assert value is not None
    fewest = np.lexsort((rng.random(len(open_)), given[open_]))[:SCORED_PAIRS]
    pool = open_[fewest]
    names = tuple(str(i) for i in range(len(heads.weights)))
    logits = heads.logits()
    unknown = np.full(len(logits), "")
    scores = Scores(
        run_id="", models=names, names=names, place={str(row): row for row in range(len(logits))},
        logits=logits, scores=logits, spreads=np.full(logits.shape, np.nan), members=(1,) * len(names),
        prompt=unknown, example=unknown, split=unknown,
    )  # fmt: skip
    chances = scores.chances([str(row) for row in world.row_a[pool]], [str(row) for row in world.row_b[pool]])
    return pool[choose_by_value(value(chances), wanted, rng)]


def board_errors(now: Standing, world: World) -> tuple[float, float]:
    """Root mean square errors of the ratings (Elo points, centred) and of the chances to win
    (points of 100)."""
    t = now.t - now.t.mean()
    off = ~np.eye(len(t), dtype=bool)
    return (
        ELO * sqrt(((t - world.truth_t) ** 2).mean()),
        100 * sqrt(((now.p - world.truth_p)[off] ** 2).mean()),
    )


def reward_measures(heads: Heads, world: World) -> tuple[float, float]:
    """Log-loss (nats) and accuracy (points of 100) on the held-out pairs, of the first head."""
    if world.held is None:
        return np.nan, np.nan
    logits = heads.logits()[:, 0]
    d = logits[world.held.a] - logits[world.held.b]
    right = accuracy(d, world.held.q)["accuracy"]
    return log_loss(d, world.held.q), 100 * right
