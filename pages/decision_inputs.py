"""What a lead can change about a decision: weights, scores, needs, factors and
alternatives; and the evidence, to read."""

from typing import Any

import pandas as pd
import streamlit as st

from core.errors import Invalid
from core.planning.decision import tables
from core.planning.decision.ahp import ACCEPTABLE, words
from core.planning.decision.evidence import ACCESS_WORDS
from core.planning.decision.model import Alternative, Comparison, Decision, Factor, Score
from core.planning.decision.results import Result
from core.planning.documents import checked
from pages.decision_saving import keep
from pages.shared import csv_of, plain, problems

STEPS = [*(1 / k for k in range(9, 1, -1)), *map(float, range(1, 10))]
SAATY = {1: "equally", 3: "moderately more", 5: "strongly more", 7: "very strongly more", 9: "extremely more"}
READABLE = ["not needed", "preferred", "required"]
ORIGINS = {"overridden": "your score", "measured": "from measurements", "judgement": "judgement"}


def show_inputs(project_id: str, result: Result, editable: bool) -> None:
    st.subheader("What it is made from", anchor=False)
    if not editable:
        st.caption("You can look at everything here; a lead or an admin changes it.")
    turn = st.session_state.get(f"decision_round_{project_id}", 0)
    key = f"{project_id}_{turn}"
    matrix, weights, needs, parts, evidence = st.tabs(
        ["Matrix", "Weights", "Needs and test", "Factors and alternatives", "Evidence"]
    )
    with matrix:
        show_matrix(project_id, result, editable, key)
    with weights:
        show_weights(project_id, result, editable, key)
    with needs:
        show_needs(project_id, result, editable, key)
    with parts:
        show_parts(project_id, result, editable, key)
    with evidence:
        show_evidence(result)


def change(project_id: str, result: Result, **values: Any) -> None:
    """Go on with another body, or say which field is wrong."""
    body = result.body.model_dump(mode="json")
    keep(project_id, checked(Decision, body | values))


# --- the matrix ------------------------------------------------------------------------------


def show_matrix(project_id: str, result: Result, editable: bool, key: str) -> None:
    body = result.body
    wide = pd.DataFrame(
        [[float(x) for x in row] for row in result.scores],
        index=pd.Index([a.title for a in body.alternatives], name="Alternative"),
        columns=[f.title for f in body.factors],
    )
    st.dataframe(
        wide,
        width="stretch",
        column_config={
            f.title: st.column_config.ProgressColumn(
                format="%.1f", min_value=0, max_value=10, help=plain(f.about) or None
            )
            for f in body.factors
        },
    )
    rows = tables.matrix_rows(result)
    st.download_button(
        "Download as CSV", csv_of(pd.DataFrame(rows)), file_name="matrix.csv", mime="text/csv",
        icon=":material/download:", on_click="ignore", key=f"csv_matrix_{project_id}",
    )  # fmt: skip
    titles = {f.key: f.title for f in body.factors}
    chosen = st.selectbox(
        "Scores and reasons for", list(titles), format_func=titles.__getitem__, key=f"factor_{project_id}"
    )
    with st.form(f"scores_{chosen}_{key}"):
        edited = [_cell(result, alternative, chosen, editable, key) for alternative in body.alternatives]
        press = st.form_submit_button(
            "Apply these scores", icon=":material/check:", disabled=not editable, type="primary"
        )
    if press and editable:
        with problems():
            others = [s.model_dump(mode="json") for s in body.scores if s.factor != chosen]
            change(project_id, result, scores=others + [s.model_dump(mode="json") for s in edited])


