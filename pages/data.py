"""Data: the project's examples and pairs, import and export."""

import json
from typing import Any

import pandas as pd
import streamlit as st

from core import data
from core.services import database
from pages.data_export import show_export
from pages.data_import import show_import
from pages.render import response_html
from pages.shared import ago, empty, header, may, me, problems
from storage.listing import Counts, PairRow
from storage.tables import Example, Project

PER_PAGE = 50
SPLITS = ("train", "dev", "test")
STATES = {"all": "All", "waiting": "Waiting for votes", "judged": "With votes"}


def show_examples(project: Project, counts: Counts) -> None:
    if not counts.examples:
        nothing_yet("There are no examples yet.", "Examples are the inputs that prompts answer.")
        return
    with st.container(horizontal=True):
        st.metric("Examples", f"{counts.examples:,}", border=True)
        for split in SPLITS:
            number = counts.splits.get(split, 0)
            share = f"{100 * number / counts.examples:.0f} % of {counts.examples:,}"
            st.metric(split, f"{number:,}", border=True, help=f"{share}. {SPLIT_HELP[split]}")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input("Search", placeholder="in inputs and references", key="example_search")
        split = st.segmented_control("Split", SPLITS, key="example_split")
    offset = page_offset("examples", (project.id, search, split))
    page = data.list_examples(database(), me(), project.id, search, split, PER_PAGE, offset)
    if not page.total:
        st.info("Nothing matches.", icon=":material/search_off:")
        return
    table = pd.DataFrame(
        {
            "Input": [row.input for row in page.rows],
            "Reference": [row.reference or "" for row in page.rows],
            "Split": [row.split for row in page.rows],
            "Earlier turns": [len(row.messages or []) for row in page.rows],
            "Id of yours": [row.external_id or "" for row in page.rows],
        }
    )
    unused = [
        column
        for column in ("Reference", "Earlier turns", "Id of yours")
        if not table[column].astype(bool).any()
    ]
    picked = st.dataframe(
        table.drop(columns=unused),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"examples_{project.id}_{offset}",
        column_config={"Input": st.column_config.TextColumn(width="large")},
    )
    page_bar("examples", page.total, offset)
    for place in picked.selection.rows[:1]:
        show_example(page.rows[place])


def show_example(example: Example) -> None:
    with st.container(border=True):
        st.caption(f"{example.split} · {ago(example.created_at)} · {example.id}")
        for turn in example.messages or []:
            st.caption(turn["role"])
            st.html(response_html(turn["content"]))
        if len(example.fields) > 1:
            for name, value in example.fields.items():
                st.caption(f"`{{{{{name}}}}}`")
                st.html(
                    response_html(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
                )
        else:
            st.html(response_html(example.input))
        if example.reference is not None:
            st.caption("Reference")
            st.code(example.reference, language=None, wrap_lines=True)


def show_pairs(project: Project, counts: Counts) -> None:
    if not counts.pairs:
        nothing_yet(
            "There are no pairs yet.",
            "Import comparisons, or generate responses by two prompts and make pairs of them.",
        )
        return
    with st.container(horizontal=True):
        st.metric("Pairs", f"{counts.pairs:,}", border=True)
        st.metric("Votes", f"{counts.votes:,}", border=True, help=f"By {counts.annotators:,} annotators.")
        if counts.simulated_votes:
            st.metric(
                "of them simulated", f"{counts.simulated_votes:,}", border=True, help="Cast by no person."
            )
        if counts.machine_votes:
            st.metric(
                "and by machine judges",
                f"{counts.machine_votes:,}",
                border=True,
                help="A lead has taken them in.",
            )
        st.metric("Votes still wanted", f"{counts.open_slots:,}", border=True)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input("Search", placeholder="in inputs and responses", key="pair_search")
        state = st.segmented_control(
            "Show",
            list(STATES),
            default="all",
            required=True,
            format_func=STATES.__getitem__,
            key="pair_state",
        )
    offset = page_offset("pairs", (project.id, search, state))
    page = data.list_pairs(database(), me(), project.id, search, state, PER_PAGE, offset)
    if not page.total:
        st.info("Nothing matches.", icon=":material/search_off:")
        return
    rows: list[PairRow] = page.rows
    table = pd.DataFrame(
        {
            "Input": [row.input for row in rows],
            "Prompt A": [row.prompt_a for row in rows],
            "Prompt B": [row.prompt_b for row in rows],
            "Votes": [votes_in_words(row) for row in rows],
            "Wanted": [row.open_slots for row in rows],
            "Response A": [row.response_a for row in rows],
            "Response B": [row.response_b for row in rows],
            "From": [row.source for row in rows],
        }
    )
    picked = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"pairs_{project.id}_{offset}",
        column_config={
            "Input": st.column_config.TextColumn(width="medium"),
            "Response A": st.column_config.TextColumn(width="medium"),
            "Response B": st.column_config.TextColumn(width="medium"),
            "Wanted": st.column_config.NumberColumn(help="Votes that this pair still waits for."),
        },
    )
    page_bar("pairs", page.total, offset)
    for place in picked.selection.rows[:1]:
        show_pair(rows[place])


