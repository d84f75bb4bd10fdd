"""Webhooks of a project, on the settings page: made, tested, watched, and sent again."""

from urllib.parse import urlsplit

import pandas as pd
import streamlit as st

from core.access import ACTIONS
from core.services import database
from core.webhooks import EVENTS, manage
from core.webhooks.attempt import TRIES
from pages.shared import ago, may, me, plain, problems
from storage.tables import Delivery, Project

ROWS = 25
WORDS = {"waiting": "Waiting", "delivered": "Delivered", "given_up": "Given up"}


def show_webhooks(project: Project) -> None:
    if not may(manage.ACTION):
        roles = " or ".join(sorted(ACTIONS[manage.ACTION].roles, reverse=True))
        st.info(f"A {roles} sets up webhooks.", icon=":material/info:")
        return
    st.write(
        "Other programs are told when something happens here: a signed HTTP request to an address of yours, "
        f"tried {TRIES} times over about a day until it is answered."
    )
    show_secret(project)
    hooks = manage.list_hooks(database(), me(), project.id)
    for hook in hooks:
        show_hook(project, hook)
    if not hooks:
        st.caption("None yet.")
    new_form(project)


def show_secret(project: Project) -> None:
    """The secret that was just made: this once."""
    made = st.session_state.get("webhook_made")
    if not made or made["project"] != project.id:
        return
    with st.container(border=True):
        st.subheader("The secret", anchor=False)
        st.write(
            "Copy it now: it is not shown again. The receiver checks with it that a request is from here. "
            + (
                "The one before works for 24 hours more."
                if made["rotated"]
                else "Prefloop keeps it to sign with, so guard the database as you guard this."
            )
        )
        st.code(made["secret"], language=None, wrap_lines=True)
        if st.button("I have it", icon=":material/check:"):
            st.session_state.pop("webhook_made")
            st.rerun()


def keep_secret(project: Project, secret: str, rotated: bool) -> None:
    st.session_state["webhook_made"] = {"project": project.id, "secret": secret, "rotated": rotated}


def show_hook(project: Project, hook: manage.Hook) -> None:
    tally = hook.tally
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            # As code: Markdown would make a link of it.
            st.markdown(f"`{hook.url.replace('`', '%60')}`")
            if not hook.active:
                st.badge("Paused", color="orange", icon=":material/pause:")
            elif tally.given_up:
                st.badge(f"{tally.given_up:,} given up", color="red", icon=":material/error:")
        last = f" · last delivered {ago(tally.delivered_at)}" if tally.delivered_at else ""
        st.caption(
            f"{', '.join(hook.events)} · {tally.delivered:,} delivered, {tally.waiting:,} waiting, "
            f"{tally.given_up:,} given up in 7 days{last}"
        )
        if urlsplit(hook.url).scheme == "http":
            st.caption(
                "Not encrypted: signed, but readable on the way. Use https:// outside your own network."
            )
        buttons(project, hook)
        if said := st.session_state.pop(f"webhook_said_{hook.id}", None):
            (st.success if said[0] else st.error)(plain(said[1]))
        opened = st.expander("Deliveries", key=f"deliveries_{hook.id}", on_change="rerun")
        if opened.open:
            with opened:
                show_deliveries(project, hook)


def buttons(project: Project, hook: manage.Hook) -> None:
    with st.container(horizontal=True):
        if st.button("Send a test event", icon=":material/send:", key=f"test_{hook.id}"):
            with problems(), st.spinner("Sending …"):
                done = manage.send_test(database(), me(), project.id, hook.id)
                good = done.status == "delivered"
                text = (
                    f"The receiver answered {done.http_status}." if good else f"Not delivered: {done.error}."
                )
                st.session_state[f"webhook_said_{hook.id}"] = (good, text)
                st.rerun()
        if st.button("Resume" if not hook.active else "Pause", key=f"pause_{hook.id}"):
            with problems():
                manage.change(database(), me(), project.id, hook.id, active=not hook.active)
                st.rerun()
        with st.popover("Edit"):
            edit_form(project, hook)
        with st.popover("New secret"):
            st.write(
                "Makes another secret. The one before signs too for 24 hours, so nothing fails meanwhile."
            )
            if st.button("Make a new secret", key=f"rotate_{hook.id}"):
                with problems():
                    made = manage.rotate(database(), me(), project.id, hook.id)
                    keep_secret(project, made.secret, rotated=True)
                    st.rerun()
        with st.popover("Delete"):
            st.write("What waits to be sent is given up.")
            if st.button("Delete this webhook", key=f"delete_{hook.id}", icon=":material/delete:"):
                with problems():
                    manage.delete(database(), me(), project.id, hook.id)
                    st.rerun()