def _cell(result: Result, alternative: Alternative, factor: str, editable: bool, key: str) -> Score:
    """One row: the score, where it comes from, its reason; answers the score as it is now."""
    there = result.body.score(alternative.key, factor)
    assert there is not None  # a result has every cell
    proposal = result.proposals[alternative.key, factor]
    overridden = there.origin == "overridden"
    left, right = st.columns([1.1, 3], vertical_alignment="top")
    with left:
        value = st.number_input(
            plain(alternative.title), 0.0, 10.0, float(there.value), 0.5, format="%.1f",
            disabled=not editable, key=f"score_{alternative.key}_{factor}_{key}",
        )  # fmt: skip
    with right:
        origin = ORIGINS[tables.origin(result, alternative.key, factor)]
        st.caption(f"{origin} · proposed {proposal.value:.1f}: {plain(proposal.reason)}")
        reason = ""
        if overridden or editable:
            reason = st.text_input(
                f"Reason for another score for {alternative.title}",
                there.reason if overridden else "",
                placeholder="Why you score it otherwise",
                label_visibility="collapsed",
                max_chars=300,
                disabled=not editable,
                key=f"reason_{alternative.key}_{factor}_{key}",
            )
    if value == proposal.value and not reason.strip():
        return there.model_copy(
            update={"value": proposal.value, "origin": "proposed", "reason": proposal.reason[:600]}
        )
    if not overridden and value == there.value:
        return there
    return there.model_copy(
        update={"value": value, "origin": "overridden", "reason": reason, "proposed": proposal.value}
    )


# --- weights ---------------------------------------------------------------------------------


def show_weights(project_id: str, result: Result, editable: bool, key: str) -> None:
    body = result.body
    kinds = {"sliders": "Sliders", "pairwise": "Pairwise comparison"}
    kind = st.segmented_control(
        "Weights by", list(kinds), default=body.weighting, format_func=kinds.__getitem__, required=True,
        disabled=not editable, key=f"weighting_{key}",
    )  # fmt: skip
    if kind == "sliders":
        _sliders(project_id, result, editable, key)
    else:
        _pairwise(project_id, result, editable, key)
    table = pd.DataFrame(tables.weight_rows(result))
    for name in ("Weight", "Down to", "Up to", "TOPSIS: down to", "TOPSIS: up to"):
        table[name] = [f"{100 * x:.0f} %" if pd.notna(x) else "—" for x in table[name]]
    st.dataframe(table, hide_index=True, width="stretch")
    st.caption(
        "Down to, up to: the shares at which another alternative takes the lead, the others keeping their "
        "proportions. A dash: none does."
    )


def _sliders(project_id: str, result: Result, editable: bool, key: str) -> None:
    with st.form(f"sliders_{key}"):
        with st.grid(2, min_column_width=280):
            values = [
                st.slider(
                    plain(factor.title), 0, 100, round(factor.weight), disabled=not editable,
                    help=plain(factor.about) or None, key=f"weight_{factor.key}_{key}",
                )
                for factor in result.body.factors
            ]  # fmt: skip
        st.caption("Only the proportions count: weights are shown below as shares of their sum.")
        if st.form_submit_button(
            "Apply these weights", type="primary", icon=":material/check:", disabled=not editable
        ):
            with problems():
                factors = [
                    f.model_dump(mode="json") | {"weight": value}
                    for f, value in zip(result.body.factors, values, strict=True)
                ]
                change(project_id, result, factors=factors, weighting="sliders")


def _pairwise(project_id: str, result: Result, editable: bool, key: str) -> None:
    body = result.body
    if result.priorities is not None:
        _consistency(project_id, result, editable)
    said = {(c.a, c.b): c.value for c in body.comparisons}
    said |= {(b, a): 1 / value for (a, b), value in said.items()}
    with st.form(f"pairwise_{key}"):
        st.caption("How much more important is the left one than the right one? Saaty's scale; 1 is equally.")
        found: list[Comparison] = []
        with st.grid(2, min_column_width=320):
            for i, a in enumerate(body.factors):
                for b in body.factors[i + 1 :]:
                    value = min(STEPS, key=lambda step: abs(step - said.get((a.key, b.key), 1.0)))
                    chosen = st.select_slider(
                        f"{plain(a.title)} **against** {plain(b.title)}", STEPS[::-1], value, format_func=_step,
                        disabled=not editable, key=f"pair_{a.key}_{b.key}_{key}",
                    )  # fmt: skip
                    found.append(Comparison(a=a.key, b=b.key, value=chosen))
        if st.form_submit_button(
            "Apply these comparisons", type="primary", icon=":material/check:", disabled=not editable
        ):
            with problems():
                change(
                    project_id, result, weighting="pairwise",
                    comparisons=[item.model_dump(mode="json") for item in found if item.value != 1],
                )  # fmt: skip


def _step(value: float) -> str:
    """`left 5`, `equal`, `right 3`"""
    if value == 1:
        return "equal"
    return f"left {value:.0f}" if value > 1 else f"right {1 / value:.0f}"


