"""Invitations: a link that makes one account, once.

Only the hash of the link's secret is kept, so the link is shown when it is made and
cannot be read again. The invitation and the account it makes are written in one
transaction, by a conditional update: of two people who use the link at once, one gets
the account.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, Role, require
from core.errors import Conflict, Invalid, NotFound
from core.signin.passwords import hash_password
from core.signin.people import check_email_is_free, clean_email, clean_name, clean_role
from core.signin.secrets import hashed, new_secret
from storage.database import Database
from storage.ids import new_id, now
from storage.tables import Invitation, User
from storage.updating import update_one

LASTS = timedelta(days=7)


def invite(db: Database, who: Principal, role: str, name: str = "") -> tuple[Invitation, str]:
    """An invitation and its secret; the link is `<base url>/auth/invite/<secret>`."""
    require(who, "user.manage")
    role = clean_role(role)
    name = clean_name(name) if name.strip() else ""
    secret = new_secret()
    invitation = Invitation(
        secret_hash=hashed(secret), role=role, name=name, created_by=who.user_id, expires_at=now() + LASTS
    )

    def work(session: Session) -> Invitation:
        session.add(invitation)
        audit.record(session, who, "invitation.make", "invitation", invitation.id, role=role, name=name)
        return invitation

    return db.write(work), secret


def list_invitations(db: Database, who: Principal) -> list[Invitation]:
    """Those that can still be used, newest first."""
    require(who, "user.manage")
    with db.read() as session:
        query = (
            select(Invitation)
            .where(
                col(Invitation.used_at).is_(None),
                col(Invitation.revoked_at).is_(None),
                col(Invitation.expires_at) > now(),
            )
            .order_by(col(Invitation.created_at).desc())
        )
        return list(session.exec(query))


def revoke_invitation(db: Database, who: Principal, invitation_id: str) -> None:
    require(who, "user.manage")

    def work(session: Session) -> None:
        invitation = session.get(Invitation, invitation_id)
        if invitation is None:
            raise NotFound(f"There is no invitation {invitation_id}.")
        if invitation.used_at is not None:
            raise Conflict("This invitation was used already.", "Deactivate the account instead.")
        if invitation.revoked_at is None:
            invitation.revoked_at = now()
            session.add(invitation)
            audit.record(session, who, "invitation.revoke", "invitation", invitation.id, role=invitation.role)

    db.write(work)


def find_invitation(db: Database, secret: str) -> Invitation:
    """The invitation a link names. Raises NotFound when it cannot be used (any more),
    without saying why to who may only be guessing."""
    with db.read() as session:
        return _usable(session, secret)


def accept(db: Database, secret: str, name: str, email: str, password: str) -> User:
    """Make the account an invitation is for, and use the invitation up. Raises Invalid
    naming the field, NotFound when the link is no longer good, Conflict when the address
    has an account."""
    find_invitation(db, secret)  # before the costly hash
    name, address = clean_name(name), clean_email(email)
    if address is None:
        raise Invalid("email: an e-mail address, to sign in with.")
    password_hash = hash_password(password)
    fields = {"name": name, "email": address, "password_hash": password_hash}
    return db.write(lambda session: use_up(session, secret, **fields))


def use_up(session: Session, secret: str, **fields: Any) -> User:
    """Within a unit of work: mark the invitation as used, and make a user with `fields`
    and the invitation's role."""
    invitation = _usable(session, secret)
    user_id = new_id()
    unused = (col(Invitation.id) == invitation.id, col(Invitation.used_at).is_(None))
    statement = update(Invitation).where(*unused).values(used_at=now(), used_by=user_id)
    if update_one(session, statement, col(Invitation.id)) is None:
        raise _gone()
    check_email_is_free(session, fields.get("email"))
    user = User(id=user_id, role=invitation.role, **fields)
    session.add(user)
    who = Principal(user.id, user.name, Role(user.role))
    audit.record(session, who, "invitation.use", "user", user.id, role=user.role, invitation=invitation.id)
    return user


def first_admin_link(db: Database, base_url: str) -> str | None:
    """A one-time link that makes the first admin, or None when there is an admin who can
    sign in. Older links of this kind that were not used stop working."""

    def work(session: Session) -> str | None:
        admins = select(User).where(User.role == Role.ADMIN, col(User.active).is_(True))
        if any(user.password_hash or user.oidc_subject for user in session.exec(admins)):
            return None
        older = select(Invitation).where(
            Invitation.role == Role.ADMIN,
            col(Invitation.created_by).is_(None),
            col(Invitation.used_at).is_(None),
            col(Invitation.revoked_at).is_(None),
        )
        for invitation in session.exec(older):
            invitation.revoked_at = now()
            session.add(invitation)
        secret = new_secret()
        first = Invitation(secret_hash=hashed(secret), role=Role.ADMIN, expires_at=now() + LASTS)
        session.add(first)
        audit.record(session, None, "invitation.make", "invitation", first.id, role="admin", first=True)
        return secret

    secret = db.write(work)
    return f"{base_url.rstrip('/')}/auth/invite/{secret}" if secret else None


def _usable(session: Session, secret: str) -> Invitation:
    found = session.exec(select(Invitation).where(Invitation.secret_hash == hashed(secret))).first()
    if found is None or found.used_at or found.revoked_at or found.expires_at <= now():
        raise _gone()
    return found


def _gone() -> NotFound:
    return NotFound(
        "This link is not good any more.", "It works once, for 7 days. Ask an admin for a new one."
    )
