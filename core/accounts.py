"""Accounts: who somebody is, by sign-in or token, and what an admin does with them."""

from datetime import timedelta
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, Role, Scope, require
from core.errors import Conflict, Invalid, NotFound, NotSignedIn
from core.invitations import first_admin_link, use_up
from core.settings import get_settings
from core.signin import cookies
from core.signin.passwords import hash_password, matches
from core.signin.people import check_email_is_free, clean_email, clean_name, clean_role
from core.signin.secrets import hashed, new_secret
from core.signin.validity import validity
from core.tokens import PREFIX, add_token, new_token, principal_of_token
from storage.database import Database
from storage.ids import now
from storage.tables import SignIn, User

__all__ = [
    "change_password",
    "create_user",
    "first_admin_link",
    "hashed",
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

RESET_LASTS = timedelta(days=1)


# --- signing in and out ---------------------------------------------------------------


def principal_of_sign_in(db: Database, sign_in_id: str | None) -> Principal:
    """Who a sign-in belongs to. Raises NotSignedIn when it has ended, or its user was
    deactivated."""
    with db.read() as session:
        sign_in = session.get(SignIn, sign_in_id) if sign_in_id else None
        if sign_in is None or sign_in.ended_at is not None or sign_in.expires_at <= now():
            raise NotSignedIn("You are not signed in.", "Sign in to go on.")
        user = session.get(User, sign_in.user_id)
        if user is None or not user.active:
            raise NotSignedIn("This account is not active.", "Ask an admin.")
        return Principal(user.id, user.name, Role(user.role), sign_in_id=sign_in.id)


def sign_in(db: Database, login: str, password: str, user_agent: str = "") -> SignIn:
    """Sign in by e-mail address, or by name where only one account has it. Raises
    NotSignedIn with the same words whatever was wrong."""
    with db.read() as session:
        user = _user_of_login(session, login)
    if not matches(user.password_hash if user else None, password) or user is None or not user.active:
        if user is not None:
            known = Principal(user.id, user.name, Role(user.role))
            db.write(lambda session: audit.record(session, known, "sign_in.failed", "user", known.user_id))
        raise NotSignedIn("The name or the password is wrong.", "Try again, or ask an admin for a new link.")
    return start_sign_in(db, user.id, user_agent, how="password")


def _user_of_login(session: Session, login: str) -> User | None:
    login = login.strip()
    by_email = session.exec(select(User).where(User.email == login.lower())).first()
    if by_email is not None:
        return by_email
    named = session.exec(
        select(User).where(
            func.lower(User.name) == login.lower(),
            col(User.password_hash).is_not(None),
            col(User.active).is_(True),
        )
    ).all()
    return named[0] if len(named) == 1 else None


def start_sign_in(db: Database, user_id: str, user_agent: str = "", how: str = "password") -> SignIn:
    """A session for somebody who has proved who they are."""
    lasts = timedelta(hours=get_settings().session_hours)

    def work(session: Session) -> SignIn:
        user = session.get(User, user_id)
        if user is None or not user.active:
            raise NotSignedIn("This account is not active.", "Ask an admin.")
        started = SignIn(user_id=user.id, expires_at=now() + lasts, user_agent=user_agent[:300])
        session.add(started)
        who = Principal(user.id, user.name, Role(user.role), sign_in_id=started.id)
        audit.record(session, who, "sign_in", "user", user.id, how=how)
        return started

    return db.write(work)


def sign_out(db: Database, sign_in_id: str) -> None:
    """End one sign-in, at once. One that is unknown or has ended is left as it is."""

    def work(session: Session) -> None:
        found = session.get(SignIn, sign_in_id)
        if found is None or found.ended_at is not None:
            return
        user = session.get(User, found.user_id)
        found.ended_at = now()
        session.add(found)
        if user is not None:
            who = Principal(user.id, user.name, Role(user.role))
            audit.record(session, who, "sign_out", "user", user.id)

    db.write(work)
    validity.forget()


def sign_out_everywhere(db: Database, who: Principal, but_here: bool = False) -> int:
    """End all of one's sign-ins (`but_here`: all others). Answers how many ended."""
    require(who, "token.own")

    def work(session: Session) -> int:
        ended = _end_sign_ins(session, who.user_id, spare=who.sign_in_id if but_here else None)
        audit.record(session, who, "sign_out.everywhere", "user", who.user_id, ended=ended)
        return ended

    ended = db.write(work)
    validity.forget()
    return ended


def _end_sign_ins(session: Session, user_id: str, spare: str | None = None) -> int:
    running = select(SignIn).where(SignIn.user_id == user_id, col(SignIn.ended_at).is_(None))
    ended = [item for item in session.exec(running) if item.id != spare and item.expires_at > now()]
    for item in ended:
        item.ended_at = now()
        session.add(item)
    return len(ended)


def sign_in_by_openid(
    db: Database, issuer: str, claims: dict[str, Any], role: str, invitation: str | None = None
) -> User:
    """The user an OpenID provider vouches for: known by (issuer, sub); else the local
    account with the same address, when the provider says that it verified the address;
    else a new account, with the role of the invitation they came by, or else `role`.
    Raises NotSignedIn when the account is not active."""
    subject = f"{issuer.rstrip('/')}|{claims['sub']}"
    name, email, verified = _openid_person(claims)

    def work(session: Session) -> User:
        user = session.exec(select(User).where(User.oidc_subject == subject)).first()
        if user is None and verified:
            user = session.exec(select(User).where(User.email == email)).first()
            if user is not None and user.active:
                _link(session, user, issuer, subject)
        if user is None:
            fields: dict[str, Any] = {"name": name, "email": email if verified else None}
            if invitation:
                return use_up(session, invitation, oidc_subject=subject, **fields)
            user = User(role=clean_role(role), oidc_subject=subject, **fields)
            session.add(user)
            who = Principal(user.id, user.name, Role(user.role))
            audit.record(session, who, "user.create", "user", user.id, role=user.role, issuer=issuer)
        if not user.active:
            raise NotSignedIn("This account is not active.", "Ask an admin.")
        return user

    return db.write(work)


def _openid_person(claims: dict[str, Any]) -> tuple[str, str | None, bool]:
    """(name, address, whether the provider verified the address)."""
    try:
        email = clean_email(claims.get("email"))
    except Invalid:
        email = None
    said = next((str(claims[key]) for key in ("name", "preferred_username", "email") if claims.get(key)), "")
    name = "".join(letter for letter in " ".join(said.split()) if letter.isprintable())[:80]
    return name or "Somebody", email, email is not None and claims.get("email_verified") is True


def _link(session: Session, user: User, issuer: str, subject: str) -> None:
    if user.oidc_subject is not None:
        raise Conflict(f"The account of {user.email} belongs to another identity.", "Ask an admin.")
    user.oidc_subject = subject
    session.add(user)
    who = Principal(user.id, user.name, Role(user.role))
    audit.record(session, who, "user.link_openid", "user", user.id, issuer=issuer)


# --- passwords --------------------------------------------------------------------------


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
        ended = _end_sign_ins(session, row.id, spare=who.sign_in_id)
        audit.record(session, who, "password.change", "user", row.id, ended=ended)

    db.write(work)
    validity.forget()


def reset_link(db: Database, who: Principal, user_id: str) -> str:
    """The path of a link by which somebody who forgot their password sets a new one.
    It holds for a day and works once: it names the password it replaces."""
    require(who, "user.manage")

    def work(session: Session) -> User:
        user = _find_user(session, user_id)
        if not user.active:
            raise Conflict("This account is not active.", "Reactivate it first.")
        audit.record(session, who, "password.reset_link", "user", user.id, name=user.name)
        return user

    user = db.write(work)
    signed = cookies.serializer(get_settings().data_dir, "reset").dumps([user.id, _password_mark(user)])
    return f"/auth/reset/{signed}"


def user_of_reset_link(db: Database, signed: str) -> User:
    """Whom a reset link is for. Raises NotFound when it is not good (any more)."""
    from itsdangerous import BadData

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
        user = _find_user(session, before.id)
        if _password_mark(user) != _password_mark(before):
            raise NotFound("This link is not good any more.", "Ask an admin for a new one.")
        user.password_hash = password_hash
        session.add(user)
        _end_sign_ins(session, user.id)
        who = Principal(user.id, user.name, Role(user.role))
        audit.record(session, who, "password.reset", "user", user.id)
        return user

    user = db.write(work)
    validity.forget()
    return user


def _password_mark(user: User) -> str:
    return hashed(f"{user.id}:{user.password_hash}")[:16]


# --- what an admin does -------------------------------------------------------------------


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
        user = _find_user(session, user_id)
        if (role is not None and role != Role.ADMIN) or active is False:
            _keep_an_admin(db, session, user)
        if role is not None and role != user.role:
            change = {"before": user.role, "after": role}
            audit.record(session, who, "user.role", "user", user.id, name=user.name, **change)
            user.role = role
        if active is not None and active != user.active:
            ended = 0 if active else _end_sign_ins(session, user.id)
            action = "user.reactivate" if active else "user.deactivate"
            audit.record(session, who, action, "user", user.id, name=user.name, ended=ended)
            user.active = active
        session.add(user)
        return user

    user = db.write(work)
    validity.forget()
    return user


def _find_user(session: Session, user_id: str) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise NotFound(f"There is no user {user_id}.")
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
