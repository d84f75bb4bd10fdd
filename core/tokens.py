"""API tokens: shown once, kept as a hash, with a scope and perhaps an end."""

import threading
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, Role, Scope, require
from core.errors import Invalid, NotFound, NotSignedIn
from core.signin import validity
from core.signin.secrets import hashed, new_secret
from storage.database import Database
from storage.ids import now
from storage.tables import ApiToken, User

PREFIX = "pl_"
_TOUCH_EVERY = timedelta(minutes=1)
_touched: dict[str, datetime] = {}
_touch_lock = threading.Lock()


def add_token(
    session: Session,
    user_id: str,
    secret_hash: str,
    hint: str,
    name: str = "",
    scope: Scope = Scope.FULL,
    expires_at: datetime | None = None,
) -> ApiToken:
    """Add a token to a unit of work, for a secret somebody else holds."""
    token = ApiToken(
        user_id=user_id, name=name, scope=scope, secret_hash=secret_hash, hint=hint, expires_at=expires_at
    )
    session.add(token)
    return token


def new_token(
    db: Database, user_id: str, name: str = "", scope: Scope = Scope.FULL, expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """Make a token; the secret is returned once and only its hash is kept. For use where
    there is nobody to ask for permission (a first start, tests): people call `make`."""
    secret = new_secret(PREFIX)
    return db.write(
        lambda session: add_token(session, user_id, hashed(secret), secret[:7], name, scope, expires_at)
    ), secret


def principal_of_token(db: Database, secret: str) -> Principal:
    """Who a token speaks for. Raises NotSignedIn when it is unknown, revoked, expired, or
    its owner was deactivated."""
    with db.read() as session:
        token = session.exec(select(ApiToken).where(ApiToken.secret_hash == hashed(secret))).first()
        if token is None or token.revoked_at is not None:
            raise NotSignedIn("This token is unknown or was revoked.", "Make a new one.")
        if token.expires_at is not None and token.expires_at <= now():
            raise NotSignedIn("This token has expired.", "Make a new one.")
        user = session.get(User, token.user_id)
        if user is None or not user.active:
            raise NotSignedIn("This token's account is not active.", "Ask an admin.")
        who = Principal(user.id, user.name, Role(user.role), Scope(token.scope), token_id=token.id)
    _touch(db, token)
    return who


def _touch(db: Database, token: ApiToken) -> None:
    """Note the use, at most once a minute: a write for each call would cost more than
    most calls do."""
    at = now()
    with _touch_lock:
        last = max(filter(None, (token.last_used_at, _touched.get(token.id))), default=None)
        if last is not None and at - last < _TOUCH_EVERY:
            return
        if len(_touched) > 10_000:
            _touched.clear()
        _touched[token.id] = at

    def work(session: Session) -> None:
        row = session.get(ApiToken, token.id)
        if row is not None:
            row.last_used_at = at
            session.add(row)

    db.write(work, quiet=True)


def list_tokens(db: Database, who: Principal) -> list[ApiToken]:
    """One's own tokens that are not revoked, newest first."""
    require(who, "token.own")
    with db.read() as session:
        query = (
            select(ApiToken)
            .where(ApiToken.user_id == who.user_id, col(ApiToken.revoked_at).is_(None))
            .order_by(col(ApiToken.created_at).desc())
        )
        return list(session.exec(query))


def make(
    db: Database, who: Principal, name: str, scope: Scope = Scope.FULL, days: float | None = None
) -> tuple[ApiToken, str]:
    """Make a token of one's own: the row and its secret, which is never shown again.
    `days` until it expires; None: never."""
    require(who, "token.own")
    name = name.strip()
    if not 1 <= len(name) <= 80:
        raise Invalid("name: 1 to 80 characters that say what the token is for.")
    if days is not None and not 0 < days <= 3650:
        raise Invalid("days: more than 0 and at most 3650, or nothing for a token that does not expire.")
    secret = new_secret(PREFIX)
    expires_at = now() + timedelta(days=days) if days is not None else None

    def work(session: Session) -> ApiToken:
        token = add_token(session, who.user_id, hashed(secret), secret[:7], name, Scope(scope), expires_at)
        audit.record(session, who, "token.make", "token", token.id, name=name, scope=str(scope))
        return token

    return db.write(work), secret


def revoke(db: Database, who: Principal, token_id: str) -> None:
    """End a token of one's own. Revoking it again changes nothing."""
    require(who, "token.own")

    def work(session: Session) -> None:
        token = session.get(ApiToken, token_id)
        if token is None or token.user_id != who.user_id:
            raise NotFound(f"You have no token {token_id}.")
        if token.revoked_at is None:
            token.revoked_at = now()
            session.add(token)
            audit.record(session, who, "token.revoke", "token", token.id, name=token.name)

    db.write(work)
    validity.forget()
