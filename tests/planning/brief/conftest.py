from datetime import UTC, datetime

import altair as alt
import pandas as pd
import pytest

from core.planning.brief.collect import ROOMS, Brief
from core.planning.section import Section


def charts(names):
    """One of each shape that rooms draw."""
    rows = pd.DataFrame({"x": range(12), "y": [i**1.5 for i in range(12)], "name": names})
    line = alt.Chart(rows).mark_line(clip=True).encode(x="x", y="y")
    return [
        line + alt.Chart(rows).mark_area(opacity=0.3).encode(x="x", y="y"),
        alt.Chart(rows).mark_bar().encode(y="name:N", x="y").properties(height=alt.Step(22)),
        alt.Chart(rows).mark_point().encode(x="x", y="y", color="name:N").properties(height=300),
        line.properties(width=120) | line.properties(width=120),
        line.encode(facet=alt.Facet("name:N", columns=4)),
    ]


@pytest.fixture
def make_brief():
    """A brief with every room filled: `text` is in every place that a person or a model
    can write to, `times` makes it long."""

    def make(text: str = "", times: int = 1) -> Brief:
        drawn = charts([f"prompt {text} {i}" for i in range(12)])
        sections = [
            Section(
                room.key,
                room.title,
                f"Invest now: the net benefit over three years is €128,000. {text} " * times,
                why=[f"The champion wins 61 % of comparisons (57 to 65, n 512). {text} " * times] * 6,
                figures=[(f"Net benefit {text}", "€128.4k", "P10 -€12k · P90 €301k " * times)] * 5,
                tables={f"Cash flow, € {text}": [{"Month": 1, "Net": -3.5, "Who": text or "=1+1"}]},
                charts={f"Cumulative cash flow {text}": chart},
            )
            for room, chart in zip(ROOMS, drawn, strict=True)
        ]
        return Brief(
            f"A project {text} " * times,
            f"Ada {text}",
            datetime(2026, 11, 24, tzinfo=UTC),
            sections,
            [f"Win rate 61 %: support v20 against support v1. {text}"] * 4 * times,
            ["No uses in production are recorded for a whole month."] * times,
            True,
        )

    return make