def votes_in_words(row: PairRow) -> str:
    tally = row.tally
    parts = (("A", tally.a_wins), ("B", tally.b_wins), ("tie", tally.ties), ("both bad", tally.both_bad))
    words = " · ".join(f"{name} {number}" for name, number in parts if number) or "none"
    if tally.machine:
        words += f" ({tally.machine} by machine)"
    return f"{words} ({tally.simulated} simulated)" if tally.simulated else words


def show_pair(row: PairRow) -> None:
    with st.container(border=True):
        st.caption(f"Votes: {votes_in_words(row)} · wanted: {row.open_slots} · {row.id}")
        st.html(response_html(row.input))
        sides = st.columns(2)
        for column, name, text in zip(
            sides, (row.prompt_a, row.prompt_b), (row.response_a, row.response_b), strict=True
        ):
            with column, st.container(border=True):
                st.text(name)
                st.html(response_html(text or "*(empty)*"))


def nothing_yet(title: str, text: str) -> None:
    empty(title, text)
    if may("data.import"):
        st.button("Import", icon=":material/upload:", type="primary", on_click=open_view, args=("Import",))


def open_view(name: str) -> None:
    st.session_state["data_view"] = name


def page_offset(name: str, filters: tuple[Any, ...]) -> int:
    """Where the page in hand begins; another filter begins at the first again."""
    if st.session_state.get(f"{name}_filters") != filters:
        st.session_state[f"{name}_filters"] = filters
        st.session_state.pop(f"{name}_page", None)
    return (st.session_state.get(f"{name}_page", 1) - 1) * PER_PAGE


def page_bar(name: str, total: int, offset: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{offset + 1:,} to {min(offset + PER_PAGE, total):,} of {total:,}")
        if total > PER_PAGE:
            st.pagination(-(-total // PER_PAGE), key=f"{name}_page")


SPLIT_HELP = {
    "train": "What reward models and optimisers learn from.",
    "dev": "What candidates are chosen by.",
    "test": "Read once, at the end of a run.",
}

project = header("Data", "Examples and comparisons: look, import, export.")
with problems():
    amounts = data.counts(database(), me(), project.id)
    views = ["Examples", "Pairs"]
    views += ["Import"] if may("data.import") else []
    views += ["Export"] if may("data.export") else []
    if st.session_state.get("data_view") not in views:
        st.session_state["data_view"] = views[0] if amounts.examples or "Import" not in views else "Import"
    view = st.segmented_control("View", views, required=True, key="data_view", label_visibility="collapsed")
    if view == "Examples":
        show_examples(project, amounts)
    elif view == "Pairs":
        show_pairs(project, amounts)
    elif view == "Import":
        show_import(project)
    elif amounts.pairs:
        show_export(project, amounts)
    else:
        nothing_yet("There is nothing to export yet.", "Votes and pairs can be taken out for many trainers.")
