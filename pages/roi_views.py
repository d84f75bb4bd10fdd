"""What follows from a scenario, on the Return page: the answer, the charts and the tables."""

from typing import Any

import pandas as pd
import streamlit as st

from core.planning import documents
from core.planning.documents import Listed, Saved
from core.planning.roi import charts, compare
from core.planning.roi import improvements as improving
from core.planning.roi.improvements import Prices
from core.planning.roi.model import Scenario
from core.planning.roi.results import (
    Results,
    answer,
    compute,
    figure_text,
    figures,
    input_rows,
    label_rows,
    labels_text,
    reasons,
    summary_rows,
    tornado_rows,
)
from core.planning.units import money
from core.services import database
from pages.shared import csv_of, me, number, percent, plain
from storage.tables import Project

NPV = "What the cash flow is worth today: each month is divided by (1 + yearly rate)^(month / 12)."
TORNADO = (
    "Each uncertain input moved to its P10 and its P90 (its value there is written beside the bar), all others "
    "at their best values. Long bars are where better knowledge, or a better deal, pays."
)
FAN = (
    "Money in, less money out, added up month by month, without discounting. Bands hold the middle 50, 80 and "
    "90 % of the simulated futures; the line is the median."
)
LABELS = (
    "Expected value of sample information for one decision: invest or not. More labels narrow the uplift; "
    "they are worth something in so far as they could turn the decision round. Normal prior and noise, "
    "in closed form (Raiffa and Schlaifer 1961)."
)


def show_answer(results: Results, currency: str) -> None:
    sim = results.simulation
    show = st.success if sim.p_loss <= 0.2 else st.info if sim.p_loss <= 0.5 else st.warning
    show(plain(answer(results, currency)), icon=":material/payments:")
    cards = figures(results, currency)
    helps = (NPV, None, "When the money put in has come back for good, not discounted.", None)
    with st.grid(len(cards), min_column_width=160):
        for (label, value, detail), about in zip(cards, helps, strict=True):
            with st.container(border=True, height="stretch", gap=None):
                st.metric(label, plain(value), help=about)
                st.caption(plain(detail))


def show_why(results: Results, currency: str) -> None:
    with st.grid(2, min_column_width=330):
        with st.container(border=True, height="stretch"):
            st.subheader("Cumulative cash flow", anchor=False, help=FAN)
            # As tall as the tornado beside it: its bars, its legend and its axis.
            tall = 110 + 26 * max(6, min(charts.MOST_BARS, len(results.swings)))
            st.altair_chart(charts.fan(results.simulation, currency).properties(height=tall), width="stretch")
        with st.container(border=True, height="stretch"):
            st.subheader("What matters most", anchor=False, help=TORNADO)
            if results.swings:
                chart = charts.tornado_chart(results.swings, results.flow.npv, currency)
                st.altair_chart(chart, width="stretch")
            else:
                st.caption("No input has a range, so nothing moves the result.")
    box = st.expander(
        "In words, and as tables", icon=":material/table_view:", on_change="rerun", key="roi_words"
    )
    if not box.open:
        return
    with box:
        st.markdown("\n".join(f"- {plain(line)}" for line in reasons(results, currency)))
        table(
            tornado_rows(results.swings, currency),
            "tornado.csv",
            money_columns=("NPV at P10", "NPV at P90", "Swing"),
        )
        table(results.simulation.fan_rows(), "cumulative-cash-flow-quantiles.csv", money_columns="rest")
        table(input_rows(results.scenario, currency), "inputs.csv")


def table(rows: list[dict[str, Any]], file: str, money_columns: Any = (), **config: Any) -> None:
    """A table with its file. `money_columns`: those shown as whole money; "rest": all numbers
    but the first column."""
    frame = pd.DataFrame(rows)
    if frame.empty:
        return
    if money_columns == "rest":
        money_columns = list(frame.columns[1:])
    cells = {name: st.column_config.NumberColumn(format="localized") for name in money_columns}
    st.dataframe(
        frame.assign(**{name: frame[name].round(0) for name in money_columns}),
        hide_index=True,
        width="stretch",
        height="content" if len(frame) <= 14 else "auto",
        column_config={**cells, **config},
    )
    st.download_button(
        "Download as CSV",
        csv_of(frame),
        file_name=file,
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key=f"roi_csv_{file}",
    )


