"""How good the judgements are: agreement, position bias, ties and pace.

Agreement is Krippendorff's alpha, nominal, over the choices of each pair: response_a
won, response_b won, a tie, both bad (Krippendorff 2011, "Computing Krippendorff's
alpha-reliability"). Which response is called a follows from ids and means nothing, but
alpha's expected disagreement depends on how often "a" was chosen; so every pair is
entered in both orders, which makes alpha free of it.
"""

from typing import Any

import krippendorff
import numpy as np
from sqlmodel import Session

from core.access import Principal, require
from core.annotation.judgements import Simulated, which_votes
from core.projects import find_project
from core.stats import wilson
from storage import judgements
from storage.database import Database

RESAMPLES = 1_000
_SWAPPED = [1, 0, 2, 3]


def quality(
    db: Database, who: Principal, project_id: str, *, simulated: Simulated | str | None = None
) -> dict[str, Any]:
    """Every figure of the quality page. Shares and alpha come with a 95 % interval
    (`…_low`, `…_high`) and are None where there is nothing to compute them from;
    durations are in milliseconds."""
    require(who, "quality.view")
    with db.read() as session:
        find_project(session, project_id)
        return _quality(session, project_id, simulated)


def _quality(session: Session, project_id: str, simulated: Simulated | str | None) -> dict[str, Any]:
    which, people, machine = which_votes(session, project_id, simulated=simulated)
    total = judgements.totals(session, which)
    counts = np.array([row[2:] for row in judgements.by_pair(session, which)], dtype=np.int64).reshape(-1, 4)
    pairs, wanted, voted, skips = judgements.pairs_and_slots(session, project_id)
    return {
        "votes": total.votes,
        "annotators": total.annotators,
        "pairs": pairs,
        "pairs_voted": len(counts),
        "pairs_shared": int((counts.sum(1) > 1).sum()),
        "simulated": which.simulated,
        "simulated_votes": total.simulated,
        "all_human_votes": people,
        "all_simulated_votes": machine,
        "slots": wanted,
        "slots_voted": voted,
        "skips": skips,
        **alpha_nominal(counts),
        **_share("left", total.left, total.sided),
        "decisive": total.sided,
        **_share("tie", total.ties, total.votes),
        **_share("both_bad", total.both_bad, total.votes),
        "median_duration_ms": total.median_ms,
        "timed_votes": total.timed,
        "per_annotator": [_judge(item) for item in judgements.by_annotator(session, which)],
        "per_day": [
            {
                "day": day.date().isoformat(),
                "simulated": is_simulated,
                "votes": votes,
                **_share("left", left, sided),
            }
            for day, is_simulated, votes, sided, left in judgements.by_day(session, which)
        ],
    }


def alpha_nominal(counts: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, float | None]:
    """Nominal alpha with a 95 % percentile bootstrap over pairs.

    counts: (pairs, 4) votes for a, for b, ties, both bad. Pairs with one vote say
    nothing about agreement and are left out. None where alpha is undefined: no pair with
    two votes, or no two votes in all that differ.
    """
    nothing: dict[str, float | None] = {"alpha_nominal": None, "alpha_low": None, "alpha_high": None}
    counts = counts[counts.sum(axis=1) > 1]
    if len(counts) == 0 or (counts[:, :2].sum() == 0 and (counts.sum(axis=0) > 0).sum() < 2):
        return nothing
    both = np.vstack([counts, counts[:, _SWAPPED]])
    alpha = float(krippendorff.alpha(value_counts=both, level_of_measurement="nominal"))
    # Pairs with equal counts are interchangeable: resampling how often each distinct row
    # comes is the same as resampling pairs, at a cost that does not grow with them.
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(counts), times / len(counts), size=resamples)
    found = _alpha_of(drawn, kinds)
    found = found[np.isfinite(found)]
    low, high = np.quantile(found, [0.025, 0.975]) if len(found) else (alpha, alpha)
    return {"alpha_nominal": alpha, "alpha_low": float(low), "alpha_high": float(high)}


def _alpha_of(times: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Alpha, every pair in both orders, for each row of `times`.

    times: (B, K) how often each kind of pair occurs; kinds: (K, 4) its counts -> (B,),
    nan where the expected disagreement is zero.
    """
    n = kinds.sum(axis=1)  # (K,) votes on a pair of this kind
    apart = (n**2 - (kinds**2).sum(axis=1)) / (n - 1)  # (K,) disagreement within it
    votes = 2.0 * times @ n  # (B,) both orders
    sums = times @ kinds  # (B, 4)
    for_either = sums[:, :1] + sums[:, 1:2]
    margins = np.hstack([for_either, for_either, 2 * sums[:, 2:]])  # (B, 4)
    observed = 2.0 * (times @ apart) / votes
    expected = (votes**2 - (margins**2).sum(axis=1)) / (votes * (votes - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - observed / expected, np.nan)


def _share(name: str, part: float, n: int) -> dict[str, float | None]:
    low, high = wilson(part, n)
    share = part / n if n else None
    return {
        f"{name}_share": share,
        f"{name}_low": low if n else None,
        f"{name}_high": high if n else None,
    }


def _judge(item: judgements.Judge) -> dict[str, Any]:
    agreement = _share("agreement", item.agreed, item.compared)
    return {
        "id": item.id,
        "name": item.name,
        "simulated": item.simulated,
        "votes": item.votes,
        **_share("tie", item.ties, item.votes),
        **_share("both_bad", item.both_bad, item.votes),
        "decisive": item.sided,
        **_share("left", item.left, item.sided),
        "compared": item.compared,
        "agreement": agreement["agreement_share"],
        "agreement_low": agreement["agreement_low"],
        "agreement_high": agreement["agreement_high"],
        "median_duration_ms": item.median_ms,
        "first_vote": item.first.isoformat(),
        "last_vote": item.last.isoformat(),
    }
