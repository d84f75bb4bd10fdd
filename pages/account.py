"""One's own account: tokens, password, sign-out. For everybody."""

import pandas as pd
import streamlit as st

from core import accounts, tokens
from core.access import ACTIONS, Scope, allowed
from core.services import database
from core.signin.passwords import SHORTEST
from pages.shared import ago, me, post_button, problems

SCOPES = {
    Scope.FULL: "everything that I may do",
    Scope.READ: "reading only",
    Scope.ANNOTATE: "claiming pairs and voting only",
}
LASTS = {"30 days": 30, "90 days": 90, "1 year": 365, "for ever": None}

db, who = database(), me()
account = accounts.get_user(db, who)

title_at, out_at = st.columns([4, 1], vertical_alignment="bottom")
with title_at:
    st.title("My account", anchor=False)
with out_at:
    post_button("/auth/sign-out", "Sign out")

with st.container(border=True):
    name_at, role_at, email_at = st.columns([2, 1, 2])
    for place, label, value in (
        (name_at, "Name", account.name),
        (role_at, "Role", account.role),
        (email_at, "E-mail", account.email or "none"),
    ):
        place.caption(label)
        place.text(value)
    with st.expander("What my role may do"):
        st.text(", ".join(action for action in ACTIONS if allowed(who, action)))


# --- tokens -------------------------------------------------------------------------------

st.subheader("API tokens", anchor=False)
st.caption(
    "For programs that act in your name. [What they can call](/api/v1/docs) is described, and can be tried, there."
)

if "token_once" in st.session_state:
    with st.container(border=True):
        st.text("Copy the token now: it is not shown again.")
        st.code(st.session_state["token_once"], language=None, wrap_lines=True)
        if st.button("I have copied it", icon=":material/check:"):
            del st.session_state["token_once"]
            st.rerun()

mine = tokens.list_tokens(db, who)
if mine:
    st.dataframe(
        pd.DataFrame(
            {
                "Name": [token.name for token in mine],
                "Starts with": [token.hint + "…" for token in mine],
                "For": [SCOPES[Scope(token.scope)] for token in mine],
                "Last used": [ago(token.last_used_at) for token in mine],
                "Until": [
                    f"{token.expires_at:%Y-%m-%d}" if token.expires_at else "for ever" for token in mine
                ],
            }
        ),
        hide_index=True,
        width="stretch",
    )
    pick_at, revoke_at = st.columns([4, 1], vertical_alignment="bottom")
    names = {token.id: f"{token.name} ({token.hint}…)" for token in mine}
    picked = pick_at.selectbox("Token to revoke", list(names), format_func=names.__getitem__)
    if revoke_at.button("Revoke", icon=":material/block:", width="stretch"):
        with problems():
            tokens.revoke(db, who, picked)
            st.rerun()
else:
    st.text("You have no tokens. A program needs one to import data, vote, or start runs.")

with st.form("new_token", border=True):
    name_at, scope_at, lasts_at, button_at = st.columns([2, 2, 1.2, 1.2], vertical_alignment="bottom")
    name = name_at.text_input("What for", placeholder="nightly import", max_chars=80)
    scope = scope_at.selectbox("Good for", list(SCOPES), format_func=SCOPES.__getitem__)
    lasts = lasts_at.selectbox("Lasts", list(LASTS), index=1)
    if button_at.form_submit_button("Make token", type="primary", icon=":material/add:", width="stretch"):
        with problems():
            st.session_state["token_once"] = tokens.make(db, who, name, scope, LASTS[lasts])[1]
            st.rerun()


# --- password and sign-ins ------------------------------------------------------------------

st.subheader("Password", anchor=False)
with st.form("password", border=True, clear_on_submit=True):
    has_one = account.password_hash is not None
    old = st.text_input("Old password", type="password", autocomplete="current-password") if has_one else ""
    new = st.text_input(
        "New password",
        type="password",
        autocomplete="new-password",
        help=f"At least {SHORTEST} characters. Other browsers are signed out.",
    )
    if st.form_submit_button("Change password" if has_one else "Set a password"):
        with problems():
            accounts.change_password(db, who, old, new)
            st.success("The password is changed. Other browsers are signed out.", icon=":material/check:")

st.subheader("Sign-ins", anchor=False)
with st.container(border=True):
    text_at, button_at = st.columns([3, 1], vertical_alignment="center")
    text_at.text("Sign out of every other browser, if you used one that is not yours.")
    if button_at.button("Sign out elsewhere", width="stretch"):
        with problems():
            ended = accounts.sign_out_everywhere(db, who, but_here=True)
            st.toast(f"{ended} other sign-in{'' if ended == 1 else 's'} ended.", icon=":material/check:")
