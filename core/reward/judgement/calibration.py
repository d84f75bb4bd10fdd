"""Whether the model's probabilities can be believed, before and after temperature scaling.

Log-loss and Brier score against the soft label on all test pairs; ECE and its diagram on the
decided ones, by confidence max(p, 1 - p) in ten bins of equal width on [.5, 1] (Guo et al.
2017, arXiv 1706.04599, section 2). Their intervals: bootstrap by examples; ECE's is no
smaller than chance makes it, because the absolute values of noise do not cancel.
"""

from typing import Any

import numpy as np

from core.reward import metrics
from core.reward.judgement.figures import Bootstrap, Figure, Statistic, figure, mean_of
from core.reward.judgement.pairs import Judged, agree

BINS = 10
MIN_FITTED = 20  # dev pairs; with fewer the temperature stays at 1


def ece_of(d: np.ndarray, q: np.ndarray, bins: int = BINS) -> Statistic:
    """Weighted expected calibration error; d in logits, (n,)."""
    p = metrics.probability(d)
    confidence = np.maximum(p, 1 - p)
    decided = q != 0.5
    apart = np.where(decided, confidence - agree(d, q), 0.0)
    place = np.clip(((confidence - 0.5) * 2 * bins).astype(int), 0, bins - 1)
    inside = np.zeros((len(d), bins))
    inside[np.arange(len(d)), place] = apart
    return lambda weights: np.abs(weights @ inside).sum(1) / (weights @ decided)


def figures(d: np.ndarray, q: np.ndarray, whole: Bootstrap) -> dict[str, Any]:
    """d: logits (n,)."""
    losses = q * np.logaddexp(0, -d) + (1 - q) * np.logaddexp(0, d)
    bins = metrics.reliability(d, q, bins=BINS)
    return {
        "log_loss": whole.figure(mean_of(losses)),
        "brier": whole.figure(mean_of((metrics.probability(d) - q) ** 2)),
        "ece": whole.figure(ece_of(d, q), int((q != 0.5).sum())),
        "bins": [
            {
                "value": row["accuracy"],
                **{k: row[k] for k in ("from", "to", "confidence", "low", "high", "n")},
            }
            for row in bins
        ],
    }


def calibration(
    test: Judged, dev: Judged, std: float, temperature: float, resamples: int, fitted: bool = True
) -> dict[str, Any]:
    """`std`: what turns d (sd) into the logits of `temperature`, which was fitted on dev or (not
    `fitted`) is the model's own."""
    whole = Bootstrap(test.place, resamples)
    return {
        "temperature": temperature_figure(dev, std, temperature),
        "fitted": fitted,
        "n_dev": len(dev),
        "before": figures(test.d * std, test.q, whole),
        "after": figures(test.d * std / temperature, test.q, whole),
    }


def temperature_figure(dev: Judged, std: float, temperature: float, resamples: int = 200) -> Figure:
    """The temperature in use; its interval from refitting it on resamples of the dev split."""
    if len(dev) < MIN_FITTED:
        return figure(temperature, None, None, len(dev))
    d, rng = dev.d * std, np.random.default_rng(0)
    clusters = [np.flatnonzero(dev.place == i) for i in range(int(dev.place.max()) + 1)]
    found = []
    for _ in range(resamples):
        at = np.concatenate([clusters[i] for i in rng.integers(0, len(clusters), len(clusters))])
        found.append(metrics.fit_temperature(d[at], dev.q[at]))
    low, high = np.quantile(found, [0.025, 0.975])
    return figure(temperature, low, high, len(dev))
