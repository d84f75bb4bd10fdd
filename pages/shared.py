"""What every page needs: who is here, which project, the header, and how numbers,
problems and empty states are shown."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from html import escape

import pandas as pd
import streamlit as st

from core import accounts, projects
from core.access import Principal, allowed
from core.errors import PrefloopError
from core.services import database
from core.spreadsheet import safe
from storage.tables import Project


def me() -> Principal:
    """The signed-in person, checked against the database on every rerun: the cookie was
    read once, when the socket opened, and may have been ended since. Stops the page
    for anybody else, so a script that is run without the gate shows nothing."""
    try:
        return accounts.principal_of_sign_in(database(), st.user.get("sign_in_id"))
    except PrefloopError as problem:
        st.error(f"{problem.message} {problem.hint}", icon=":material/lock:")
        same_tab_link("/auth/sign-in", "Sign in")
        st.stop()


def may(action: str) -> bool:
    return allowed(me(), action)


def choose_project() -> Project | None:
    """The project in hand: from the address, else the one used last, else the first."""
    found = {project.id: project for project in projects.list_projects(database(), me())}
    if not found:
        return None
    asked = st.query_params.get("project") or st.session_state.get("project_id")
    chosen = asked if asked in found else next(iter(found))
    st.session_state["project_id"] = chosen
    return found[chosen]


def header(title: str, caption: str = "") -> Project:
    """The page's title with the project's name over it, and the way to another project.
    Stops the page, saying what to do, when there is no project yet."""
    project = choose_project()
    if project is None:
        st.title(title)
        if may("project.create"):
            text = "Make one, then import examples or comparisons."
            empty("There is no project yet.", text, "project.py", "New project")
        else:
            empty("There is no project yet.", "An engineer or a lead can make one. Come back when there is.")
        st.stop()
    everything = {item.id: item.name for item in projects.list_projects(database(), me())}
    left, right = st.columns([3, 1.3], vertical_alignment="bottom")
    with left, st.container(gap=None):
        st.title(title, anchor=False)
        if caption:
            st.caption(caption)
    with right:
        key = f"project_of_{title}_{project.id}"
        st.selectbox(
            "Demo project · has simulated votes" if project.demo else "Project",
            list(everything),
            index=list(everything).index(project.id),
            format_func=everything.__getitem__,
            key=key,
            on_change=_switch_project,
            args=(key,),
        )
    return project


def _switch_project(key: str) -> None:
    st.session_state["project_id"] = st.session_state[key]
    st.query_params.pop("project", None)


# What Markdown, or Streamlit in it (:red[…], :smile:, $formula$, ->), would read within a line.
_SIGNS = re.compile(r"[\\`*_\[\]$~|]|:(?=\w)|-(?=>)")
_BUTTON = (
    "display:inline-block;width:100%;padding:.42rem .9rem;border:1px solid rgba(128,128,128,.4);border-radius:8px;"
    "background:transparent;color:inherit;font:inherit;text-align:center;text-decoration:none;cursor:pointer"
)


def same_tab_link(href: str, label: str) -> None:
    """A link to a page of ours outside Streamlit; its own links open a new tab."""
    st.html(f'<a href="{escape(href)}" target="_self" style="{_BUTTON};width:auto">{escape(label)}</a>')


def post_button(action: str, label: str) -> None:
    """A button that posts to a route of ours outside Streamlit, such as the sign-out."""
    st.html(
        f'<form method="post" action="{escape(action)}" target="_self" style="margin:0">'
        f'<button type="submit" style="{_BUTTON}">{escape(label)}</button></form>'
    )


def empty(title: str, text: str, page: str | None = None, label: str = "") -> None:
    """What a page shows instead of nothing: what is missing, and where to get it."""
    with st.container(border=True):
        st.subheader(title, anchor=False)
        st.write(text)
        if page:
            st.page_link(page, label=label or page, icon=":material/arrow_forward:")


@contextmanager
def problems() -> Iterator[None]:
    """Show what went wrong by a person's doing as a message, never as a traceback."""
    try:
        yield
    except PrefloopError as problem:
        say_problem(problem.message, problem.hint)


def say_problem(message: str, hint: str = "") -> None:
    """What went wrong, and what to do. Both may quote a host or a file: not Markdown."""
    st.error(f"**{plain(message)}** {plain(hint)}", icon=":material/error:")


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _SIGNS.sub(r"\\\g<0>", text)


def csv_of(table: pd.DataFrame) -> str:
    """As CSV that is safe to open: names of prompts and people may begin like a formula."""
    return table.rename(columns=safe).map(safe).to_csv(index=False)


def percent(
    value: float | None, low: float | None = None, high: float | None = None, n: int | None = None
) -> str:
    """`61.2 % (57.0 to 65.3, n 512)`"""
    if value is None:
        return "—"
    text = f"{100 * value:.1f} %"
    if low is not None and high is not None:
        inside = f"{100 * low:.1f} to {100 * high:.1f}"
        text += f" ({inside}, n {n:,})" if n is not None else f" ({inside})"
    elif n is not None:
        text += f" (n {n:,})"
    return text


def number(
    value: float | None, low: float | None = None, high: float | None = None, n: int | None = None
) -> str:
    """`0.291 (0.27 to 0.31, n 8,931)`"""
    if value is None:
        return "—"
    text = f"{value:.3g}"
    if low is not None and high is not None:
        text += f" ({low:.3g} to {high:.3g}" + (f", n {n:,})" if n is not None else ")")
    elif n is not None:
        text += f" (n {n:,})"
    return text


def duration(seconds: float | None) -> str:
    """`3 min 20 s`, `5 h 10 min`, `12 days`"""
    if seconds is None:
        return "—"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86400} days"


def ago(moment: datetime | None) -> str:
    if moment is None:
        return "—"
    past = (datetime.now(UTC) - moment).total_seconds()
    return "just now" if past < 5 else f"{duration(past)} ago"
