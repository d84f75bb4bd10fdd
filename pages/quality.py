"""How far the judgements can be trusted, who cast them, and what to do about it."""

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.annotation.aggregation import METHODS, set_method
from core.annotation.agreement import Measure
from core.annotation.detail import AT_ONCE, Detail, detail
from core.annotation.quality import quality
from core.annotation.verdict import verdict
from core.services import database
from pages.quality_people import GOLD, LEFT, SAME, show_annotators, show_left_out, show_suspects
from pages.shared import duration, empty, header, may, me, number, percent, problems
from storage.tables import Project

KINDS = {"exclude": "People", "only": "Simulated", "include": "Both"}
MOST_SHOWN = 30
ALPHA = (
    "Krippendorff's alpha, nominal, on who won, tie, or both bad: 1 is perfect agreement, 0 what chance gives. "
    "Krippendorff asks for 0.8, and 0.667 for tentative conclusions; preferences between close responses are "
    "often far below. Interval: bootstrap over pairs."
)
LONGER = (
    "How often the longer response won, of decisive votes between responses of different length. Longer may be "
    "better: the leaderboard with style held fixed tells them apart. Interval over pairs."
)
WAYS = {"majority": "Majority", "skill": "Weighted by skill", "bradley_terry": "Drawn to the ratings"}
WAYS_HELP = {
    "majority": "Every vote counts the same: the label is the share of votes.",
    "skill": "Votes count by their annotator's skill: who clicks at random has next to no say.",
    "bradley_terry": "Few votes on a pair are drawn towards what the prompts' ratings expect.",
}
GROUPS = {
    "criterion": "By criterion",
    "prompts": "By prompts compared",
    "source": "By source",
    "week": "By week",
}
ICONS = {
    "good": (st.success, ":material/verified:"),
    "usable": (st.success, ":material/check:"),
    "weak": (st.warning, ":material/warning:"),
    "unknown": (st.info, ":material/help:"),
}


def choose_kind(project_id: str, found: dict[str, Any]) -> dict[str, Any]:
    """Let the reader choose whose votes count, where there are both kinds."""
    people, machine = found["all_human_votes"], found["all_simulated_votes"]
    if not machine:
        return found
    counts = {"exclude": people, "only": machine, "include": people + machine}
    kind = st.segmented_control(
        "Votes of",
        list(KINDS),
        default=found["simulated"],
        format_func=lambda item: f"{KINDS[item]} ({counts[item]:,})",
        required=True,
        key=f"quality_kind_{project_id}",
    )
    return found if kind == found["simulated"] else quality(database(), me(), project_id, simulated=kind)


def detail_of(project: Project, found: dict[str, Any]) -> Detail | None:
    """What needs every vote: at once where that is quick, else when asked for."""
    key = f"detail_{project.id}_{found['simulated']}"
    if not found["votes"]:
        return None
    if found["votes"] > AT_ONCE and not st.session_state.get(key):
        minutes = duration(5 + 50 * found["votes"] / 1_000_000)
        if not st.button(
            f"Compute skill and tests of annotators (about {minutes})", icon=":material/calculate:"
        ):
            return None
        st.session_state[key] = True
    with st.spinner("Reading every vote …"):
        return detail(database(), me(), project.id, simulated=found["simulated"])


def show_answer(found: dict[str, Any], known: Detail | None) -> None:
    """Is the data good enough, and what to do."""
    if found["simulated_votes"]:
        st.info(
            f"{found['simulated_votes']:,} of the {found['votes']:,} votes counted here are simulated.",
            icon=":material/science:",
        )
    if found["machine_votes"]:
        st.info(
            f"{found['machine_votes']:,} of the {found['votes']:,} votes counted here are by machine judges, which "
            "a lead has taken in (page Machine judges).",
            icon=":material/gavel:",
        )
    said = verdict(found, known)
    show, icon = ICONS[said.level]
    show(f"**{said.answer}**" + "".join(f"\n- {line}" for line in said.todo), icon=icon)
    if found["left_low"] is not None and not found["left_low"] <= 0.5 <= found["left_high"]:
        side = "left" if found["left_share"] > 0.5 else "right"
        text = percent(found["left_share"], found["left_low"], found["left_high"], found["decisive"])
        st.warning(
            f"Annotators lean to the {side}: {text} of decisive votes go to the left response. Where sides are "
            "drawn by lot, as on the annotate page, this adds noise to ratings but favours no prompt.",
            icon=":material/compare_arrows:",
        )


