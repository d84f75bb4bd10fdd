"""Looking at many slices: some look bad by luck alone. What is left after that is counted.

Benjamini and Hochberg (1995, JRSS B 57:289): of the slices that are marked, at most the share
`level` is expected to be marked wrongly. Holm (1979, Scand J Statist 6:65): the chance of even
one wrong mark stays below `level`.
"""

import numpy as np


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """(m,) adjusted p-values: a slice is marked where its own is at most the level."""
    m = len(p)
    order = np.argsort(p)[::-1]
    scaled = p[order] * m / np.arange(m, 0, -1)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled))
    return adjusted


def holm(p: np.ndarray) -> np.ndarray:
    """(m,) adjusted p-values."""
    m = len(p)
    order = np.argsort(p)
    scaled = p[order] * np.arange(m, 0, -1)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted
