"""A decision's results as tables of plain values: for the page, its downloads, the API and
the brief."""

from dataclasses import asdict
from typing import Any

from core.planning.decision.ahp import Priorities
from core.planning.decision.evidence import DecisionEvidence
from core.planning.decision.history import History
from core.planning.decision.model import Decision
from core.planning.decision.proposals import seconds
from core.planning.decision.ranking import order
from core.planning.decision.results import Result
from core.planning.documents import Saved


def ranking_rows(result: Result) -> list[dict[str, Any]]:
    place = {i: n + 1 for n, i in enumerate(order(result.closeness))}
    rows = []
    for rank, i in enumerate(result.ranked, 1):
        alternative = result.body.alternatives[i]
        rows.append(
            {
                "Rank": rank,
                "Alternative": alternative.title,
                "Weighted sum": round(float(result.values[i]), 2),
                "Low": round(float(result.draws.low[i]), 2),
                "High": round(float(result.draws.high[i]), 2),
                "TOPSIS": round(float(result.closeness[i]), 3),
                "TOPSIS rank": place[i],
                "Wins, weights near these": round(float(result.draws.wins[i]), 3),
                "Wins, any weights": round(float(result.anywhere.wins[i]), 3),
                "Possible here": "no" if alternative.key in result.blocked else "yes",
            }
        )
    return rows


def weight_rows(result: Result) -> list[dict[str, Any]]:
    """`Down to`, `Up to`: shares at which another alternative takes the lead."""
    titles = [a.title for a in result.body.alternatives]
    by_factor = {room.factor: room for room in result.rooms}
    by_topsis = {room.factor: room for room in result.rooms_topsis}
    rows = []
    for j, factor in enumerate(result.body.factors):
        room, other = by_factor.get(j), by_topsis.get(j)
        rows.append(
            {
                "Factor": factor.title,
                "Weight": round(float(result.weights[j]), 4),
                "Down to": _round(room.down if room else None),
                "Then wins (below)": titles[room.down_winner]
                if room and room.down_winner is not None
                else "",
                "Up to": _round(room.up if room else None),
                "Then wins (above)": titles[room.up_winner] if room and room.up_winner is not None else "",
                "TOPSIS: down to": _round(other.down if other else None),
                "TOPSIS: up to": _round(other.up if other else None),
            }
        )
    return rows


def matrix_rows(result: Result) -> list[dict[str, Any]]:
    """A row for each cell, with the proposal beside an overridden score."""
    titles = {a.key: a.title for a in result.body.alternatives}
    factors = {f.key: f.title for f in result.body.factors}
    return [
        {
            "Alternative": titles[score.alternative],
            "Factor": factors[score.factor],
            "Score": score.value,
            "Origin": origin(result, score.alternative, score.factor),
            "Proposed": score.proposed,
            "Reason": score.reason,
        }
        for score in result.body.scores
    ]


def origin(result: Result, alternative: str, factor: str) -> str:
    """`overridden`, `measured` or `judgement`"""
    score = result.body.score(alternative, factor)
    if score is not None and score.origin == "overridden":
        return "overridden"
    return "measured" if result.proposals[alternative, factor].measured else "judgement"


def contribution_rows(result: Result) -> list[dict[str, Any]]:
    """What each factor adds to each alternative's weighted sum, best alternative first."""
    return [
        {
            "Alternative": result.body.alternatives[i].title,
            "Factor": factor.title,
            "Score": float(result.scores[i, j]),
            "Weight": round(float(result.weights[j]), 4),
            "Contribution": round(float(result.scores[i, j] * result.weights[j]), 3),
        }
        for i in result.ranked
        for j, factor in enumerate(result.body.factors)
    ]


def plateau_rows(history: History) -> list[dict[str, Any]]:
    return [
        {
            "Version": version.name,
            "Written": version.at.date().isoformat(),
            "Gain, points": _round(version.gain, 2),
            "Low": _round(version.low, 2),
            "High": _round(version.high, 2),
            "Win rate against the one before": _round(version.step_rate),
            "Win rate, low": _round(version.step_low),
            "Win rate, high": _round(version.step_high),
            "Votes": version.step_n,
        }
        for version in history.versions
    ]


