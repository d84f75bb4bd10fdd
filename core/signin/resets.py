"""Changing a password, and setting a new one by a link from an admin."""

from datetime import timedelta

from itsdangerous import BadData
from sqlmodel import Session

from core import audit
from core.access import Principal, Role, require
from core.errors import Conflict, Invalid, NotFound
from core.settings import get_settings
from core.signin import cookies, validity
from core.signin.passwords import hash_password, matches
from core.signin.secrets import hashed
from core.signin.sessions import end_sign_ins, find_user
from storage.database import Database
from storage.tables import User

RESET_LASTS = timedelta(days=1)


def change_password(db: Database, who: Principal, old: str, new: str) -> None:
    """Set one's own password. The old one is asked for, where there is one; other
    sign-ins end."""
    require(who, "token.own")
    with db.read() as session:
        user = session.get(User, who.user_id)
    if user is None:
        raise NotFound("This account is gone.")
    if user.password_hash is not None and not matches(user.password_hash, old):
        raise Invalid("The old password is wrong.")
    password_hash = hash_password(new)

    def work(session: Session) -> None:
        row = session.get(User, who.user_id)
        assert row is not None
        row.password_hash = password_hash
        session.add(row)
        ended = end_sign_ins(session, row.id, spare=who.sign_in_id)
        audit.record(session, who, "password.change", "user", row.id, ended=ended)

    db.write(work)
    validity.forget()


def reset_link(db: Database, who: Principal, user_id: str) -> str:
    """The path of a link by which somebody who forgot their password sets a new one.
    It holds for a day and works once: it names the password it replaces."""
    require(who, "user.manage")

    def work(session: Session) -> User:
        user = find_user(session, user_id)
        if not user.active:
            raise Conflict("This account is not active.", "Reactivate it first.")
        audit.record(session, who, "password.reset_link", "user", user.id, name=user.name)
        return user

    user = db.write(work)
    signed = cookies.serializer(get_settings().data_dir, "reset").dumps([user.id, _password_mark(user)])
    return f"/auth/reset/{signed}"


def user_of_reset_link(db: Database, signed: str) -> User:
    """Whom a reset link is for. Raises NotFound when it is not good (any more)."""
    gone = NotFound(
        "This link is not good any more.", "It works once, for a day. Ask an admin for a new one."
    )
    try:
        user_id, mark = cookies.serializer(get_settings().data_dir, "reset").loads(
            signed, max_age=int(RESET_LASTS.total_seconds())
        )
    except (BadData, ValueError):
        raise gone from None
    with db.read() as session:
        user = session.get(User, user_id)
    if user is None or not user.active or _password_mark(user) != mark:
        raise gone
    return user


def reset_password(db: Database, signed: str, password: str) -> User:
    """Set the password by a reset link, and end all sign-ins of the account."""
    before = user_of_reset_link(db, signed)
    password_hash = hash_password(password)

    def work(session: Session) -> User:
        user = find_user(session, before.id)
        if _password_mark(user) != _password_mark(before):
            raise NotFound("This link is not good any more.", "Ask an admin for a new one.")
        user.password_hash = password_hash
        session.add(user)
        end_sign_ins(session, user.id)
        who = Principal(user.id, user.name, Role(user.role))
        audit.record(session, who, "password.reset", "user", user.id)
        return user

    user = db.write(work)
    validity.forget()
    return user


def _password_mark(user: User) -> str:
    return hashed(f"{user.id}:{user.password_hash}")[:16]
