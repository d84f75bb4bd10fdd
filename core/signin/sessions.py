"""Sign-ins: a person's sessions in browsers, from the first proof to the end."""

from datetime import timedelta

from sqlalchemy import func
from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, Role, require
from core.errors import NotFound, NotSignedIn
from core.settings import get_settings
from core.signin import validity
from core.signin.passwords import matches
from storage.database import Database
from storage.ids import now
from storage.tables import SignIn, User


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
        ended = end_sign_ins(session, who.user_id, spare=who.sign_in_id if but_here else None)
        audit.record(session, who, "sign_out.everywhere", "user", who.user_id, ended=ended)
        return ended

    ended = db.write(work)
    validity.forget()
    return ended


def end_sign_ins(session: Session, user_id: str, spare: str | None = None) -> int:
    running = select(SignIn).where(SignIn.user_id == user_id, col(SignIn.ended_at).is_(None))
    ended = [item for item in session.exec(running) if item.id != spare and item.expires_at > now()]
    for item in ended:
        item.ended_at = now()
        session.add(item)
    return len(ended)


def find_user(session: Session, user_id: str) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise NotFound(f"There is no user {user_id}.")
    return user
