"""Topics of the inputs: k-means on embeddings, each cluster named by its most typical words.

k-means++ and Lloyd's iterations are scipy's. How many clusters: the fewest, from 2 to MOST,
whose simplified silhouette comes within a tenth of the best one's (Hruschka and Covões 2005;
Vendramin et al. 2010, section 2: inputs are compared with the centres instead of with every
other input). Names: class-based
TF-IDF (Grootendorst 2022, arXiv 2203.05794, eq. 1): a word is typical of a cluster where it is
frequent in it, against its mean frequency in all of them.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.cluster.vq import kmeans2

MOST = 8
A_CLUSTER = 12  # inputs a cluster should have at least, on average
SEEDS = 3
NEARLY = 0.9
_WORD = re.compile(r"[^\W\d_][\w'’-]+")
_COMMON_WORDS = """
a about after all also am an and any are as ask assistant at be because been but by can could did
do does doing don't for from get give go had has have having he her him his how human i i'd i'll
i'm i've if in into is isn't it it's its just know like make me more most my need no not now of off
on one only or other our out over please say she should so some such tell than that that's the
their them then there these they thing things think this those to too up us use user very want was
way we well were what what's when where which while who whom whose why will with without would yes
you you're your
"""
_COMMON = frozenset(_COMMON_WORDS.split())


def simplified_silhouette(points: np.ndarray, centres: np.ndarray, place: np.ndarray) -> float:
    """Mean over points of (b - a) / max(a, b), a and b the distances to the own and to the
    nearest other centre. points (n, f), centres (k, f), place (n,)."""
    apart = np.sqrt(np.maximum(0, ((points[:, None, :] - centres[None]) ** 2).sum(2)))  # (n, k)
    own = apart[np.arange(len(points)), place]
    apart[np.arange(len(points)), place] = np.inf
    other = apart.min(1)
    return float(np.mean((other - own) / np.maximum(np.maximum(own, other), 1e-12)))


def cluster(embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n,) the cluster of each input, largest first; all 0 where there are too few to split."""
    n = len(embeddings)
    most = min(MOST, n // A_CLUSTER)
    points = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    found: list[tuple[float, np.ndarray]] = []  # the best of each k
    for k in range(2, most + 1):
        of_k = []
        for again in range(SEEDS):
            centres, place = kmeans2(points, k, minit="++", rng=np.random.default_rng([seed, k, again]))
            if np.bincount(place, minlength=k).min() >= max(2, A_CLUSTER // 3):
                of_k.append((simplified_silhouette(points, centres, place), place))
        if of_k:
            found.append(max(of_k, key=lambda item: item[0]))
    enough = NEARLY * max((value for value, _ in found), default=0.0)
    chosen = next((place for value, place in found if value >= enough), np.zeros(n, dtype=int))
    order = np.argsort(-np.bincount(chosen), kind="stable")
    return np.argsort(order)[chosen]


def typical_words(texts: Sequence[str], place: np.ndarray, count: int = 4) -> list[list[str]]:
    """For each cluster its most typical words, best first; a word counts once in an input."""
    sizes = np.bincount(place)
    inside = [Counter[str]() for _ in sizes]
    for text, at in zip(texts, place, strict=True):
        inside[at].update({word for word in _WORD.findall(text.lower()) if word not in _COMMON})
    everywhere = sum(inside, Counter[str]())
    mean = sum(everywhere.values()) / max(1, len(inside))
    names = []
    for words, size in zip(inside, sizes, strict=True):
        weight = {
            word: (many / size) * np.log(1 + mean / everywhere[word])
            for word, many in words.items()
            if many > 1 or size < A_CLUSTER
        }
        # Equal weights: alphabetically, so that a name is the same every time.
        names.append(sorted(weight, key=lambda word: (-weight[word], word))[:count])
    return names


def named(words: list[list[str]]) -> list[str]:
    """One name a cluster, no two the same."""
    names: list[str] = []
    for i, of in enumerate(words, 1):
        name = ", ".join(of) or f"topic {i}"
        names.append(name if name not in names else f"{name} ({i})")
    return names