def edit_form(project: Project, hook: manage.Hook) -> None:
    with st.form(f"edit_{hook.id}_{hook.url}_{'_'.join(hook.events)}", border=False):
        url = st.text_input("Address", hook.url, width=420)
        events = choose_events(hook.events)
        if st.form_submit_button("Save"):
            with problems():
                manage.change(database(), me(), project.id, hook.id, url=url, events=events)
                st.rerun()


def choose_events(chosen: list[str]) -> list[str]:
    return st.multiselect(
        "Events",
        list(EVENTS),
        default=chosen,
        help="\n".join(f"- `{name}`: {about}" for name, about in EVENTS.items()),
    )


def new_form(project: Project) -> None:
    made_before = st.session_state.get("webhooks_made", 0)  # another key: an empty form again
    with st.form(f"new_webhook_{project.id}_{made_before}"):
        st.subheader("New webhook", anchor=False)
        url = st.text_input("Address", placeholder="https://example.org/prefloop", max_chars=2_000)
        events = choose_events(list(EVENTS))
        if st.form_submit_button("Add webhook", type="primary", icon=":material/add:"):
            with problems():
                made = manage.create(database(), me(), project.id, url, events)
                keep_secret(project, made.secret, rotated=False)
                st.session_state["webhooks_made"] = made_before + 1
                st.rerun()


def show_deliveries(project: Project, hook: manage.Hook) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        status = st.segmented_control(
            "Which", list(WORDS), format_func=WORDS.__getitem__, key=f"which_{hook.id}"
        )
        if st.button("Look again", key=f"again_{hook.id}", icon=":material/refresh:"):
            st.rerun()
        if hook.tally.given_up and st.button(
            f"Send again what was given up ({hook.tally.given_up:,})", key=f"redo_{hook.id}"
        ):
            with problems():
                number = manage.redeliver(database(), me(), project.id, hook.id)
                st.session_state[f"webhook_said_{hook.id}"] = (True, f"{number:,} will be sent again.")
                st.rerun()
    place = f"page_{hook.id}_{status}"
    page = st.session_state.get(place, 0)
    rows, total = manage.deliveries(database(), me(), project.id, hook.id, status, ROWS, page * ROWS)
    if not total:
        st.caption("Nothing was sent in the last 7 days." if not status else "None.")
        return
    chosen = st.dataframe(
        table(rows),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"rows_{hook.id}_{status}_{page}",
    )
    pages = -(-total // ROWS)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{total:,} in all, the newest first. Choose one to see what was sent.")
        if pages > 1:
            if st.button("Newer", disabled=page == 0, key=f"newer_{hook.id}"):
                st.session_state[place] = page - 1
                st.rerun()
            if st.button("Older", disabled=page + 1 >= pages, key=f"older_{hook.id}"):
                st.session_state[place] = page + 1
                st.rerun()
    if chosen.selection.rows and chosen.selection.rows[0] < len(rows):
        show_delivery(project, hook, rows[chosen.selection.rows[0]])


def table(rows: list[Delivery]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "When (UTC)": row.created_at.strftime("%d %b, %H:%M:%S"),
                "Event": row.event,
                "Status": WORDS[row.status],
                "Tries": row.attempts,
                "Next try (UTC)": row.next_at.strftime("%d %b, %H:%M:%S") if row.next_at else "",
                "Trouble": row.error or "",
            }
            for row in rows
        ]
    )


def show_delivery(project: Project, hook: manage.Hook, row: Delivery) -> None:
    st.caption(f"webhook-id: {row.id}")
    st.json(row.body)
    if st.button("Send this again", icon=":material/replay:", key=f"redo_{row.id}"):
        with problems():
            manage.redeliver(database(), me(), project.id, hook.id, row.id)
            st.session_state[f"webhook_said_{hook.id}"] = (True, "It will be sent again in a moment.")
            st.rerun()
