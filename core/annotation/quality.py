"""How good the judgements are: agreement, position and length bias, ties and pace.

Everything here is counted in the database and answers at once on a million votes. What
needs every vote (skill, tests of annotators, Cohen's kappa) is `core.annotation.detail`.
"""

from datetime import date, timedelta
from typing import Any

import numpy as np
from sqlmodel import Session

from core.access import Principal, require
from core.annotation import adjudication
from core.annotation.aggregation import method_of
from core.annotation.agreement import (
    RESAMPLES,
    SWAP_CHOICES,
    SWAP_SCALE,
    Measure,
    alpha,
    fleiss,
    raw,
)
from core.annotation.annotators import State, states_of
from core.annotation.judgements import Simulated, which_votes
from core.annotation.probe_figures import with_probes
from core.kept import Kept
from core.projects import find_project
from core.stats import wilson
from storage import judgements
from storage import quality as facts
from storage.counting import people_state
from storage.database import Database
from storage.evidence import is_large, votes_state
from storage.judgements import Which
from storage.quality import Kind, Pace

Z = 1.959964
WEEKS = 12  # of votes a week, for each annotator


def quality(
    db: Database, who: Principal, project_id: str, *, simulated: Simulated | str | None = None
) -> dict[str, Any]:
    """Every figure of the quality page that is counted at once. Shares and coefficients come
    with a 95 % interval (`…_low`, `…_high`) and are None where there is nothing to compute
    them from; durations are in milliseconds. `left_out`: annotators whose votes do not count,
    in none of the figures."""
    require(who, "quality.view")
    with db.read() as session:
        project = find_project(session, project_id)
        votes = votes_state(session, project_id)
        if not is_large(votes):
            found = with_probes(session, project_id, _quality(session, project_id, simulated))
            return {**found, "aggregation": method_of(project)}
        people = people_state(session, project_id)

    def make() -> dict[str, Any]:
        with db.read() as session:
            return _quality(session, project_id, simulated)

    # Who was paused or left out is seen at once; new votes a moment later.
    key = (db.url, project_id, simulated and str(simulated), people)
    found = _kept.get(key, votes, make, meanwhile=True)
    with db.read() as session:
        return {**with_probes(session, project_id, found), "aggregation": method_of(project)}


_kept: Kept[dict[str, Any]] = Kept()


