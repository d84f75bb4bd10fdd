"""Which texts say nearly the same. A model that saw one of them in training and is judged on
the other looks better than it is, so they belong into one split.

Exact, not by hashing: every two texts whose similarity reaches the threshold are found.

- A text is lower-cased, punctuation and spacing are taken out, and it becomes the set of its
  words and of its pairs of neighbouring words.
- The similarity of two texts is the Jaccard index of their sets: what both have, over what
  either has. From THRESHOLD on they are near-duplicates: a text of ten words with one of
  them replaced is one (.73), a text of six words with its last one replaced is not (.69).
- What stands in more than one text in twenty (and in more than 20) is a template's, and says
  nothing about which examples are alike; it is left out of the sets, unless nothing else is
  in them.
- Two sets of such a similarity share one of their rarest members (prefix filtering:
  Chaudhuri, Ganti, Kaushik 2006, ICDE; Bayardo, Ma, Srikant 2007, WWW, section 4): only
  texts that do are compared at all.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import ceil

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

THRESHOLD = 0.7
COMMON_SHARE, COMMON_LEAST = 0.05, 20  # of texts, from which on a word or two are a template's
_BLOCK = 2_000_000  # candidates compared at a time
_NO_WORD = re.compile(r"[\W_]+")


@lru_cache(maxsize=1 << 15)  # the same texts are asked for by splits and checks, and by the next look
def normalised(text: str) -> str:
    """Lower case, no punctuation, single spaces (Unicode's compatible forms made one). Texts
    of the same normal form are the same to every check. A text of nothing but signs stays."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _NO_WORD.sub(" ", plain).strip() or plain.strip()


def features(text: str) -> set[str]:
    """The words of a normalised text, and its pairs of neighbouring words."""
    words = text.split()
    return {*words, *(f"{first} {second}" for first, second in pairwise(words))}


def templates(texts: Iterable[str]) -> frozenset[str]:
    """The words and pairs of words of normalised texts, each different from the others, that
    are a template's."""
    often, n = Counter[str](), 0
    for text in texts:
        often.update(features(text))
        n += 1
    most = max(COMMON_LEAST, ceil(COMMON_SHARE * n))
    return frozenset(feature for feature, times in often.items() if times > most)


def near_duplicates(
    texts: Sequence[str], threshold: float = THRESHOLD, common: frozenset[str] | None = None
) -> np.ndarray:
    """(m, 2) places of texts, first < second, whose similarity is at least `threshold`. The
    texts are normalised, and each different from the others: equal ones need no comparing.
    `common`: what is a template's, where these are but some of the texts."""
    if common is None:
        common = templates(texts)
    sets = [(features(text) - common) or features(text) for text in texts]
    rows = _matrix(sets)  # (n, features), rarest features first
    size = np.diff(rows.indptr)
    keep = size - np.ceil(threshold * size - 1e-9).astype(int) + 1  # of a set, its rarest
    prefix = _first_of_each(rows, np.minimum(keep, size))
    alike = sparse.triu(prefix @ prefix.T, k=1).tocoo()
    first, second = alike.row.astype(np.int64), alike.col.astype(np.int64)
    # Sets whose sizes are too far apart cannot be alike enough.
    small, large = np.minimum(size[first], size[second]), np.maximum(size[first], size[second])
    near = small >= threshold * large - 1e-9
    first, second = first[near], second[near]
    found = []
    for start in range(0, len(first), _BLOCK):
        i, j = first[start : start + _BLOCK], second[start : start + _BLOCK]
        both = np.asarray(rows[i].multiply(rows[j]).sum(axis=1)).ravel()
        close = both / (size[i] + size[j] - both) >= threshold - 1e-9
        found.append(np.stack([i[close], j[close]], axis=1))
    pairs = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
    return np.sort(pairs, axis=1)


def groups(
    texts: Sequence[str], threshold: float = THRESHOLD, common: frozenset[str] | None = None
) -> np.ndarray:
    """(n,) the group of each text, numbered from 0: texts that are the same, near-duplicates,
    or joined by a chain of them, are in one."""
    unique, place = np.unique(
        np.array([normalised(text) for text in texts], dtype=object), return_inverse=True
    )
    if not len(unique):
        return np.empty(0, dtype=np.int64)
    pairs = near_duplicates(unique.tolist(), threshold, common)
    n = len(unique)
    links = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, group = connected_components(links, directed=False)
    return np.asarray(group[place.reshape(-1)], dtype=np.int64)


def _matrix(sets: list[set[str]]) -> sparse.csr_matrix:
    """(n, features) of ones, features in order of how rare they are."""
    often = Counter(feature for each in sets for feature in each)
    place = {feature: i for i, feature in enumerate(sorted(often, key=lambda name: (often[name], name)))}
    ends = np.cumsum([0, *(len(each) for each in sets)])
    flat = np.fromiter((place[feature] for each in sets for feature in each), np.int64, count=int(ends[-1]))
    ones = np.ones(len(flat), dtype=np.int32)
    rows = sparse.csr_matrix((ones, flat, ends), shape=(len(sets), max(1, len(place))))
    rows.sort_indices()
    return rows


def _first_of_each(rows: sparse.csr_matrix, counts: np.ndarray) -> sparse.csr_matrix:
    """Of each row, its first `counts` entries."""
    within = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], np.diff(rows.indptr))
    kept = within < np.repeat(counts, np.diff(rows.indptr))
    ends = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_matrix((rows.data[kept], rows.indices[kept], ends), shape=rows.shape)
