"""The reward model of the replay: Bradley-Terry heads on frozen features of responses."""

import numpy as np
from scipy.linalg import solve
from scipy.special import expit

_NEWTON_STEPS = 50


class Heads:
    """M heads over m pairs; the first sees every vote as it is, the others each vote as often as
    a Poisson number with mean 1 says, drawn when it comes in (the bootstrap of a stream: Oza
    and Russell 2001). weights (M, d); reward = features @ weight; the loss is the
    cross-entropy of each vote (a tie is half a vote for each) + ridge / 2 |weight|^2."""

    def __init__(
        self, features: np.ndarray, row_a: np.ndarray, row_b: np.ndarray, ridge: float, members: int = 1,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self.features = features
        self._difference = features[row_a] - features[row_b]
        self._ridge = ridge
        self._rng = np.random.default_rng([seed, 13])
        self._votes = np.zeros((members, len(row_a)), np.float32)
        self._for_a = np.zeros((members, len(row_a)), np.float32)
        self.weights = np.zeros((members, features.shape[1]))

    def see(self, pairs: np.ndarray, scores: np.ndarray) -> None:
        """One vote on each of these pairs: what a gets of it."""
        times = self._rng.poisson(1.0, (len(self.weights), len(pairs)))
        times[0] = 1
        for member, of in enumerate(times):
            np.add.at(self._votes[member], pairs, of)
            np.add.at(self._for_a[member], pairs, of * scores)

    def fit(self) -> None:
        """Newton's method, from where it stood."""
        for member in range(len(self.weights)):
            seen = np.flatnonzero(self._votes[member])
            self.weights[member] = _fit(
                self._difference[seen], self._votes[member][seen], self._for_a[member][seen], self._ridge,
                self.weights[member],
            )  # fmt: skip

    def logits(self) -> np.ndarray:
        """(R, M) rewards of all responses."""
        return self.features @ self.weights.T


def _fit(x: np.ndarray, n: np.ndarray, for_a: np.ndarray, ridge: float, start: np.ndarray) -> np.ndarray:
    def loss(z: np.ndarray, w: np.ndarray) -> float:
        return float(np.logaddexp(0, z) @ n - z @ for_a + ridge / 2 * w @ w)

    w = start.copy()
    z = x @ w
    before = loss(z, w)
    for _ in range(_NEWTON_STEPS):
        p = expit(z)
        gradient = x.T @ (for_a - n * p) - ridge * w
        hessian = (x * (n * p * (1 - p)).astype(x.dtype)[:, None]).T @ x + ridge * np.eye(len(w))
        step = solve(hessian, gradient, assume_a="pos")
        gain, along, length = gradient @ step, x @ step, 1.0
        if gain < 1e-6:
            break
        while (after := loss(z + length * along, w + length * step)) > before and length > 1e-4:
            length /= 2
        w, z, before = w + length * step, z + length * along, after
    return w
