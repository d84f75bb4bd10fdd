"""What the decision says, for the brief."""

from collections.abc import Callable
from typing import Any

from core.access import Principal, require
from core.planning.decision import charts
from core.planning.decision.results import (
    Result,
    compute,
    saved_or_default,
)
from core.planning.decision.tables import ranking_rows, weight_rows
from core.planning.section import Drawn, Section
from storage.database import Database

TITLE = "How to go on with prompts"


def section(db: Database, who: Principal, project_id: str) -> Section:
    """The recommendation, its conditions, and what it rests on."""
    require(who, "plan.view")
    body, saved = saved_or_default(db, who, project_id)
    result = compute(db, who, project_id, body)
    found = result.found
    if saved is None and not found.preferences and not found.searches:
        return Section(
            "decision",
            TITLE,
            "No evidence yet: nobody has voted, and no search has finished. Label pairs and run a search, "
            "or save a decision with scores of your own.",
            why=list(found.missing.values()),
            empty=True,
        )
    return section_of(result)


def section_of(result: Result) -> Section:
    told = result.recommendation
    later = [f"{title}: {when}." for title, when in told.later]
    drawn: dict[str, Callable[[], Any]] = {
        "Contributions": lambda: charts.contributions(result),
        "Ranking": lambda: charts.ranking(result),
    }
    if charts.has_plateau(result.found.history):
        drawn["Manual versions"] = lambda: charts.plateau(result.found.history)
    return Section(
        "decision",
        TITLE,
        told.answer,
        why=[*told.why, *later, *(f"Missing: {text}" for text in told.missing)],
        figures=figures(result),
        tables={"Ranking": ranking_rows(result), "Weights": weight_rows(result)},
        charts=Drawn(drawn),
    )


def figures(result: Result) -> list[tuple[str, str, str]]:
    """Label, value, detail: the few figures a lead would quote."""
    found, rows = result.found, ranking_rows(result)
    verdict = found.history.verdict
    shown = {"plateaued": "Plateaued", "improving": "Still improving", "undecided": "Cannot tell yet"}
    detail = "no manual versions to compare"
    if verdict is not None and verdict.gain is not None and verdict.low is not None:
        detail = f"{verdict.gain:+.1f} points ({verdict.low:+.1f} to {verdict.high:+.1f}), n {verdict.n:,}"
        detail += found.history.by_whom()
    elif found.history.versions:
        detail = f"{verdict.more:,} votes would tell" if verdict else "one manual version only"
    alpha = found.agreement
    agreed = f"alpha {alpha.value:.2f} ({alpha.low:.2f} to {alpha.high:.2f})" if alpha else "alpha not known"
    whose = " · all simulated" if found.simulated_only else ""
    first = rows[0]
    return [
        (
            "How sure of the weights",
            f"{100 * first['Wins, weights near these']:.0f} %",
            f"of 4,000 weightings near these choose {first['Alternative']}",
        ),
        (
            "Weighted sum",
            f"{first['Weighted sum']:.1f} of 10",
            f"{first['Low']:.1f} to {first['High']:.1f} · TOPSIS {first['TOPSIS']:.2f}, rank {first['TOPSIS rank']}",
        ),
        ("Manual work", shown[found.history.outcome], detail),
        ("Preferences", f"{found.preferences:,}", agreed + whose),
    ]
