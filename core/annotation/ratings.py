"""Bradley-Terry ratings of items from counts of comparisons, with intervals.

P(a beats b) = sigmoid(t_a - t_b); a tie counts half to each side (Bradley and Terry
1952; the point estimate is `evalica`'s, by Newman's iteration, JMLR 24, 2023). A rating
is 1000 + 400/ln 10 * t, with t centred on 0 within each group of items that met.

Interval: the sandwich variance H^-1 G H^-1, with H the information and G the sum of
squared scores, once over single votes and once over pairs (votes on one pair hang
together); the wider counts. Rank: 1 + how many items of the group have a lower bound
above this one's upper bound (Chatbot Arena).

What may be missing, and is answered rather than hidden:
- Items that never met, not even through others, cannot be compared: each connected group
  is rated on its own.
- An item that won (or lost) everything has no finite rating. Then every two items of its
  group that met get one more tie, and the plain information sets the interval.
"""

import warnings
from dataclasses import dataclass

import evalica
import numpy as np
from evalica import Winner
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

SCALE = 400 / np.log(10)
Z = 1.959964


@dataclass(frozen=True)
class Ratings:
    """For n items. rating, low, high: (n,); rank: (n,) within its group; group: (n,)
    numbers from 0, the largest group first; smoothed: (n,) True where ties were added."""

    rating: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rank: np.ndarray
    group: np.ndarray
    smoothed: np.ndarray


def bradley_terry(a: np.ndarray, b: np.ndarray, counts: np.ndarray, n: int) -> Ratings:
    """Rate n items.

    a, b: (pairs,) item indices, a != b. counts: (pairs, 3) votes for a, for b, ties, on
    one pair each; several rows may compare the same two items.
    """
    group = _groups(a, b, n)
    t, variance, smoothed = np.zeros(n), np.zeros(n), np.zeros(n, dtype=bool)
    for number in range(group.max(initial=-1) + 1):
        members = np.flatnonzero(group == number)
        if len(members) < 2:
            continue
        position = np.full(n, -1)
        position[members] = np.arange(len(members))
        rows = group[a] == number
        t[members], variance[members], smoothed[members] = _one_group(
            position[a[rows]], position[b[rows]], counts[rows].astype(float), len(members)
        )
    rating = 1000 + SCALE * t
    half = Z * SCALE * np.sqrt(variance)
    low, high = rating - half, rating + half
    same = group[:, None] == group[None, :]
    rank = 1 + (same & (low[None, :] > high[:, None])).sum(axis=1)
    return Ratings(rating, low, high, rank, group, smoothed)


def _one_group(
    a: np.ndarray, b: np.ndarray, counts: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """t (k,) centred, its variance (k,), and whether ties were added."""
    edges, edge_of = np.unique(
        np.column_stack([np.minimum(a, b), np.maximum(a, b)]), axis=0, return_inverse=True
    )
    edge_of = edge_of.reshape(-1)
    flipped = a > b
    ordered = counts.copy()
    ordered[flipped, 0], ordered[flipped, 1] = counts[flipped, 1], counts[flipped, 0]
    sums = np.zeros((len(edges), 3))
    np.add.at(sums, edge_of, ordered)
    smoothed = not _has_finite_ratings(edges, sums, k)
    if smoothed:
        sums[:, 2] += 1
    t = _fit(edges, sums, k)

    x, y = edges.T
    p = 1 / (1 + np.exp(t[y] - t[x]))  # P(x beats y), per two items that met
    information = _laplacian(x, y, sums.sum(axis=1) * p * (1 - p), k)
    inverse = _pseudo_inverse(information)
    # Squared scores. The score of a vote is (outcome - p)(e_x - e_y): of single votes ...
    single = sums[:, 0] * (1 - p) ** 2 + sums[:, 1] * p**2 + sums[:, 2] * (0.5 - p) ** 2
    # ... and of all votes on one pair together.
    pe = p[edge_of]
    together = ordered[:, 0] * (1 - pe) - ordered[:, 1] * pe + ordered[:, 2] * (0.5 - pe)
    clustered = np.zeros(len(edges))
    np.add.at(clustered, edge_of, together**2)
    variances = [np.diag(inverse @ _laplacian(x, y, squares, k) @ inverse) for squares in (single, clustered)]
    if smoothed:
        variances.append(np.diag(inverse))
    return t, np.max(variances, axis=0), smoothed


def _fit(edges: np.ndarray, sums: np.ndarray, k: int) -> np.ndarray:
    """Maximum likelihood by evalica from (x, y) counts; t (k,), centred."""
    x, y = edges.T
    winners = [Winner.X] * len(edges) + [Winner.Y] * len(edges) + [Winner.Draw] * len(edges)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = evalica.bradley_terry(
            np.tile(x, 3).tolist(),
            np.tile(y, 3).tolist(),
            winners,
            index=evalica.pd.Index(range(k)),
            weights=sums.T.reshape(-1).tolist(),
            tolerance=1e-10,
            limit=100_000,
        )
    t = np.log(result.scores.reindex(range(k)).to_numpy(dtype=float))
    return t - t.mean()


def _has_finite_ratings(edges: np.ndarray, sums: np.ndarray, k: int) -> bool:
    """Whether every item can be reached from every other along "did not always lose to"
    (Ford 1957): only then does the likelihood have a finite maximum."""
    x, y = edges.T
    won = sums[:, 0] + sums[:, 2] / 2 > 0
    lost = sums[:, 1] + sums[:, 2] / 2 > 0
    start, end = np.concatenate([x[won], y[lost]]), np.concatenate([y[won], x[lost]])
    graph = csr_matrix((np.ones(len(start)), (start, end)), shape=(k, k))
    return bool(connected_components(graph, directed=True, connection="strong")[0] == 1)


def _groups(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """(n,) the connected group of each item, numbered from the largest."""
    graph = csr_matrix((np.ones(len(a)), (a, b)), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    sizes = np.bincount(label, minlength=1)
    order = np.argsort(-sizes, kind="stable")
    number = np.empty(len(order), dtype=int)
    number[order] = np.arange(len(order))
    return number[label] if n else label


def _pseudo_inverse(laplacian: np.ndarray) -> np.ndarray:
    """Of a Laplacian of one connected group, (k, k). Its only null vector is the constant
    one; a general pseudo-inverse has to guess from a tiny eigenvalue, and with a million
    votes guesses wrong."""
    k = len(laplacian)
    level = np.trace(laplacian) / k
    constant = np.full((k, k), 1 / k)
    return np.asarray(np.linalg.inv(laplacian + level * constant) - constant / level)


def _laplacian(x: np.ndarray, y: np.ndarray, weight: np.ndarray, k: int) -> np.ndarray:
    """sum of weight * (e_x - e_y)(e_x - e_y)^T, (k, k)."""
    matrix = np.zeros((k, k))
    np.add.at(matrix, (x, x), weight)
    np.add.at(matrix, (y, y), weight)
    np.add.at(matrix, (x, y), -weight)
    np.add.at(matrix, (y, x), -weight)
    return matrix
