"""Whom an OpenID Connect provider vouches for: its claims, and the account they lead to."""

from typing import Any

from sqlmodel import Session, select

from core import audit
from core.access import Principal, Role
from core.errors import Conflict, Invalid, NotSignedIn
from core.invitations import use_up
from core.signin.people import clean_email, clean_role
from storage.database import Database
from storage.tables import User


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
