"""All searches of a project, one a row, so that many stay readable; a press opens one."""

from typing import Any

import pandas as pd
import streamlit as st

from core.optimize.methods import METHODS
from core.runs.service import starters
from core.services import database
from pages.run_detail import STATES
from pages.shared import ago, me
from storage.tables import Run

SHOWN = 200  # the newest


def method_of(run: Run) -> str:
    method = METHODS.get(str(run.config.get("method")))
    return method.short if method else str(run.config.get("method"))


def came_of_it(run: Run) -> str:
    """In a few words: the gain on test where there is one, else how it ended or stands."""
    result = run.result or {}
    if run.status == "running":
        return f"at work, {100 * run.progress:.0f} %"
    if run.status != "succeeded":
        return STATES[run.status][2].lower()
    if not result.get("improved"):
        return "nothing better found"
    gain = result.get("gain")
    if gain:
        return f"gained {gain['score']:+.3g} on test"
    return "better on dev, not tested" if result["best"]["dev"] else "better on train only"


def picker_label(run: Run) -> str:
    """What tells searches apart comes first: it is all that a narrow screen shows."""
    return f"{method_of(run)} · {came_of_it(run)} · seed {run.seed} · {ago(run.created_at)}"


def history(runs: list[Run]) -> Run | None:
    """The table; answers the run that was pressed."""
    methods = list(dict.fromkeys(method_of(run) for run in runs))
    wanted: list[str] = []
    if len(methods) > 1:
        wanted = st.pills("Method", methods, selection_mode="multi", key="optimize_history_methods")
    shown = [run for run in runs if not wanted or method_of(run) in wanted]
    names = starters(database(), me(), shown)
    picked = st.dataframe(
        pd.DataFrame([_row(run, names) for run in shown]),
        hide_index=True,
        width="stretch",
        height="content" if len(shown) <= 20 else 740,
        on_select="rerun",
        selection_mode="single-cell",
        key=f"optimize_history_{shown[0].id}_{len(shown)}",
        column_config={
            "State": st.column_config.MultiselectColumn(
                width=110, options=[word for _, _, word in STATES.values()], color=[c for _, c, _ in STATES.values()],
            ),
            "Search": st.column_config.TextColumn(width=130, pinned=True),
            "Started": st.column_config.DatetimeColumn(format="distance", width=110),
            "Gain on test": st.column_config.TextColumn(
                width=190, help="Found less start, on the same test examples, with its 95 % interval and n"
            ),
            "Calls": st.column_config.TextColumn(width=110, help="Spent, of the budget"),
            "Reward": st.column_config.TextColumn(width=100),
            "Host": st.column_config.TextColumn(width=110),
            "Seed": st.column_config.TextColumn(width=80),
        },
    )  # fmt: skip
    many = f"{len(runs):,} searches, newest first." + (f" {len(shown):,} shown." if wanted else "")
    st.caption(f"{many} Press a row to open it; a column's head sorts.")
    cells = picked["selection"]["cells"]  # type: ignore[index]
    return shown[cells[0][0]] if cells and cells[0][0] < len(shown) else None


def _row(run: Run, names: dict[str, str]) -> dict[str, Any]:
    result = run.result or {}
    gain, reward = result.get("gain"), run.config.get("reward")
    calls, budget = result.get("calls"), run.config["budget"]["calls"]
    return {
        "Search": method_of(run),
        "State": [STATES[run.status][2]],
        "Gain on test": _gain(gain) if gain and result.get("improved") else came_of_it(run) if result else "",
        "Calls": f"{calls:,} of {budget:,}" if calls is not None else f"of {budget:,}",
        "Reward": str(reward).replace("_", " ") if isinstance(reward, str) else "composed",
        "Start": (run.config.get("start") or {}).get("name", ""),
        "Host": run.config.get("host"),
        "Seed": str(run.seed),
        "Started": run.created_at,
        "By": names.get(run.created_by or "", "—"),
    }


def _gain(gain: dict[str, Any]) -> str:
    return f"{gain['score']:+.3g} ({gain['low']:+.3g} to {gain['high']:+.3g}, n {gain['n']:,})"