def show_figures(found: dict[str, Any]) -> None:
    alpha = number(found["alpha_nominal"], found["alpha_low"], found["alpha_high"], found["pairs_shared"])
    left = percent(found["left_share"], found["left_low"], found["left_high"], found["decisive"])
    longer = percent(found["longer_share"], found["longer_low"], found["longer_high"], found["sized"])
    ties = percent(found["tie_share"], found["tie_low"], found["tie_high"], found["votes"])
    bad = percent(found["both_bad_share"], found["both_bad_low"], found["both_bad_high"], found["votes"])
    fast = percent(
        found["too_fast_share"], found["too_fast_low"], found["too_fast_high"], found["timed_votes"]
    )
    median = found["median_duration_ms"]
    by = f"by {found['annotators']:,} on {found['pairs_voted']:,} pairs"
    cards = [
        ("Votes", f"{found['votes']:,}", by, None),
        ("Agreement", number(found["alpha_nominal"]), interval(alpha, "pairs with two votes"), ALPHA),
        ("Left share", percent(found["left_share"]), interval(left, "decisive"), LEFT),
        ("Longer wins", percent(found["longer_share"]), interval(longer, "decisive"), LONGER),
        ("Ties", percent(found["tie_share"]), interval(ties, "votes"), "Votes that chose neither."),
        ("Both bad", percent(found["both_bad_share"]), interval(bad, "votes"), "Votes that refused both."),
        (
            "Median time",
            duration(median / 1000) if median is not None else "—",
            f"n {found['timed_votes']:,} votes with a time",
            "From the moment a pair is shown to the vote.",
        ),
        (
            "Too fast",
            percent(found["too_fast_share"]),
            interval(fast, "votes with a time"),
            "Votes faster than 700 words a minute (six characters a word): too fast to have read both responses.",
        ),
    ]
    checks = [
        (
            name,
            percent(found[f"{key}_share"]),
            interval(
                percent(*(found[f"{key}_{part}"] for part in ("share", "low", "high", "n"))), f"{key} answers"
            ),
            about,
        )
        for name, key, about in (
            ("Gold checks right", "gold", GOLD),
            ("Same on hidden repeats", "repeat", SAME),
        )
        if found["gold_n"] or found["repeat_n"]
    ]
    for row in filter(None, (cards[:4], cards[4:], checks)):
        for column, (name, value, caption, help_text) in zip(st.columns(4), row, strict=False):
            with column, st.container(border=True, height="stretch"):
                st.metric(name, value, help=help_text)
                st.caption(caption)


def show_adjudicated(found: dict[str, Any]) -> None:
    """What adjudicators decided; their votes are in none of the other figures of this page."""
    if not found["adjudicated"]:
        return
    n = found["adjudicated"]
    text = f"**{n:,}** {'pair was' if n == 1 else 'pairs were'} decided by an adjudicator. "
    if found["adjudicated_compared"]:
        agreed = percent(
            found["adjudicator_agreed"], found["adjudicator_agreed_low"], found["adjudicator_agreed_high"],
            found["adjudicated_compared"],
        )  # fmt: skip
        text += (
            f"Where the others had a majority and the adjudicator chose one, they sided with it in {agreed}. "
        )
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(
            text
            + "Adjudicators see the reasons of others, so their votes are left out of this page's figures.",
            width="stretch",
        )
        st.page_link("assignment.py", label="Assignment", icon=":material/arrow_forward:")


def interval(text: str, of: str) -> str:
    """The bracket of `61 % (57 to 65, n 512)`, as a caption: `57 to 65 · n 512 votes`."""
    if "(" not in text:
        return "nothing to compute it from yet"
    inside = text.split("(", 1)[1].rstrip(")")
    return f"95 %: {inside.replace(', n ', ' · n ')} {of}"


