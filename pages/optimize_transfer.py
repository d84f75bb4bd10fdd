"""Found prompts on other hosts: what was measured, as a table and a chart, and measuring more."""

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.llm.registry import list_hosts
from core.llm.soft_names import names_in
from core.optimize.transfer import ENDED, Cell, transfers_of
from core.prompts.versions import label, list_prompts
from core.runs.service import cancel_run, get_run, resume_run, start_run
from core.runs.states import ACTIVE, RESUMABLE
from core.services import database
from pages.shared import duration, may, me, problems, say_problem
from storage.tables import Candidate, Project, Run

SPLIT_WORDS = {
    "test": "Test: sealed, for the start, the chosen candidate and written prompts only. Each prompt is read once "
    "on each host; nothing is chosen by it.",
    "dev": "Dev: any candidate. The chosen one was chosen on it, on the search's own host, and is flattered there.",
}


def transfer(project: Project, run: Run, candidates: list[Candidate]) -> None:
    found = transfers_of(database(), me(), run.id)
    newest = found.runs[0] if found.runs else None
    can_start = may("run.start") and run.status in ENDED and len(candidates) > 1
    if not found.runs and not can_start:
        return
    st.subheader("Transfer", anchor=False)
    if not found.cells:
        st.caption("Does what was found here hold on other hosts? Score it there and see.")
    for split in dict.fromkeys(cell.split for cell in found.cells):
        _table(split, [cell for cell in found.cells if cell.split == split])
    if newest is not None and newest.status in ACTIVE:
        st.fragment(_at_work, run_every=2.0)(newest.id)
        return
    if newest is not None and newest.status in RESUMABLE:
        _broken_off(newest)
    if can_start:
        with st.expander("Score on other hosts", icon=":material/dns:", expanded=not found.runs):
            _form(project, run, candidates)


def _at_work(run_id: str) -> None:
    run = get_run(database(), me(), run_id)
    if run.status not in ACTIVE:
        st.rerun()
    left = f" · about {duration(run.eta_s)} left" if run.eta_s is not None else ""
    st.progress(run.progress, text=f"{run.message or 'Waiting for a free slot'}{left}")
    asked = run.cancel_requested
    if may("run.control") and st.button(
        "Stopping …" if asked else "Stop", icon=":material/stop:", disabled=asked, key="transfer_cancel"
    ):
        with problems():
            cancel_run(database(), me(), run.id)
            st.rerun()


def _broken_off(run: Run) -> None:
    """The newest one failed, was stopped or interrupted: what it has is kept."""
    if run.error:
        say_problem(run.error, run.hint or "")
    else:
        st.caption(f"The newest scoring is {run.status}; what it has is shown.")
    if may("run.control") and st.button("Go on scoring", icon=":material/resume:", key="transfer_resume"):
        with problems():
            resume_run(database(), me(), run.id)
            st.rerun()


# --- what was found ------------------------------------------------------------------------------


def _table(split: str, cells: list[Cell]) -> None:
    hosts = list(dict.fromkeys(cell.host for cell in cells))
    own = {cell.host for cell in cells if cell.own}
    names = list(dict.fromkeys(cell.prompt for cell in cells))
    by_place = {(cell.prompt, cell.host): cell for cell in cells}
    n = cells[0].scores["n"]
    columns = {host: f"{host} (searched here)" if host in own else host for host in hosts}
    rows: list[dict[str, Any]] = []
    for name in names:
        row = {"Prompt": name}
        for host in hosts:
            cell = by_place.get((name, host))
            row[columns[host]] = _score(cell.scores) if cell else ""
            if any(other.gain for other in cells if other.host == host):
                row[f"{host}, less the start"] = _gain(cell)
        rows.append(row)
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
    against = [cell for cell in cells if cell.gain]
    if against:
        st.altair_chart(_chart(against, columns), width="stretch", key=f"transfer_chart_{split}")
    st.caption(
        f"On {n:,} {split} examples, with 95 % intervals; the difference is paired: the same examples, resampled "
        f"together. {_verdict(against, own)}"
    )


def _verdict(cells: list[Cell], own: set[str]) -> str:
    """How many differences on other hosts are above zero with their interval."""
    others = [cell for cell in cells if cell.host not in own and cell.candidate is not None]
    if not others:
        return ""
    better = sum(cell.gain["low"] > 0 for cell in others if cell.gain)
    worse = sum(cell.gain["high"] < 0 for cell in others if cell.gain)
    return (
        f"On hosts it was not searched on, {better} of {len(others)} differences are above zero with their whole "
        f"interval, {worse} below."
    )