def _quality(session: Session, project_id: str, simulated: Simulated | str | None) -> dict[str, Any]:
    which, people, machine = which_votes(session, project_id, simulated=simulated, independent=True)
    total = judgements.totals(session, which)
    kinds = facts.kinds(session, which)
    counts, times = columns(kinds)
    pairs, wanted, voted, skips = judgements.pairs_and_slots(session, project_id)
    paces = {item.annotator_id: item for item in facts.pace(session, which)}
    weeks = facts.votes_by_week(session, which)
    last = max((day for by_week in weeks.values() for day in by_week), default=date.min)
    states = {state.id: state for state in states_of(session, project_id)}
    nominal = alpha(counts, swap=SWAP_CHOICES, times=times)
    return {
        "votes": total.votes,
        "annotators": total.annotators,
        "pairs": pairs,
        "pairs_voted": int(times.sum()),
        "pairs_shared": nominal.n,
        "simulated": which.simulated,
        "simulated_votes": total.simulated,
        "machine_votes": total.machine,
        "all_human_votes": people,
        "all_simulated_votes": machine,
        **adjudication.summary_in(session, project_id),
        "slots": wanted,
        "slots_voted": voted,
        "skips": skips,
        "alpha_nominal": nominal.value,
        "alpha_low": nominal.low,
        "alpha_high": nominal.high,
        **_ordinal(session, which),
        **_measure("fleiss_kappa", fleiss(counts, swap=SWAP_CHOICES, times=times)),
        **_measure("raw_agreement", raw(counts, times=times)),
        **_share("left", total.left, total.sided),
        "decisive": total.sided,
        **_longer(facts.length_blocks(session, which)),
        **_share("tie", total.ties, total.votes),
        **_share("both_bad", total.both_bad, total.votes),
        **_share("too_fast", sum(item.too_fast for item in paces.values()), total.timed),
        "median_duration_ms": total.median_ms,
        "timed_votes": total.timed,
        "per_annotator": [
            _judge(item, paces.get(item.id), _series(weeks.get(item.id, {}), last), states.get(item.id))
            for item in judgements.by_annotator(session, which)
        ],
        "left_out": [_state(state) for state in states.values() if state.excluded_at is not None],
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


def columns(kinds: list[Kind]) -> tuple[np.ndarray, np.ndarray]:
    """Kinds of pairs as counts (K, V) and how many pairs each stands for (K,)."""
    width = len(kinds[0][1]) if kinds else 4
    counts = np.array([values for _, values, _ in kinds], dtype=np.int64).reshape(-1, width)
    return counts, np.array([pairs for *_, pairs in kinds], dtype=np.int64)


def alpha_nominal(counts: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, float | None]:
    """Nominal alpha of (pairs, 4) counts with its 95 % interval, every pair in both orders."""
    found = alpha(counts, swap=SWAP_CHOICES, resamples=resamples, seed=seed)
    return {"alpha_nominal": found.value, "alpha_low": found.low, "alpha_high": found.high}


def _ordinal(session: Session, which: Which) -> dict[str, Any]:
    """Ordinal alpha on signed strength, over votes that state one, and ties."""
    counts, times = columns(facts.kinds(session, which, signed=True))
    has_strength = counts.shape[1] == len(SWAP_SCALE) and (np.delete(counts, 4, axis=1).sum() > 0)
    found = (
        alpha(counts, "ordinal", swap=SWAP_SCALE, times=times)
        if has_strength
        else Measure(None, None, None, 0, 0)
    )
    return _measure("alpha_ordinal", found)


def _measure(name: str, found: Measure) -> dict[str, Any]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_n": found.n}


def _longer(blocks: Any) -> dict[str, Any]:
    """The share of decisive votes for the longer response; the interval goes over pairs,
    because votes on one pair hang together (a ratio's linearised variance)."""
    if not blocks:
        return {"longer_share": None, "longer_low": None, "longer_high": None, "sized": 0, "sized_pairs": 0}
    n, x, pairs = np.array(blocks, dtype=float).T
    votes = (n * pairs).sum()
    share = (x * pairs).sum() / votes
    spread = np.sqrt((pairs * (x - share * n) ** 2).sum()) / votes
    low, high = wilson(share * votes, votes)  # where all agree there is no spread to go by
    return {
        "longer_share": float(share),
        "longer_low": float(max(0.0, min(low, share - Z * spread))),
        "longer_high": float(min(1.0, max(high, share + Z * spread))),
        "sized": int(votes),
        "sized_pairs": int(pairs.sum()),
    }


def _share(name: str, part: float, n: int) -> dict[str, float | None]:
    low, high = wilson(part, n)
    share = part / n if n else None
    return {
        f"{name}_share": share,
        f"{name}_low": low if n else None,
        f"{name}_high": high if n else None,
    }


def _judge(
    item: judgements.Judge, pace: Pace | None, per_week: list[int], state: State | None
) -> dict[str, Any]:
    agreement = _share("agreement", item.agreed, item.compared)
    return {
        "id": item.id,
        "name": item.name,
        "simulated": item.simulated,
        "machine": item.machine,
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
        "timed_votes": pace.timed if pace else 0,
        "words_per_minute": pace.words_per_minute if pace else None,
        **_share("too_fast", pace.too_fast if pace else 0, pace.timed if pace else 0),
        "sized": pace.sized if pace else 0,
        **_share("longer", pace.longer if pace else 0, pace.sized if pace else 0),
        "per_week": per_week,
        "paused_at": state.paused_at.isoformat() if state and state.paused_at else None,
        "paused_reason": state.paused_reason if state else "",
        "first_vote": item.first.isoformat(),
        "last_vote": item.last.isoformat(),
    }


def _series(weeks: dict[date, int], last: date) -> list[int]:
    """Votes in each of the WEEKS up to the week of the project's last vote."""
    return [weeks.get(last - timedelta(weeks=back), 0) for back in range(WEEKS - 1, -1, -1)] if weeks else []


def _state(state: State) -> dict[str, Any]:
    return {
        "id": state.id,
        "name": state.name,
        "simulated": state.simulated,
        "machine": state.machine,
        "votes": state.votes,
        "excluded_at": state.excluded_at.isoformat() if state.excluded_at else None,
        "excluded_by": state.excluded_by,
        "excluded_reason": state.excluded_reason,
    }
