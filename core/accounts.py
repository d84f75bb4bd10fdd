"""Accounts: who somebody is, by sign-in or token."""

import hashlib
import secrets
from datetime import datetime

from sqlmodel import Session, select

from core.access import Principal, Role, Scope
from core.errors import NotSignedIn
from storage.database import Database
from storage.ids import now
from storage.tables import ApiToken, SignIn, User


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


def new_token(
    db: Database, user_id: str, name: str = "", scope: Scope = Scope.FULL, expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """Make a token; the secret is returned once and only its hash is kept."""
    secret = "pl_" + secrets.token_urlsafe(32)
    token = ApiToken(
        user_id=user_id,
        name=name,
        scope=scope,
        secret_hash=hashed(secret),
        hint=secret[:7],
        expires_at=expires_at,
    )

    def work(session: Session) -> ApiToken:
        session.add(token)
        return token

    return db.write(work), secret


def principal_of_token(db: Database, secret: str) -> Principal:
    with db.read() as session:
        token = session.exec(select(ApiToken).where(ApiToken.secret_hash == hashed(secret))).first()
        if token is None or token.revoked_at is not None:
            raise NotSignedIn("This token is unknown or was revoked.", "Make a new one.")
        if token.expires_at is not None and token.expires_at <= now():
            raise NotSignedIn("This token has expired.", "Make a new one.")
        user = session.get(User, token.user_id)
        if user is None or not user.active:
            raise NotSignedIn("This token's account is not active.", "Ask an admin.")
        return Principal(user.id, user.name, Role(user.role), Scope(token.scope), token_id=token.id)


def hashed(secret: str) -> str:
    """SHA-256: enough for secrets of 256 random bits, which cannot be guessed from a list."""
    return hashlib.sha256(secret.encode()).hexdigest()
