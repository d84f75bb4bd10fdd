"""Accounts: who there is, and what an admin does with them. Also the one door to the rest
of the room: sign-ins, passwords, OpenID and tokens are in `core.signin` and
`core.tokens`, and are to be had from here."""

from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, Role, Scope, require
from core.errors import Conflict
from core.invitations import first_admin_link
from core.signin import validity
from core.signin.openid import sign_in_by_openid
from core.signin.people import check_email_is_free, clean_email, clean_name, clean_role
from core.signin.resets import change_password, reset_link, reset_password, user_of_reset_link
from core.signin.secrets import hashed, new_secret
from core.signin.sessions import (
    end_sign_ins,
    find_user,
    principal_of_sign_in,
    sign_in,
    sign_out,
    sign_out_everywhere,
    start_sign_in,
)
from core.tokens import PREFIX, add_token, new_token, principal_of_token
from storage.database import Database
from storage.tables import ApiToken, SignIn, User

__all__ = [
    "change_password",
    "create_user",
    "first_admin_link",
    "get_user",
    "hashed",
    "last_seen",
    "list_users",
    "new_token",
    "principal_of_sign_in",
    "principal_of_token",
    "reset_link",
    "reset_password",
    "set_active",
    "set_role",
    "sign_in",
    "sign_in_by_openid",
    "sign_out",
    "sign_out_everywhere",
    "start_sign_in",
    "update_user",
    "user_of_reset_link",
]


def create_user(
    db: Database, who: Principal, name: str, role: str, email: str | None = None
) -> tuple[User, str]:
    """An account for a program, with a first token: the user, and the token's secret,
    which is never shown again. People get an invitation instead."""
    require(who, "user.manage")
    name, role, address = clean_name(name), clean_role(role), clean_email(email)
    secret = new_secret(PREFIX)

    def work(session: Session) -> User:
        check_email_is_free(session, address)
        user = User(name=name, role=role, email=address)
        session.add(user)
        add_token(session, user.id, hashed(secret), secret[:7], "first token", Scope.FULL)
        audit.record(session, who, "user.create", "user", user.id, name=name, role=role)
        return user

    return db.write(work), secret


def list_users(db: Database, who: Principal) -> list[User]:
    require(who, "user.manage")
    with db.read() as session:
        return list(session.exec(select(User).order_by(col(User.created_at), col(User.id))))


def get_user(db: Database, who: Principal) -> User:
    """One's own account."""
    with db.read() as session:
        return find_user(session, who.user_id)


def last_seen(db: Database, who: Principal) -> dict[str, datetime]:
    """When each user last signed in or used a token; who never did is left out."""
    require(who, "user.manage")
    latest: dict[str, datetime] = {}
    with db.read() as session:
        signed = select(SignIn.user_id, func.max(SignIn.created_at)).group_by(SignIn.user_id)
        used = select(ApiToken.user_id, func.max(ApiToken.last_used_at)).group_by(ApiToken.user_id)
        for user_id, at in [*session.exec(signed), *session.exec(used)]:
            if at is not None and (user_id not in latest or at > latest[user_id]):
                latest[user_id] = at
    return latest


def set_role(db: Database, who: Principal, user_id: str, role: str) -> User:
    """Takes effect with the next thing the person does."""
    return update_user(db, who, user_id, role=role)


def set_active(db: Database, who: Principal, user_id: str, active: bool) -> User:
    """Deactivating ends the person's sign-ins, and their tokens are refused, at once.
    Reactivating lets them sign in again, and their tokens work again."""
    return update_user(db, who, user_id, active=active)


def update_user(
    db: Database, who: Principal, user_id: str, role: str | None = None, active: bool | None = None
) -> User:
    """Change what is given, all of it or nothing. Raises Conflict where it would take the
    last admin away."""
    require(who, "user.manage")
    role = clean_role(role) if role is not None else None

    def work(session: Session) -> User:
        user = find_user(session, user_id)
        if (role is not None and role != Role.ADMIN) or active is False:
            _keep_an_admin(db, session, user)
        if role is not None and role != user.role:
            change = {"before": user.role, "after": role}
            audit.record(session, who, "user.role", "user", user.id, name=user.name, **change)
            user.role = role
        if active is not None and active != user.active:
            ended = 0 if active else end_sign_ins(session, user.id)
            action = "user.reactivate" if active else "user.deactivate"
            audit.record(session, who, action, "user", user.id, name=user.name, ended=ended)
            user.active = active
        session.add(user)
        return user

    user = db.write(work)
    validity.forget()
    return user


def _keep_an_admin(db: Database, session: Session, user: User) -> None:
    """Refuse to lose the last admin, or the last one who can sign in."""
    if user.role != Role.ADMIN or not user.active:
        return
    query = select(User).where(User.role == Role.ADMIN, col(User.active).is_(True))
    if not db.is_duckdb:  # there, the write lock already keeps two of these apart
        query = query.with_for_update()
    others = [item for item in session.exec(query) if item.id != user.id]
    if _can_sign_in(user):
        others = [item for item in others if _can_sign_in(item)]
    if not others:
        raise Conflict(f"{user.name} is the last active admin.", "Make somebody else an admin first.")


def _can_sign_in(user: User) -> bool:
    return bool(user.password_hash or user.oidc_subject)