def evidence_rows(found: DecisionEvidence) -> list[dict[str, Any]]:
    """What the proposals rest on: figure, value, interval, n, and where from or what is
    missing."""
    rows: list[dict[str, Any]] = [
        _fact("Preferences", f"{found.preferences:,}", None, "pairs that votes decided" + found.by_whom)
    ]

    def measured(name: str, figure: Any, scale: float, unit: str, missing: str) -> None:
        if figure is None:
            rows.append(_fact(name, "—", None, found.missing.get(missing, "")))
            return
        digits = 2 if scale == 1 else 0
        shown = f"{scale * figure.value:.{digits}f}{unit}"
        ends = f"{scale * figure.low:.{digits}f} to {scale * figure.high:.{digits}f}{unit}"
        rows.append(_fact(name, shown, figure.n, figure.source, ends))

    measured("Agreement (alpha)", found.agreement, 1, "", "agreement")
    rows.append(_fact("Labelled examples", f"{found.labelled:,}", None, "examples with a reference answer"))
    measured("Reward model accuracy", found.reward_accuracy, 100, " %", "reward_accuracy")
    measured("Found prompts against written ones", found.found, 100, " %", "found")
    rows += [
        _fact(
            f"Searches: {row.method} on {row.reward.replace('_', ' ')}",
            f"{row.better} of {row.reported} better",
            row.runs,
            "finished searches; better: the gain on the test split has an interval above zero",
        )
        for row in found.searches
    ]
    measured("Success in production", found.current, 100, " %", "current")
    rows += [_fact(f"Found prompts on {host}", f"{100 * m.value:.0f} %", m.n, m.source,
                   f"{100 * m.low:.0f} to {100 * m.high:.0f} %") for host, m in found.transfer]  # fmt: skip
    rows += [
        _fact(f"Host {host.name}", host.words, host.used or None, "newest responses") for host in found.hosts
    ]
    if found.latency_ms is not None:
        rows.append(
            _fact("Latency", seconds(found.latency_ms.value), found.latency_ms.n, found.latency_ms.source,
                  f"{seconds(found.latency_ms.low)} to {seconds(found.latency_ms.high)}")
        )  # fmt: skip
    return rows


def _fact(name: str, value: str, n: int | None, source: str, ends: str = "") -> dict[str, Any]:
    return {"Figure": name, "Value": value, "95 % interval": ends, "n": n, "From": source}


def as_dict(result: Result, saved: Saved[Decision] | None = None) -> dict[str, Any]:
    """Everything as plain values, for the API."""
    history = result.found.history
    return {
        "plan_id": saved.plan_id if saved else None,
        "version": saved.number if saved else None,
        "recommendation": asdict(result.recommendation),
        "ranking": ranking_rows(result),
        "weights": weight_rows(result),
        "matrix": matrix_rows(result),
        "contributions": contribution_rows(result),
        "consistency": consistency(result),
        "plateau": plateau_dict(history, plateau_rows(history)),
        "evidence": evidence_rows(result.found),
        "missing": result.found.missing,
        "body": result.body.model_dump(mode="json"),
    }


def plateau_dict(history: History, versions: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "outcome": history.outcome,
        "sentence": history.sentence(),
        "reference": history.reference,
        "newest": history.newest,
        "steps": history.steps,
        "basis": history.basis,
        "lineage": history.lineage,
        "held_out_votes": history.n if history.basis == "votes" else 0,
        "left_out_votes": history.left_out,
        "simulated_votes": history.simulated,
        "verdict": asdict(history.verdict) if history.verdict else None,
        "versions": versions,
    }


def consistency(result: Result) -> dict[str, Any] | None:
    if result.priorities is None:
        return None
    return consistency_of(result.priorities, [factor.key for factor in result.body.factors])


def consistency_of(found: Priorities, keys: list[str]) -> dict[str, Any]:
    suspect = found.suspect
    return {
        "weights": {key: float(weight) for key, weight in zip(keys, found.weights, strict=True)},
        "eigenvalue": found.eigenvalue,
        "consistency_index": found.index,
        "consistency_ratio": found.ratio,
        "consistent": found.consistent,
        "most_inconsistent": None
        if suspect is None
        else {
            "a": keys[suspect.row],
            "b": keys[suspect.column],
            "value": suspect.said,
            "implied": suspect.implied,
            "suggested": suspect.suggested,
        },
    }


def _round(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(float(value), digits)