def show_cash_flow(results: Results, currency: str) -> None:
    flow = results.flow
    st.caption(
        "With every input at its best value. Month 0 is the day of the decision; costs are negative. Yearly "
        "rates become monthly ones by 1 + yearly = (1 + monthly)^12."
    )
    irr = percent(flow.irr) if flow.irr is not None and flow.irr < 10 else None
    if irr is None and flow.irr is not None:
        irr = "above 1,000 %"
    cards = [
        ("Net benefit", money(flow.net_benefit, currency, short=True), "benefit less cost, not discounted"),
        (
            "Return on investment",
            percent(flow.roi) if flow.roi is not None else "—",
            "net benefit over total cost",
        ),
        (
            "NPV",
            money(flow.npv, currency, short=True),
            f"at {100 * results.scenario.discount_rate:g} % a year",
        ),
        ("IRR, yearly", irr or "—", flow.no_irr or "the rate at which the NPV is zero"),
        ("Payback", _month(flow.payback), f"discounted: {_month(flow.discounted_payback)}"),
    ]
    with st.grid(len(cards), min_column_width=150):
        for label, value, detail in cards:
            with st.container(border=True, height="stretch", gap=None):
                st.metric(label, plain(value))
                st.caption(plain(detail))
    st.altair_chart(charts.cash_chart(flow, currency), width="stretch")
    by = st.segmented_control(
        "Rows", ["By year", "By month"], default="By year", required=True, key="roi_rows"
    )
    rows = flow.yearly_rows() if by == "By year" else flow.rows()
    table(rows, f"cash-flow-{by.lower().replace(' ', '-')}.csv", money_columns="rest")


def _month(month: int | None) -> str:
    return "—" if month is None else f"month {month}"


def show_labels(results: Results, currency: str) -> None:
    found = results.labels
    st.subheader("What more labels are worth before deciding", anchor=False, help=LABELS)
    st.write(plain(labels_text(results, currency)))
    detail = f"Knowing the uplift exactly would be worth {money(found.evpi, currency)} at most. "
    if found.known.sd > 0:
        detail += f"What is known of it today is worth about {found.known.worth_now:,.0f} labels"
        detail += (
            "; the doubt about the conversion stays whatever their number." if found.known.other_sd else "."
        )
    st.caption(plain(detail))
    if found.known.sd > 0:
        with st.grid(2, min_column_width=330):
            st.altair_chart(charts.label_chart(found, currency), width="stretch")
            st.altair_chart(charts.narrowing_chart(found), width="stretch")
    table(
        label_rows(found),
        "value-of-labels.csv",
        money_columns=("NPV ±", "Worth", "Cost", "Net"),
        **{"More labels": st.column_config.NumberColumn(format="localized")},
        **{"Uplift ± (points)": st.column_config.NumberColumn(format="%.2f")},
    )


def show_improvements(project: Project, scenario: Scenario, currency: str) -> None:
    found = improving.improvements(database(), me(), project.id, Prices.of(scenario))
    st.subheader("What each improvement cost", anchor=False)
    st.write(plain(improving.verdict(found)))
    if not any(item.prompt and item.before for item in found):
        st.caption(
            "When a prompt is promoted in the place of another champion, this shows the labels, machine time and "
            "money that went into it, and how often people prefer it to the one before."
        )
        st.page_link("prompts.py", label="Prompts", icon=":material/edit_note:")
        return
    prices = Prices.of(scenario)
    st.caption(
        plain(
            f"Priced by this scenario: an annotator's hour at {money(prices.annotator_hour, currency)}, a machine's at "
            f"{money(prices.machine_hour, currency)}. A point is one comparison of a hundred won more than lost; it is "
            "left out where the 95 % interval of the win rate has 50 %."
        )
    )
    if any(item.gain and item.gain.n_simulated for item in found):
        st.info("Some of the votes behind these gains are simulated.", icon=":material/science:")
    with st.grid(2, min_column_width=330):
        st.altair_chart(charts.improvement_gains(found), width="stretch")
        st.altair_chart(charts.improvement_costs(found, currency), width="stretch")
    rows = improving.rows(found)
    frame = pd.DataFrame(
        [
            {
                "When": f"{item.at:%d %b %Y}" if item.at else "",
                "Prompt": item.prompt or "since then",
                "Instead of": item.before,
                "Made by": item.made_by,
                "Win rate": percent(item.gain.value, item.gain.low, item.gain.high, item.gain.n)
                if item.gain
                else "—",
                "Cost": money(item.cost, currency),
                "Cost of a point": money(item.cost_per_point, currency),
                "Votes": item.votes,
                "Simulated": item.simulated,
                "Machine hours": number(item.machine_seconds / 3600),
                "Model calls": item.calls,
            }
            for item in found
        ]
    )
    st.dataframe(frame, hide_index=True, width="stretch")
    st.download_button(
        "Download as CSV",
        csv_of(pd.DataFrame(rows)),
        file_name="cost-per-improvement.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="roi_csv_improvements",
    )