def _score(scores: dict[str, Any]) -> str:
    return f"{scores['score']:.3g} ({scores['low']:.3g} to {scores['high']:.3g})"


def _gain(cell: Cell | None) -> str:
    if cell is None or cell.gain is None:
        return ""
    return f"{cell.gain['score']:+.3g} ({cell.gain['low']:+.3g} to {cell.gain['high']:+.3g})"


def _chart(cells: list[Cell], columns: dict[str, str]) -> alt.LayerChart:
    """A line for each host, a colour for each prompt; zero is the start."""
    data = pd.DataFrame(
        [
            {"prompt": cell.prompt, "host": columns[cell.host],
             **{name: cell.gain[name] for name in ("score", "low", "high", "n")}}
            for cell in cells if cell.gain
        ]
    )  # fmt: skip
    tips = ["prompt:N", "host:N", alt.Tooltip("score:Q", format="+.3f"), alt.Tooltip("low:Q", format="+.3f"),
            alt.Tooltip("high:Q", format="+.3f"), "n:Q"]  # fmt: skip
    base = alt.Chart(data).encode(
        y=alt.Y(
            "host:N", title=None, sort=None, axis=alt.Axis(labelLimit=170, ticks=False, labelOverlap=False)
        ),
        yOffset=alt.YOffset("prompt:N", sort=None),
        color=alt.Color(
            "prompt:N", title=None, sort=None, legend=alt.Legend(orient="top", columns=2, labelLimit=260)
        ),
        tooltip=tips,
    )
    bar = base.mark_rule(strokeWidth=3, opacity=0.6).encode(
        x=alt.X("low:Q", title="Against the start on the same host", axis=alt.Axis(tickCount=6)), x2="high:Q"
    )
    dot = base.mark_point(filled=True, size=90, opacity=1).encode(x="score:Q")
    zero = (
        alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(strokeDash=[4, 4], color="gray").encode(x="zero:Q")
    )
    lines = data["host"].nunique() * max(2, data["prompt"].nunique())
    return (zero + bar + dot).properties(height=120 + 16 * lines)


# --- measuring more ------------------------------------------------------------------------------


def _form(project: Project, run: Run, candidates: list[Candidate]) -> None:
    hosts = [host.name for host in list_hosts(database(), me())]
    own = run.config.get("host")
    others = [name for name in hosts if name != own]
    if not others:
        st.caption("There is only the host that was searched on. Add another one, then score on it.")
        st.page_link("hosts.py", label="Add a host", icon=":material/dns:")
    chosen = st.multiselect("Hosts", hosts, others[:3], key=f"transfer_hosts_{run.id}")
    split = st.segmented_control(
        "Examples", list(SPLIT_WORDS), format_func=str.capitalize, default="test", required=True,
        key=f"transfer_split_{run.id}",
    )  # fmt: skip
    st.caption(SPLIT_WORDS[split])
    best = int(((run.result or {}).get("best") or {}).get("number") or 0)
    able = [best] if split == "test" and best else [c.number for c in candidates if c.number]
    soft = {c.number for c in candidates if names_in(c.text)}  # only one model can read them
    able = [number for number in able if number not in soft and (best or split != "test")]
    best = best if best in able else 0
    left, right = st.columns(2)
    numbers = left.multiselect(
        "Candidates", able, [best] if best else [], key=f"transfer_candidates_{run.id}_{split}",
        help="The start is always scored with them.",
    )  # fmt: skip
    written = {
        p.id: label(p)
        for p in list_prompts(database(), me(), project.id)
        if p.user.strip() and p.run_id is None
    }
    prompts = right.multiselect(
        "Written prompts beside them",
        list(written),
        [],
        format_func=written.__getitem__,
        key=f"transfer_prompts_{run.id}",
    )
    config = {"run": run.id, "hosts": chosen, "candidates": numbers, "prompts": prompts, "split": split}
    n = int((run.config.get("plan") or {}).get(split) or 0)
    calls = n * len(chosen) * (1 + len(numbers) + len(prompts))
    st.caption(f"Up to {calls:,} calls; what was answered before is free.")
    if st.button("Score them", type="primary", icon=":material/play_arrow:", key=f"transfer_start_{run.id}",
                 disabled=not chosen or not (numbers or prompts)):  # fmt: skip
        with problems():
            start_run(database(), me(), project.id, "transfer", config)
            st.rerun()