def show_agreement(found: dict[str, Any], known: Detail) -> None:
    """Every coefficient, and where people agree and where they do not."""
    rows = [
        ("Krippendorff's alpha, who won", "alpha_nominal", "alpha_low", "alpha_high", found["pairs_shared"]),
        ("Krippendorff's alpha, signed strength (ordinal)", "alpha_ordinal", "alpha_ordinal_low",
         "alpha_ordinal_high", found["alpha_ordinal_n"]),
        ("Fleiss' kappa", "fleiss_kappa", "fleiss_kappa_low", "fleiss_kappa_high", found["fleiss_kappa_n"]),
        ("Raw agreement of two votes", "raw_agreement", "raw_agreement_low", "raw_agreement_high",
         found["raw_agreement_n"]),
    ]  # fmt: skip
    table = [
        {"Measure": name, "Value (95 %)": number(found[key], found[low], found[high]), "n": f"{n:,} pairs"}
        for name, key, low, high, n in rows
    ]
    cohen = known.cohen
    table.append(
        {
            "Measure": "Cohen's kappa, mean over couples of annotators",
            "Value (95 %)": number(cohen.value, cohen.low, cohen.high),
            "n": f"{cohen.couples:,} {'couple' if cohen.couples == 1 else 'couples'} with ten shared pairs or more",
        }
    )
    st.dataframe(pd.DataFrame(table), hide_index=True, width="stretch")
    there = [key for key in GROUPS if any(group.of == key for group in known.groups)]
    if not there:
        return
    of = st.segmented_control(
        "Alpha", there, default=there[0], format_func=GROUPS.__getitem__, required=True, key="agreement_by"
    )
    shown = [group for group in known.groups if group.of == of and group.alpha.value is not None]
    if not shown:
        st.write("No two votes can be compared there yet.")
        return
    st.altair_chart(_alphas([(group.name, group.alpha) for group in shown][:MOST_SHOWN], of == "week"))


def _alphas(items: list[tuple[str, Measure]], in_order: bool) -> alt.LayerChart:
    data = pd.DataFrame(
        [{"name": name, "value": m.value, "low": m.low, "high": m.high, "n": m.n} for name, m in items]
    )
    if not in_order:
        data = data.sort_values("value", ascending=False)
    base = alt.Chart(data).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=260, labelOverlap=False)),
        tooltip=["name", alt.Tooltip("value", format=".3f"), alt.Tooltip("low", format=".3f"),
                 alt.Tooltip("high", format=".3f"), alt.Tooltip("n", title="pairs")],
    )  # fmt: skip
    scale, axis = alt.Scale(zero=True), alt.Axis(orient="top", tickCount=8)
    return alt.layer(
        base.mark_bar(size=5, opacity=0.4, cornerRadius=2).encode(
            x=alt.X("low:Q", scale=scale, axis=axis, title="Alpha, with its 95 % interval"), x2="high:Q"
        ),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=alt.X("value:Q", scale=scale)),
    ).properties(height=80 + 24 * len(data))


def show_aggregation(project: Project, found: dict[str, Any], known: Detail) -> None:
    """How votes become labels, and what each way changes."""
    st.write(
        "Training a reward model reads one soft label a pair. This is how the votes on a pair become it."
    )
    now = found["aggregation"]
    way = st.radio(
        "Votes add up by", METHODS, index=METHODS.index(now), format_func=WAYS.__getitem__,
        captions=[WAYS_HELP[key] for key in METHODS], disabled=not may("annotator.manage"),
        key=f"way_{project.id}",
    )  # fmt: skip
    if way != now:
        with problems():
            set_method(database(), me(), project.id, way)
            st.rerun()
    table = pd.DataFrame(
        [
            {
                "Way": WAYS[item.method] + (" (chosen)" if item.method == now else ""),
                "Pairs": item.pairs,
                "Prefer one": item.decided,
                "Flipped": item.flipped,
                "Settled": item.settled,
                "Undone": item.undone,
                "Labels move by": f"{100 * item.moved:.1f} points",
            }
            for item in known.effects
        ]
    )
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        column_config={
            "Flipped": st.column_config.NumberColumn(
                help="Pairs that prefer the other response than by majority"
            ),
            "Settled": st.column_config.NumberColumn(
                help="Pairs that prefer one, where the majority is even"
            ),
            "Undone": st.column_config.NumberColumn(
                help="Pairs that are even, where the majority prefers one"
            ),
            "Labels move by": st.column_config.TextColumn(
                help="Mean change of the label from the share of votes"
            ),
        },
    )


def intervals(
    items: list[dict[str, Any]], value: str, low: str, high: str, n: str, middle: float | None
) -> alt.LayerChart:
    """A point and its interval for each annotator, on a scale from 0 to 1."""
    data = pd.DataFrame(
        [{"name": i["name"], "value": i[value], "low": i[low], "high": i[high], "n": i[n]} for i in items]
    )
    scale, axis = alt.Scale(domain=[0, 1]), alt.Axis(format=".0%", orient="top")
    base = alt.Chart(data).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=140, labelOverlap=False)),
        tooltip=[
            alt.Tooltip("name", title="Annotator"),
            alt.Tooltip("value", title="Share", format=".1%"),
            alt.Tooltip("low", title="95 % from", format=".1%"),
            alt.Tooltip("high", title="95 % to", format=".1%"),
            alt.Tooltip("n"),
        ],
    )
    layers = [
        base.mark_bar(size=5, opacity=0.4, cornerRadius=2).encode(
            x=alt.X("low:Q", scale=scale, axis=axis, title=None), x2="high:Q"
        ),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=alt.X("value:Q", scale=scale)),
    ]
    if middle is not None:
        layers.append(
            alt.Chart(pd.DataFrame({"x": [middle]}))
            .mark_rule(strokeDash=[4, 4], color="#888888")
            .encode(x="x:Q")
        )
    return alt.layer(*layers).properties(height=60 + 22 * len(data))  # 60: the axis