def show_compare(
    project: Project, plans: list[Listed], mine: Results, name: str, dirty: bool, currency: str
) -> None:
    """The scenario in hand, as it is being edited, beside saved ones."""
    others = {plan.plan_id: plan.name for plan in plans}
    if len(plans) < 2 and not dirty:
        st.write(
            "There is one scenario. Duplicate it (above), change what you doubt, and compare the two here."
        )
        return
    here = next((plan.plan_id for plan in plans if plan.name == name), None)
    ready = [key for key in others if key != here] + ([here] if here and dirty else [])
    chosen = st.multiselect(
        "Compare with",
        ready,
        default=ready[:1],
        format_func=lambda key: others[key] + (" (as saved)" if key == here else ""),
        max_selections=3,
        key=f"roi_compare_{project.id}_{here}",
    )
    if not chosen:
        st.caption("Choose one scenario or more.")
        return
    label = f"{name} (with your changes)" if dirty else name
    scenarios = {label: mine.scenario}
    for key in chosen:
        title = others[key] if others[key] not in scenarios else f"{others[key]} (as saved)"
        scenarios[title] = documents.load(database(), me(), project.id, Scenario, key).body
    computed = {title: compute(body) for title, body in scenarios.items()}
    for title, item in computed.items():
        st.markdown(f"**{plain(title)}**: {plain(answer(item, currency))}")
    simulations = {title: item.simulation for title, item in computed.items()}
    st.altair_chart(charts.overlay(simulations, currency), width="stretch")
    st.caption("Median cumulative cash flow of each, with its middle 80 %; both on the same random draws.")
    st.subheader("Inputs that differ", anchor=False)
    rows = compare.input_differences(scenarios, currency)
    if rows:
        table(rows, "scenario-inputs.csv")
    else:
        st.caption("None: the scenarios say the same.")
    st.subheader("Results", anchor=False)
    table(compare.result_differences(computed, currency), "scenario-results.csv")


def show_history(saved: Saved[Scenario], project: Project, currency: str) -> Saved[Scenario] | None:
    """Who saved what when, and what it changed; answers the version to go back to, if asked."""
    versions = documents.history(database(), me(), project.id, Scenario, saved.plan_id)
    st.dataframe(
        pd.DataFrame(
            [
                {"Version": item.number, "When": pd.Timestamp(item.at), "By": item.author, "Note": item.note}
                for item in versions
            ]
        ),
        hide_index=True,
        width="stretch",
        column_config={"When": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm")},
    )
    if len(versions) < 2:
        st.caption("What a version changed is shown here from the second one on.")
        return None
    numbers = [item.number for item in versions]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        later = st.selectbox("Version", numbers[:-1], key=f"roi_later_{saved.plan_id}", width=140)
        earlier = st.selectbox(
            "against",
            [n for n in numbers if n < later],
            key=f"roi_earlier_{saved.plan_id}_{later}",
            width=140,
        )
    by_number = {item.number: item for item in versions}
    before, after = by_number[earlier], by_number[later]
    rows = compare.changes(before.body, after.body, currency)
    if rows:
        table(rows, "version-differences.csv")
    else:
        st.caption("Nothing that the result rests on differs.")
    figure = [
        {
            "Figure": a["Figure"],
            f"Version {earlier}": figure_text(a, currency),
            f"Version {later}": figure_text(b, currency),
        }
        for a, b in zip(summary_rows(compute(before.body)), summary_rows(compute(after.body)), strict=True)
        if a["Figure"].startswith(("Net present value, P", "Chance of a loss", "Break-even"))
    ]
    st.dataframe(pd.DataFrame(figure), hide_index=True, width="stretch")
    if st.button(f"Go back to version {earlier}", icon=":material/history:", key="roi_back"):
        return before
    return None
