"""The test pairs that the model is most surely wrong about, by people's votes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.reward.judgement.pairs import Judged

COUNT = 20


def mistakes(test: Judged, cluster_names: Sequence[str], count: int = COUNT) -> list[dict[str, Any]]:
    """Worst first. `p` is the calibrated probability that the model gave the side that people
    prefer. Pairs that only a simulation or machine judges decided are left out."""
    preferred = np.where(test.q > 0.5, test.p, 1 - test.p)
    wrong = np.flatnonzero(test.decided & (test.right < 0.5) & (test.n_people > 0))
    order = wrong[np.argsort(preferred[wrong], kind="stable")][:count]
    found = []
    for i in order:
        row = test.rows[i]
        sign = 1 if test.q[i] > 0.5 else -1
        found.append(
            {
                "pair_id": row.get("pair_id"), "example_id": row.get("example_id"),
                "d": float(test.d[i]), "p": float(preferred[i]), "q": float(test.q[i]), "n": int(row.get("n") or 0),
                "length_difference": int(sign * (test.length_a[i] - test.length_b[i])),  # preferred less other
                "cluster": cluster_names[i] if cluster_names else None,
                "prompt_a": row.get("prompt_a"), "prompt_b": row.get("prompt_b"),
            }
        )  # fmt: skip
    return found
