"""What a search has spent so far: calls, tokens, money, time; by host and purpose."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from core.optimize.view import ledger_of, so_far
from core.services import database
from pages.shared import duration, me, number
from storage.tables import Run

PURPOSES = {"target": "scoring prompts", "optimizer": "proposals", "judge": "judging"}


def short(tokens: float) -> str:
    """`940`, `12.3 k`, `4.6 M`"""
    if tokens < 1_000:
        return f"{tokens:,.0f}"
    return f"{tokens / 1e3:.3g} k" if tokens < 999_500 else f"{tokens / 1e6:,.3g} M"


def money(cost: float) -> str:
    """In the currency of the hosts' prices, with as many digits as say something."""
    return f"{cost:,.2f}" if cost >= 1 else f"{cost:.2g}"


def books(run: Run) -> None:
    spent = so_far(database(), me(), run)
    if not spent.calls and not spent.cached:
        return
    st.subheader("Spent so far" if run.finished_at is None else "Spent", anchor=False)
    stop = run.config.get("stop") or {}
    a, b, c, d = st.columns(4)
    _figure(a, "Calls", f"{spent.calls:,}", f"of {run.config['budget']['calls']:,}",
            "Of all hosts; never more than the budget.")  # fmt: skip
    _figure(b, "Tokens", short(spent.tokens_in + spent.tokens_out), _of(stop.get("tokens"), short),
            f"{spent.tokens_in:,} in, {spent.tokens_out:,} out. Steps of training count calls, and no tokens.")  # fmt: skip
    _figure(c, "Cost", money(spent.cost) if spent.cost else "0", _of(stop.get("cost"), money),
            "By the hosts' prices; a host in process costs nothing by the call.")  # fmt: skip
    _figure(d, "At work", duration(spent.seconds), _of(stop.get("seconds"), duration),
            "Of the worker, without pauses and waiting.")  # fmt: skip
    with st.expander("By host", icon=":material/receipt_long:"):
        _lines(run)
        if spent.cached:
            st.caption(f"{spent.cached:,} answers were known from earlier runs, and not asked for again.")
        if run.finished_at and spent.calls:
            st.caption(f"{number(spent.seconds / spent.calls)} s a call.")


def _of(limit: float | None, form: Callable[[float], str]) -> str:
    return "no limit" if limit is None else f"of {form(limit)}"


def _figure(place: Any, label: str, value: str, below: str, help: str) -> None:
    place.metric(label, value, below, delta_color="off", delta_arrow="off", help=help)


def _lines(run: Run) -> None:
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "Host": line.host,
                    "For": PURPOSES.get(line.purpose, line.purpose),
                    "Calls": line.calls,
                    "Tokens in": line.tokens_in,
                    "Tokens out": line.tokens_out,
                    "Cost": line.cost,
                }
                for line in ledger_of(database(), me(), run.id)
            ]
        ),
        hide_index=True,
        width="stretch",
        column_config={"Cost": st.column_config.NumberColumn(format="%.4f", help="By the host's prices")},
    )