def show_bias(found: dict[str, Any]) -> None:
    """Pull to the left and to length, and agreement, of each annotator."""
    judges = found["per_annotator"]
    charts = [
        ("Left share", "left", "decisive", 0.5),
        ("The longer response wins", "longer", "sized", 0.5),
        ("Agreement with others", "agreement", "compared", None),
    ]
    for column, (title, name, n, middle) in zip(st.columns(3), charts, strict=True):
        value = name if name == "agreement" else f"{name}_share"
        items = [item for item in judges if item[value] is not None][:MOST_SHOWN]
        most = f" · the {MOST_SHOWN} with most votes" if len(items) == MOST_SHOWN else ""
        with column:
            st.caption(f"{title}, with its 95 % interval{most}")
            if items:
                st.altair_chart(intervals(items, value, f"{name}_low", f"{name}_high", n, middle))
            else:
                st.write("Nothing to compute it from yet.")
    judged = [item for item in judges if item["left_low"] is not None and item["decisive"] >= 10]
    pulled = [item for item in judged if not item["left_low"] <= 0.5 <= item["left_high"]]
    if pulled:
        st.caption(
            f"{len(pulled)} of {len(judged)} annotators with ten decisive votes or more have an interval of the left "
            f"share without 50 %; chance alone would give about {0.05 * len(judged):.1f}."
        )


def show_days(found: dict[str, Any]) -> None:
    data = pd.DataFrame(
        [
            {
                "Day": item["day"],
                "Votes": item["votes"],
                "By": "simulation" if item["simulated"] else "people",
            }
            for item in found["per_day"]
        ]
    )
    chart = (
        alt.Chart(data)
        .mark_bar(size=14)
        .encode(
            x=alt.X("Day:O", title=None, axis=alt.Axis(labelAngle=-45, labelOverlap=True)),
            y=alt.Y("Votes:Q", title="Votes", axis=alt.Axis(tickMinStep=1)),
            color=alt.Color("By:N", legend=alt.Legend(title=None, orient="top")),
            tooltip=["Day", "By", "Votes"],
        )
        .properties(height=260)
    )
    st.altair_chart(chart, width="stretch")


def show_tabs(project: Project, found: dict[str, Any], known: Detail | None) -> None:
    agreement, bias, labels, days = st.tabs(["Agreement", "Bias", "Votes as labels", "Votes a day"])
    with agreement:
        if known:
            show_agreement(found, known)
        else:
            st.write("Press the button above: this reads every vote.")
    with bias:
        show_bias(found)
    with labels:
        if known:
            show_aggregation(project, found, known)
        else:
            st.write("Press the button above: this reads every vote.")
    with days:
        show_days(found)


if said := st.session_state.pop("quality_said", ""):
    st.toast(said, icon=":material/swap_horiz:")
project = header("Quality")
with problems():
    figures = quality(database(), me(), project.id)
    if not figures["all_human_votes"] + figures["all_simulated_votes"]:
        if figures["left_out"]:
            st.info("Every vote of this project is left out.", icon=":material/person_off:")
            show_left_out(project, figures)
        else:
            empty(
                "There are no votes yet.",
                "Agreement needs pairs that two people have judged: set two votes per pair or more in the settings.",
                "annotate.py",
                "Annotate",
            )
    else:
        figures = choose_kind(project.id, figures)
        top = st.container()
        models = detail_of(project, figures)
        with top:
            show_answer(figures, models)
        show_figures(figures)
        show_adjudicated(figures)
        if figures["slots"]:
            voted = f"{figures['slots_voted']:,} of {figures['slots']:,} votes that were asked for"
            st.progress(
                figures["slots_voted"] / figures["slots"], text=f"{voted} · {figures['skips']:,} skips"
            )
        if models:
            show_suspects(models)
        show_annotators(project, figures, models)
        show_left_out(project, figures)
        show_tabs(project, figures, models)
