"""Import, the part of the data page that takes a file: choose it, say what its columns
are, see what would be stored, import, and read what became of every row.

The file, its mapping and the last report live in the session, so that they are there
again after a look at another view; the database is not touched before the last button.
"""

from typing import Any

import pandas as pd
import streamlit as st

from core import data, foreign, mapping
from core.services import database
from core.settings import get_settings
from pages.shared import me, plain, problems
from storage.files import Table
from storage.importing import ImportReport
from storage.tables import Project

STATE = "data_import"  # what this part keeps in the session, by project
KIND_TITLES = {
    "examples": "Examples",
    "comparisons": "Comparisons",
    "preferences": "Preferences",
}
KIND_HELP = {
    "examples": "Inputs that prompts answer, with an optional reference and split.",
    "comparisons": "Two responses to one input, with who judged them and how; or waiting to be judged.",
    "preferences": "TRL's format (prompt, chosen, rejected), plain or as messages. Every row becomes one vote "
    "for the chosen response.",
}
NONE = "—"


def show_import(project: Project) -> None:
    state = st.session_state.setdefault(STATE, {}).setdefault(project.id, {"round": 0})
    if "report" in state:
        _show_report(state)
        return
    if "table" not in state and not _upload(state):
        return
    table: Table = state["table"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**:material/description: {_safe(state['name'])}**")
        st.caption(_described(state))
        st.button("Another file", icon=":material/close:", type="tertiary", on_click=_forget, args=(state,))
    if "tool" in state:
        st.toggle(
            f"Read it as {state['tool'].title}'s export",
            value=state["converted"],
            key=f"tool_{state['round']}",
            on_change=_read_again,
            args=(state,),
            help="Recognised by its records. Off, its columns are taken as they stand.",
        )
    if table.broken:
        number, reason = table.broken[0]
        first = f"{table.unit.capitalize()} {number}: {plain(reason)}."
        if state.get("converted"):
            many = len(table.broken) > 1
            words = f"{len(table.broken):,} entries of the file are" if many else "One entry of the file is"
            st.warning(f"{words} no comparison that can be taken. {first}", icon=":material/warning:")
        else:
            words = f"{plural(len(table.broken), table.unit)} cannot be read and will not be taken."
            st.warning(f"{words} {first}", icon=":material/warning:")
    if not table.rows:
        st.error("No record of the file is a comparison that can be taken.", icon=":material/block:")
        _untaken(data.not_taken(table, ImportReport()), "cannot be taken", expanded=True)
        return
    kind = _choose_kind(state, table)
    with problems():
        rows = _map(state, table, kind, project)
        _preview(state, table, kind, rows, project)


def _upload(state: dict[str, Any]) -> bool:
    tools = [tool.title for tool in foreign.TOOLS.values()]
    st.write(
        f"Also exports of {', '.join(tools[:-1])} and {tools[-1]}, as they are. Nothing is stored before you have "
        "seen what would be."
    )
    file = st.file_uploader(
        "A file with examples, comparisons or preferences",
        type=["csv", "tsv", "tab", "txt", "json", "jsonl", "ndjson", "parquet", "pq", "gz"],
        max_upload_size=get_settings().max_upload_mb,
        key=f"upload_{state['round']}",
        help="CSV, TSV, JSON Lines, JSON or Parquet, also packed with gzip; text in UTF-8.",
    )
    with st.expander("What the columns may be", icon=":material/help:"):
        for kind, title in KIND_TITLES.items():
            st.markdown(f"**{title}.** {KIND_HELP[kind]}")
            names = ", ".join(
                f"`{field.name}`" + (" (needed)" if field.required else "") for field in mapping.KINDS[kind]
            )
            st.markdown(f"{names}. Other names can be assigned in the next step.")
        st.markdown(f"**Exports of other tools.** {', '.join(tools)}: recognised by their records.")
    if file is None:
        return False
    with problems(), st.spinner("Reading the file …"):
        table = data.read_upload(file.name, file.getvalue())
        state.update(raw=table, name=file.name, maps={}, meanings={})
        tool = foreign.recognised(table)
        if tool is not None:
            state["tool"] = tool
        _take(state, converted=tool is not None)
        st.rerun()
    return False


def _take(state: dict[str, Any], converted: bool) -> None:
    """The table in hand: the file's rows, or what a tool's records turn into."""
    table = foreign.converted(state["tool"], state["raw"]) if converted else state["raw"]
    kind = "comparisons" if converted else mapping.guess_kind(table.columns)
    state.update(table=table, converted=converted, kind=kind, maps={}, meanings={})
    for made in ("mapped_key", "planned_key"):
        state.pop(made, None)


def _read_again(state: dict[str, Any]) -> None:
    converted = st.session_state[f"tool_{state['round']}"]
    _take(state, converted)
    # Other columns: the widgets of the mapping begin anew, the switch stays as it was set.
    state["round"] += 1
    st.session_state[f"tool_{state['round']}"] = converted


def _described(state: dict[str, Any]) -> str:
    table: Table = state["table"]
    if state.get("converted"):
        records, tool = len(state["raw"].rows), state["tool"]
        return f"{tool.title} export, {plural(records, 'record')}, {plural(len(table.rows), 'comparison')}"
    return f"{table.format}, {len(table.rows):,} rows, {len(table.columns)} columns"


def _choose_kind(state: dict[str, Any], table: Table) -> str:
    guessed = "comparisons" if state.get("converted") else mapping.guess_kind(table.columns)
    kind = st.segmented_control(
        "What is in it",
        list(KIND_TITLES),
        default=state["kind"],
        required=True,
        format_func=lambda name: KIND_TITLES[name] + (" · detected" if name == guessed else ""),
        key=f"kind_{state['round']}",
    )
    state["kind"] = kind
    st.caption(KIND_HELP[kind])
    return kind


def _map(state: dict[str, Any], table: Table, kind: str, project: Project) -> list[dict[str, Any]]:
    """The widgets of the mapping, and the rows it makes. What was chosen is kept by kind."""
    chosen: mapping.Mapping = state["maps"].setdefault(kind, mapping.guess_mapping(kind, table.columns))
    st.subheader("Columns", anchor=False)
    fields = mapping.KINDS[kind]
    shown = [field for field in fields if field.required or chosen[field.name]]
    others = [field for field in fields if field not in shown]
    if kind == "preferences" and fields[0] not in shown:
        shown, others = [fields[0], *shown], [field for field in others if field is not fields[0]]
    _choosers(state, table, kind, shown, chosen)
    if others:
        with st.expander(f"{len(others)} more fields, without a column"):
            _choosers(state, table, kind, others, chosen)
    annotator = ""
    if kind == "preferences" and not chosen["annotator"]:
        default = state["name"].split(".")[0][:80] or "imported"
        annotator = st.text_input(
            "Annotator",
            state.setdefault("annotator", default),
            key=f"annotator_{state['round']}",
            help="The file does not say who preferred the chosen response: the votes are kept under this name.",
        )
        state["annotator"] = annotator
    mapping.check_mapping(kind, chosen)
    meanings = _choice_meanings(state, table, chosen) if kind == "comparisons" and chosen["choice"] else None
    key = repr((kind, chosen, meanings, annotator))
    if state.get("mapped_key") != key:
        state["mapped"] = mapping.apply(kind, chosen, table.rows, meanings, annotator)
        state["mapped_key"] = key
    return state["mapped"]


def _choosers(
    state: dict[str, Any], table: Table, kind: str, fields: list[mapping.Field], chosen: mapping.Mapping
) -> None:
    for place, field in enumerate(fields):
        if place % 3 == 0:
            columns = st.columns(3)  # row by row, so that the order holds on a phone too
        key = f"map_{state['round']}_{kind}_{field.name}"
        label = field.title + (" (needed)" if field.required else "")
        with columns[place % 3]:
            if field.name == "input":
                chosen["input"] = st.multiselect(
                    label, table.columns, default=chosen["input"], key=key, help=field.help
                )
                continue
            options = [NONE, *table.columns]
            now = chosen[field.name][0] if chosen[field.name] else NONE
            picked = st.selectbox(label, options, index=options.index(now), key=key, help=field.help or None)
            chosen[field.name] = [] if picked == NONE else [picked]


def _choice_meanings(state: dict[str, Any], table: Table, chosen: mapping.Mapping) -> dict[str, str]:
    """What each value of the choice column means, asked only where it is not plain."""
    values = mapping.choice_values(table.rows, chosen["choice"][0])
    kept = state["meanings"].setdefault(chosen["choice"][0], {})
    for value in values:
        kept.setdefault(value, mapping.guess_meaning(value))
    canonical = all(value == kept[value] for value in values)
    with st.expander("What the choices mean", expanded=not canonical, icon=":material/rule:"):
        columns = st.columns(min(4, max(1, len(values))))
        for place, (value, number) in enumerate(values.items()):
            options = list(mapping.MEANINGS)
            with columns[place % len(columns)]:
                kept[value] = st.selectbox(
                    f"`{_safe(value)[:40]}` · {number:,}",
                    options,
                    index=options.index(kept[value]),
                    format_func=mapping.MEANINGS.__getitem__,
                    key=f"meaning_{state['round']}_{chosen['choice'][0]}_{value}",
                )
        if not chosen["left"] and {"left", "right"} & set(kept.values()):
            st.caption("No column says what stood on the left: A is taken to have stood there.")
    return dict(kept)


def _preview(
    state: dict[str, Any], table: Table, kind: str, rows: list[dict[str, Any]], project: Project
) -> None:
    st.subheader("Preview", anchor=False)
    action = data.IMPORTS[kind]
    key = state["mapped_key"]
    if state.get("planned_key") != key:
        with st.spinner("Comparing with what is there …", show_time=True):
            state["planned"] = action(database(), me(), project.id, rows, dry_run=True)
            state["shown"] = data.preview(kind, rows)
            state["planned_key"] = key
    planned: ImportReport = state["planned"]
    _figures(planned, table, "would be taken")
    if state["shown"]:
        st.caption("The first rows, as they would be stored")
        shown = pd.DataFrame(state["shown"]).astype(str).replace({"nan": "", "{}": ""})
        st.dataframe(shown, hide_index=True, column_config=narrow("input", "response_a", "response_b"))
    _untaken(data.not_taken(table, planned), "would not be taken", expanded=not planned.imported)
    with st.container(horizontal=True):
        if st.button(
            f"Import {plural(planned.imported, 'row')}",
            type="primary",
            icon=":material/download:",
            disabled=not planned.imported,
        ):
            with problems(), st.spinner(f"Importing {len(rows):,} rows …", show_time=True):
                report = action(database(), me(), project.id, rows)
                left_out = data.not_taken(table, report)
                name = state["name"]
                _forget(state)
                state.update(report=report, name=name, untaken=left_out)
                st.rerun()
    if not planned.imported:
        st.caption(
            "There is nothing new to import." if planned.duplicates else "No row can be taken as it is."
        )


def _figures(report: ImportReport, table: Table | None, words: str, broken: int = 0) -> None:
    skipped = len(report.skipped) + (len(table.broken) if table else broken)
    with st.container(horizontal=True):
        st.metric(f"Rows that {words}", f"{report.imported:,}", border=True)
        st.metric("Duplicates", f"{report.duplicates:,}", border=True, help="Already there: nothing to add.")
        st.metric("Not taken", f"{skipped:,}", border=True)
    titles = {"completed": "missing reference"}
    counts = report.counts.items()
    new = [plural(number, titles.get(name, name.removesuffix("s"))) for name, number in counts if number]
    if new:
        st.caption(f"New in the project: {', '.join(new)}.")


def _untaken(rows: list[dict[str, Any]], words: str, expanded: bool) -> None:
    if not rows:
        return
    with st.expander(
        f"{plural(len(rows), 'row')} that {words}, and why", expanded=expanded, icon=":material/block:"
    ):
        st.dataframe(pd.DataFrame(rows[:200]), hide_index=True)
        if len(rows) > 200:
            st.caption("The first 200; the file has them all.")
        st.download_button(
            "All of them as CSV",
            data=lambda: data.as_csv(rows).encode("utf-8-sig"),
            file_name="rows-not-taken.csv",
            mime="text/csv",
            icon=":material/table:",
            on_click="ignore",
        )


def _show_report(state: dict[str, Any]) -> None:
    report: ImportReport = state["report"]
    st.success(
        f"{plural(report.imported, 'row')} of {_safe(state['name'])} imported.",
        icon=":material/check_circle:",
    )
    _figures(report, None, "were taken", broken=len(state["untaken"]) - len(report.skipped))
    _untaken(state["untaken"], "were not taken", expanded=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Import another file", icon=":material/upload:", on_click=_forget, args=(state,))
        st.page_link("annotate.py", label="Label pairs", icon=":material/compare:")
        st.page_link("leaderboard.py", label="Leaderboard", icon=":material/leaderboard:")


def _forget(state: dict[str, Any]) -> None:
    """Start anew: with other widget keys, so that nothing of the last file sticks."""
    number = state["round"] + 1
    state.clear()
    state["round"] = number


def narrow(*columns: str) -> dict[str, Any]:
    """Long texts in narrow columns, so that the others are in view."""
    return {name: st.column_config.TextColumn(width=230) for name in columns}


def plural(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def _safe(text: str) -> str:
    """A name within Markdown, without signs that would format it."""
    return "".join(letter if letter.isalnum() or letter in " ._-" else " " for letter in text)
