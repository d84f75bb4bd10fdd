"""Users, their roles, invitations. For admins."""

import pandas as pd
import streamlit as st

from core import accounts, invitations
from core.access import Role
from core.services import database
from core.settings import get_settings
from pages.shared import ago, me, problems

ROLES = {
    "annotator": "labels pairs, and sees nothing else",
    "engineer": "also prompts, data, hosts and runs",
    "lead": "also results and projects; starts no runs",
    "admin": "also people and the audit log",
}

db, who = database(), me()
st.title("People", anchor=False)
st.caption("Who can sign in, and what their role lets them do.")


# --- invite -------------------------------------------------------------------------------

waiting = invitations.list_invitations(db, who)
with st.form("invite", border=True):
    st.subheader("Invite somebody", anchor=False)
    role_at, name_at, button_at = st.columns([1.2, 2, 1], vertical_alignment="bottom")
    role = role_at.selectbox(
        "Role", list(ROLES), help=" \n".join(f"- **{key}**: {text}" for key, text in ROLES.items())
    )
    name = name_at.text_input("Name", placeholder="Optional; they can change it", max_chars=80)
    if button_at.form_submit_button("Make link", type="primary", icon=":material/link:", width="stretch"):
        with problems():
            made, secret = invitations.invite(db, who, role, name)
            st.session_state["link_once"] = (
                f"A link for {made.name or f'one {made.role}'}",
                f"{get_settings().url}/auth/invite/{secret}",
                "It makes one account and works for 7 days.",
            )
            st.rerun()

if "link_once" in st.session_state:
    title, link, text = st.session_state["link_once"]
    with st.container(border=True):
        st.subheader(title, anchor=False)
        st.text(f"{text} Copy it now: it is not shown again.")
        st.code(link, language=None, wrap_lines=True)
        if st.button("I have copied it", icon=":material/check:"):
            del st.session_state["link_once"]
            st.rerun()

if waiting:
    with st.expander(f"Open invitations ({len(waiting)})", icon=":material/mail:"):
        for item in waiting:
            text_at, button_at = st.columns([4, 1], vertical_alignment="center")
            text_at.text(
                f"{item.name or 'Anybody'} · {item.role} · made {ago(item.created_at)}"
                f" · until {item.expires_at:%d %b %H:%M} UTC"
            )
            if button_at.button("Revoke", key=f"revoke_{item.id}", width="stretch"):
                with problems():
                    invitations.revoke_invitation(db, who, item.id)
                    st.rerun()


# --- who there is -------------------------------------------------------------------------

users = accounts.list_users(db, who)
seen = accounts.last_seen(db, who)
st.subheader(f"Accounts ({len(users)})", anchor=False)
st.dataframe(
    pd.DataFrame(
        {
            "Name": [user.name for user in users],
            "E-mail": [user.email or "" for user in users],
            "Role": [user.role for user in users],
            "Status": ["active" if user.active else "deactivated" for user in users],
            "Signs in": [
                " + ".join(["password"] * bool(user.password_hash) + ["OpenID"] * bool(user.oidc_subject))
                or "tokens only"
                for user in users
            ],
            "Last seen": [ago(seen.get(user.id)) for user in users],
            "Since": [user.created_at.date() for user in users],
        }
    ),
    hide_index=True,
    width="stretch",
)


# --- change one ---------------------------------------------------------------------------


with st.container(border=True):
    st.subheader("Change an account", anchor=False)
    of = {user.id: user for user in users}
    chosen = of[
        st.selectbox(
            "Account",
            list(of),
            format_func=lambda key: (
                f"{of[key].name} · {of[key].role}" + ("" if of[key].active else " · deactivated")
            ),
            key="chosen_account",
        )
    ]
    if chosen.id == who.user_id:
        st.caption("This is your own account.")
    role_at, save_at, reset_at, active_at = st.columns([1.6, 1, 1.2, 1], vertical_alignment="bottom")
    new_role = role_at.selectbox(
        "Role", list(Role), index=list(Role).index(Role(chosen.role)), key=f"role_{chosen.id}_{chosen.role}"
    )
    if save_at.button("Change role", disabled=new_role == chosen.role, width="stretch"):
        with problems():
            accounts.set_role(db, who, chosen.id, new_role)
            st.rerun()
    if reset_at.button(
        "Password link",
        icon=":material/key:",
        disabled=not chosen.active,
        help="A link by which they set a new password. It works once, for a day.",
        width="stretch",
    ):
        with problems():
            path = accounts.reset_link(db, who, chosen.id)
            text = "It sets a new password once, within a day."
            st.session_state["link_once"] = (
                f"A password link for {chosen.name}",
                get_settings().url + path,
                text,
            )
            st.rerun()
    if chosen.active:
        if active_at.button("Deactivate", icon=":material/block:", width="stretch"):
            st.session_state["to_deactivate"] = chosen.id
    elif active_at.button("Reactivate", icon=":material/undo:", width="stretch"):
        with problems():
            accounts.set_active(db, who, chosen.id, True)
            st.rerun()
    if chosen.active and st.session_state.get("to_deactivate") == chosen.id:
        with st.container(border=True):
            st.text(f"{chosen.name} is signed out at once, everywhere, and their tokens are refused.")
            st.text("What they did stays, and you can reactivate the account.")
            yes_at, no_at = st.columns(2)
            if yes_at.button(
                f"Deactivate {chosen.name}", type="primary", key="confirm_deactivate", width="stretch"
            ):
                with problems():
                    accounts.set_active(db, who, chosen.id, False)
                    del st.session_state["to_deactivate"]
                    st.rerun()
            if no_at.button("Keep active", width="stretch"):
                del st.session_state["to_deactivate"]
                st.rerun()
