"""The gold pairs: the list, changing one, marking a pair of the project, importing a file."""

import pandas as pd
import streamlit as st

from core.annotation import gold
from core.annotation.gold import GoldPair
from core.annotation.gold_import import import_gold
from core.data import list_pairs, read_upload
from core.services import database
from pages.render import response_html
from pages.shared import csv_of, me, percent, problems
from storage.listing import PairRow
from storage.tables import Project

CHOICES = {"a": "Response A is better", "b": "Response B is better", "tie": "Tie", "both_bad": "Both bad"}
USES = {"training": "Training", "check": "Check"}
USES_HELP = (
    "Training pairs are judged before real ones, and their answer is told. Checks are mixed in unseen, and it "
    "is not: use a pair for one only."
)
RIGHT = "Answers as expected, of those given to it as a probe. A low share may mean that the pair is hard, or the answer wrong."
EXAMPLE = '{"input": "2 + 2?", "response_a": "4", "response_b": "5", "choice": "a", "explanation": "Sums."}'
MOST_FOUND = 50
PREVIEW = {
    "use": "Use",
    "expected": "Expected",
    "input": "Input",
    "response_a": "Response A",
    "response_b": "Response B",
    "explanation": "Why",
}
LONG = ("Input", "Response A", "Response B")


def show_pairs(project: Project, pairs: list[GoldPair], manage: bool) -> None:
    if not pairs:
        with st.container(border=True):
            st.subheader("There are no gold pairs yet.", anchor=False)
            st.write(
                "Take pairs whose answer nobody should doubt, easy and hard ones, and say why in a sentence: some for "
                "training, others as checks."
            )
        return
    shown = pd.DataFrame(
        [
            {
                "Use": USES[item.use],
                "Expected": CHOICES[item.choice],
                "Input": item.input,
                "Response A": item.response_a,
                "Response B": item.response_b,
                "Why": item.explanation,
                "Answered as expected": percent(
                    item.right / item.answered, item.low, item.high, item.answered
                )
                if item.answered
                else "—",
            }
            for item in pairs
        ]
    )
    event = st.dataframe(
        shown,
        hide_index=True,
        width="stretch",
        on_select="rerun",
        selection_mode="single-row",
        key=f"gold_pairs_{project.id}",
        column_config={
            **{name: st.column_config.TextColumn(width="medium") for name in LONG},
            "Answered as expected": st.column_config.TextColumn(help=RIGHT),
        },
    )
    chosen = event["selection"]["rows"] if event else []
    if chosen and chosen[0] < len(pairs):
        _show_one(project, pairs[chosen[0]], manage)
    else:
        st.caption("Select a row to read the pair" + (", to change it or to retire it." if manage else "."))
    st.download_button(
        "Download as CSV",
        csv_of(shown),
        file_name="gold.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _texts(text: str, response_a: str, response_b: str) -> None:
    with st.container(border=True):
        st.html(response_html(text))
    for column, name, response in zip(st.columns(2), "AB", (response_a, response_b), strict=True):
        with column, st.container(border=True, height="stretch"):
            st.caption(f"Response {name}")
            st.html(response_html(response) or "<p>(empty)</p>")


def _show_one(project: Project, item: GoldPair, manage: bool) -> None:
    _texts(item.input, item.response_a, item.response_b)
    if not manage:
        return
    with st.form(f"gold_{item.id}", enter_to_submit=False):
        use, choice, why = _fields(item.use, item.choice, item.explanation, item.id)
        if st.form_submit_button("Save", icon=":material/save:"):
            with problems():
                gold.change(database(), me(), project.id, item.id, use=use, choice=choice, explanation=why)
                _said("Saved. Answers that were given keep what was expected then.")
    if st.button("Retire this gold pair", icon=":material/archive:"):
        with problems():
            opened = gold.retire(database(), me(), project.id, item.id)
            _said(
                "Retired: it is given to nobody any more."
                + (f" It waits for {opened} ordinary votes again." if opened else "")
            )


def _fields(use: str, choice: str, why: str, key: str) -> tuple[str, str, str]:
    left, right = st.columns(2)
    with left:
        use = st.segmented_control(
            "Use", list(USES), default=use, format_func=USES.__getitem__, required=True, help=USES_HELP,
            key=f"use_{key}",
        )  # fmt: skip
    with right:
        choice = st.selectbox(
            "Expected", list(CHOICES), list(CHOICES).index(choice), format_func=CHOICES.__getitem__,
            key=f"choice_{key}",
        )  # fmt: skip
    why = st.text_area(
        "Why", why, max_chars=gold.MAX_EXPLANATION, height=90, key=f"why_{key}",
        help="Shown after a training pair, which stands as here: A on the left. Markdown.",
    )  # fmt: skip
    return use, choice, why


def show_adding(project: Project, some: bool) -> None:
    with st.expander("Mark a pair of this project", icon=":material/add_circle:", expanded=not some):
        _show_marking(project)
    with st.expander("Import gold pairs from a file", icon=":material/upload_file:"):
        _show_import(project)


def _show_marking(project: Project) -> None:
    search = st.text_input(
        "Find a pair", placeholder="Words of the input or of a response", key="gold_search"
    )
    found = list_pairs(database(), me(), project.id, search, limit=MOST_FOUND)
    rows: list[PairRow] = found.rows
    if not rows:
        st.write("No pair of this project has these words." if search else "This project has no pairs yet.")
        return
    event = st.dataframe(
        pd.DataFrame(
            [
                {
                    "Input": row.input,
                    "Response A": row.response_a,
                    "Response B": row.response_b,
                    "Votes": _tally(row),
                }
                for row in rows
            ]
        ),
        hide_index=True,
        width="stretch",
        height=260,
        on_select="rerun",
        selection_mode="single-row",
        key=f"gold_candidates_{project.id}",
        column_config={name: st.column_config.TextColumn(width="medium") for name in LONG},
    )
    if found.total > len(rows):
        st.caption(f"{len(rows)} of {found.total:,} pairs; search to find others.")
    chosen = event["selection"]["rows"] if event else []
    if not chosen or chosen[0] >= len(rows):
        st.caption("Select a row, and say what is expected.")
        return
    row = rows[chosen[0]]
    _texts(row.input, row.response_a, row.response_b)
    with st.form(f"gold_mark_{row.id}", enter_to_submit=False):
        use, choice, why = _fields("check", "a", "", row.id)
        st.caption(
            "It waits for ordinary votes no more, also where it lies on somebody's desk just now. "
            "Votes that were cast on it stay, and count."
        )
        if st.form_submit_button("Mark as gold", type="primary", icon=":material/workspace_premium:"):
            with problems():
                made = gold.mark(database(), me(), project.id, row.id, use, choice, why)
                taken = f", {made.taken} of them taken from a desk" if made.taken else ""
                _said(f"Marked. {made.closed} open slots were closed{taken}.")


def _tally(row: PairRow) -> str:
    found = row.tally
    parts = ((found.a_wins, "A"), (found.b_wins, "B"), (found.ties, "tie"), (found.both_bad, "both bad"))
    return " · ".join(f"{number} {name}" for number, name in parts if number) or "none"


def _show_import(project: Project) -> None:
    st.write(
        "CSV, JSON, JSON Lines or Parquet with the columns `input`, `response_a`, `response_b`, `choice` (a, b, tie, "
        "both_bad) and, if you like, `explanation` and `use` (training, check)."
    )
    st.code(EXAMPLE, language="json", wrap_lines=True)
    use = st.segmented_control(
        "Use, where a row does not say", list(USES), default="check", format_func=USES.__getitem__, required=True,
        key=f"gold_import_use_{project.id}", help=USES_HELP,
    )  # fmt: skip
    times = st.session_state.get("gold_imports", 0)  # another key: an empty uploader again
    file = st.file_uploader(
        "File", ["csv", "tsv", "json", "jsonl", "parquet"], key=f"gold_file_{project.id}_{times}"
    )
    if file is None:
        return
    with problems():
        table = read_upload(file.name, file.getvalue())
        tried = import_gold(database(), me(), project.id, table.rows, use, dry_run=True)
        left_out = [(table.numbers[row], reason) for row, reason in tried.skipped] + list(table.broken)
        st.write(f"**{tried.imported:,}** gold pairs can be taken; {len(left_out):,} rows cannot.")
        if tried.preview:
            preview = pd.DataFrame(tried.preview).rename(columns=PREVIEW)
            preview["Use"], preview["Expected"] = preview["Use"].map(USES), preview["Expected"].map(CHOICES)
            st.dataframe(
                preview,
                hide_index=True,
                width="stretch",
                column_config={name: st.column_config.TextColumn(width="medium") for name in LONG},
            )
        if left_out:
            st.dataframe(
                pd.DataFrame(sorted(left_out), columns=[table.unit.capitalize(), "Why not"]),
                hide_index=True,
                width="stretch",
            )
        if st.button(
            f"Import {tried.imported:,} gold pairs", type="primary", icon=":material/upload:",
            disabled=not tried.imported,
        ):  # fmt: skip
            done = import_gold(database(), me(), project.id, table.rows, use)
            st.session_state["gold_imports"] = times + 1
            _said(f"{done.imported:,} gold pairs imported; {done.duplicates:,} were there already.")


def _said(text: str) -> None:
    st.session_state["gold_said"] = text
    st.rerun()