def _consistency(project_id: str, result: Result, editable: bool) -> None:
    found, body = result.priorities, result.body
    if found is None:
        return
    verdict = "consistent enough" if found.consistent else "not consistent"
    text = f"Consistency ratio {found.ratio:.3f}: {verdict} (Saaty asks for {ACCEPTABLE:g} at most)."
    suspect = found.suspect
    if suspect is None:
        st.success(text, icon=":material/check_circle:")
        return
    a, b = body.factors[suspect.row], body.factors[suspect.column]
    text += (
        f" It fits the others least: {a.title} against {b.title}, {words(suspect.said)} said, "
        f"{words(suspect.suggested)} would fit."
    )
    (st.success if found.consistent else st.warning)(plain(text), icon=":material/compare_arrows:")
    if suspect.suggested != suspect.said and st.button(
        f"Take {words(suspect.suggested)} for it", icon=":material/auto_fix_high:", disabled=not editable
    ):
        others = [c for c in body.comparisons if {c.a, c.b} != {a.key, b.key}]
        new = Comparison(a=a.key, b=b.key, value=suspect.suggested)
        with problems():
            change(project_id, result, comparisons=[c.model_dump(mode="json") for c in [*others, new]])


# --- needs and the plateau test --------------------------------------------------------------


def show_needs(project_id: str, result: Result, editable: bool, key: str) -> None:
    needs, test, found = result.body.needs, result.body.plateau, result.found
    off = not editable
    with st.form(f"needs_{key}"):
        with st.grid(2, min_column_width=280):
            desired = st.number_input(
                "Desired performance, %",
                1.0,
                100.0,
                100 * needs.desired,
                1.0,
                disabled=off,
                key=f"desired_{key}",
                help="Share of uses that should go well.",
                format="%.1f",
            )
            measured = found.current
            current = st.number_input(
                "Current performance, %",
                0.0,
                100.0,
                None if needs.current is None else 100.0 * needs.current.value,
                1.0,
                disabled=off,
                placeholder=f"{100 * measured.value:.1f}, measured (n {measured.n:,})"
                if measured
                else "not known",
                help="Left empty: what signals from production say of the champion, where there are any.",
                format="%.1f",
                key=f"current_{key}",
            )
            readable = st.segmented_control(
                "Readable prompts",
                READABLE,
                default=needs.interpretability,
                required=True,
                disabled=off,
                key=f"readable_{key}",
                help="Whether people must be able to read and change what steers the model.",
            )
            latency = st.number_input(
                "Longest median latency, ms",
                1.0,
                600_000.0,
                needs.max_latency_ms,
                100.0,
                disabled=off,
                placeholder="no limit",
                format="%.0f",
                key=f"latency_{key}",
            )
            hosts = ["", *(host.name for host in found.hosts)]
            host = st.selectbox(
                "Host the prompts will run on",
                hosts,
                disabled=off,
                key=f"host_{key}",
                index=hosts.index(needs.host) if needs.host in hosts else 0,
                format_func=lambda name: name or f"the one in use ({found.hosts[0].name})",
                help="What it gives decides which methods are possible. Prompts can be searched on another host.",
            )
        st.markdown("**Plateau test**")
        with st.grid(3, min_column_width=200):
            margin = st.number_input(
                "Margin, points",
                0.1,
                25.0,
                test.margin,
                0.5,
                disabled=off,
                key=f"margin_{key}",
                help="A gain of less than this over the last versions counts as a plateau.",
                format="%.1f",
            )
            versions = st.number_input(
                "Over the last versions", 1, 20, test.versions, disabled=off, key=f"versions_{key}"
            )
            alpha = st.number_input(
                "Level, %",
                0.1,
                49.0,
                100.0 * test.alpha,
                1.0,
                disabled=off,
                key=f"alpha_{key}",
                help="How often either verdict may be wrong.",
                format="%.1f",
            )
        press = st.form_submit_button("Apply", type="primary", icon=":material/check:", disabled=off)
    if press and editable:
        given = None
        if current is not None:
            given = {"value": current / 100, "origin": "overridden", "source": "given by hand"}
        with problems():
            change(
                project_id, result,
                needs={
                    "desired": desired / 100, "current": given, "interpretability": readable,
                    "max_latency_ms": latency, "host": host,
                },
                plateau={"margin": margin, "versions": versions, "alpha": alpha / 100},
            )  # fmt: skip


