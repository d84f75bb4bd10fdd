"""Who did what, and when. For admins."""

from datetime import UTC, datetime, time, timedelta

import pandas as pd
import streamlit as st

from core import accounts, audit, projects
from core.services import database
from pages.shared import empty, me

ROWS = 100
FILTERS = ("audit_person", "audit_action", "audit_project", "audit_days")

db, who = database(), me()
st.title("Audit log", anchor=False)
st.caption("Every action that changed something, with who did it. Times are UTC.")


# --- filter -------------------------------------------------------------------------------

people = {user.id: user.name for user in accounts.list_users(db, who)}
every_project = {project.id: project.name for project in projects.list_projects(db, who)}
actions = audit.list_actions(db, who)
groups = sorted({action.split(".")[0] for action in actions})

person_at, action_at, project_at, days_at = st.columns([1, 1, 1, 1.2])
person = person_at.selectbox(
    "Person", [None, *people], format_func=lambda key: people.get(key, "Everybody"), key=FILTERS[0]
)
action = action_at.selectbox(
    "Action",
    [None, *sorted({*groups, *actions})],
    format_func=lambda key: "All actions" if key is None else key + (" · all" if key not in actions else ""),
    key=FILTERS[1],
)
project = project_at.selectbox(
    "Project",
    [None, *every_project],
    format_func=lambda key: every_project.get(key, "All projects"),
    key=FILTERS[2],
)
today = datetime.now(UTC).date()
days = days_at.date_input("Days", value=(today - timedelta(days=30), today), key=FILTERS[3])
days = days if isinstance(days, tuple) else (days,)
since = datetime.combine(days[0], time.min, UTC) if days else None
until = datetime.combine(days[1], time.min, UTC) + timedelta(days=1) if len(days) == 2 else None
wanted = audit.Filter(person, action, project, since, until)


# --- table --------------------------------------------------------------------------------


def row(entry) -> dict[str, str]:  # type: ignore[no-untyped-def]
    known_project = every_project.get(entry.project_id, entry.project_id) if entry.project_id else ""
    return {
        "Time": f"{entry.at:%Y-%m-%d %H:%M:%S}",
        "Person": entry.user_name,
        "Action": entry.action,
        "On": f"{entry.entity} {entry.entity_id[-8:]}".strip(),
        "Project": known_project,
        "Details": ", ".join(f"{key}: {value}" for key, value in entry.detail.items()),
    }


shown = (person, action, project, days)
if st.session_state.get("audit_shown") != shown:
    st.session_state["audit_shown"], st.session_state["audit_page"] = shown, 1
entries, total = audit.list_entries(db, who, wanted, ROWS, ROWS * (st.session_state["audit_page"] - 1))
if not total:
    empty("Nothing matches.", "No action of this kind in this time. Choose other filters above.")
else:
    count_at, page_at, csv_at = st.columns([3, 1.2, 1], vertical_alignment="bottom")
    count_at.text(f"{total:,} {'entry' if total == 1 else 'entries'}")
    pages = -(-total // ROWS)
    if pages > 1:
        page_at.number_input(f"Page of {pages:,}", 1, pages, key="audit_page")
    csv_at.download_button(
        "CSV",
        lambda: audit.as_csv(database(), me(), wanted),
        file_name=f"audit-{today}.csv",
        mime="text/csv",
        icon=":material/download:",
        help=f"What the filters find, newest first, up to {audit.MOST_CSV:,} rows.",
        width="stretch",
    )
    st.dataframe(
        pd.DataFrame([row(entry) for entry in entries]), hide_index=True, width="stretch", height=560
    )