# --- factors and alternatives ----------------------------------------------------------------


def show_parts(project_id: str, result: Result, editable: bool, key: str) -> None:
    with st.grid(2, min_column_width=330):
        for what in ("factors", "alternatives"):
            with st.container(height="stretch"):
                _kept(project_id, result, what, editable, key)
                if editable:
                    _added(project_id, result, what, key)


def _kept(project_id: str, result: Result, what: str, editable: bool, key: str) -> None:
    items = getattr(result.body, what)
    st.markdown(f"**{what.capitalize()}**")
    lines = []
    for item in items:
        own = " · your own" if item.own else ""
        needs = f" Needs {ACCESS_WORDS[item.access]}." if isinstance(item, Alternative) else ""
        lines.append(f"- **{plain(item.title)}**{own} {plain(item.about)}{needs}")
    st.markdown("\n".join(lines))
    if not editable:
        return
    titles = {item.key: item.title for item in items}
    gone = st.multiselect(
        f"Leave out {what}", list(titles), format_func=titles.__getitem__, placeholder="none",
        key=f"gone_{what}_{key}",
    )  # fmt: skip
    if gone and st.button("Leave these out", icon=":material/remove:", key=f"drop_{what}_{key}"):
        body = result.body.model_dump(mode="json")
        left = [item.model_dump(mode="json") for item in items if item.key not in gone]
        one = "factor" if what == "factors" else "alternative"
        scores = [s for s in body["scores"] if s[one] not in gone]
        compared = [c for c in body["comparisons"] if not {c["a"], c["b"]} & set(gone)]
        with problems():
            change(project_id, result, **{what: left}, scores=scores, comparisons=compared)


def _added(project_id: str, result: Result, what: str, key: str) -> None:
    one = what[:-1]
    article = "a" if one == "factor" else "an"
    with st.expander(f"Add {article} {one}"), st.form(f"add_{what}_{key}", border=False):
        title = st.text_input("Name", max_chars=60, key=f"title_{what}_{key}")
        about = st.text_input("What it is about", max_chars=300, key=f"about_{what}_{key}")
        extra: dict[str, Any] = {}
        if what == "factors":
            extra["weight"] = st.slider("Weight", 0, 100, 20, key=f"new_weight_{key}")
        else:
            extra["access"] = st.selectbox(
                "Needs from the host",
                list(ACCESS_WORDS),
                format_func=ACCESS_WORDS.__getitem__,
                key=f"access_{key}",
            )
            extra["readable"] = st.checkbox("What it makes can be read", True, key=f"is_readable_{key}")
        press = st.form_submit_button(f"Add this {one}", icon=":material/add:")
    if press:
        with problems():
            if not title.strip():
                raise Invalid(f"{what}: the new {one} needs a name.")
            kind = Factor if what == "factors" else Alternative
            new = checked_part(kind, {"title": title, "about": about, "own": True, **extra})
            items = [item.model_dump(mode="json") for item in getattr(result.body, what)]
            change(project_id, result, **{what: [*items, new]})


def checked_part(kind: type[Factor] | type[Alternative], values: dict[str, Any]) -> dict[str, Any]:
    return kind(**values).model_dump(mode="json")


# --- evidence --------------------------------------------------------------------------------


def show_evidence(result: Result) -> None:
    rows = tables.evidence_rows(result.found)
    st.caption("What the project measured that bears on the choice. Proposed scores follow from it.")
    table = pd.DataFrame(rows)
    shown = table.assign(n=[f"{int(n):,}" if pd.notna(n) else "" for n in table["n"]])
    st.dataframe(
        shown,
        hide_index=True,
        width="stretch",
        column_config={
            "Value": st.column_config.TextColumn(width="medium"),
            "n": st.column_config.TextColumn(width="small"),
            "From": st.column_config.TextColumn("Where from, or what is missing", width="large"),
        },
    )
    st.download_button(
        "Download as CSV", csv_of(table), file_name="evidence.csv", mime="text/csv",
        icon=":material/download:", on_click="ignore", key="csv_evidence",
    )  # fmt: skip
