"""Who is here, accounts, invitations, one's own tokens, and the audit log."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from api.deps import CurrentUser, DatabaseDep
from core import accounts, audit, invitations, tokens
from core.access import ACTIONS, Role, Scope, allowed
from core.settings import get_settings

router = APIRouter(tags=["people"])

Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0)]


class Public(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Me(BaseModel):
    id: str
    name: str
    role: Role
    scope: Scope
    actions: list[str]


class UserCreate(BaseModel):
    name: str
    role: Role
    email: str | None = None


class UserCreated(BaseModel):
    id: str
    name: str
    role: Role
    token: str


class UserUpdate(BaseModel):
    role: Role | None = None
    active: bool | None = None


class UserPublic(Public):
    id: str
    name: str
    email: str | None
    role: Role
    active: bool
    created_at: datetime


class TokenCreate(BaseModel):
    name: str
    scope: Scope = Scope.FULL
    days: float | None = None


class TokenPublic(Public):
    id: str
    name: str
    hint: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class TokenCreated(TokenPublic):
    token: str


class InvitationCreate(BaseModel):
    role: Role
    name: str = ""


class InvitationPublic(Public):
    id: str
    role: Role
    name: str
    created_at: datetime
    expires_at: datetime


class InvitationCreated(InvitationPublic):
    link: str


class AuditPublic(Public):
    id: str
    at: datetime
    user_id: str | None
    user_name: str
    action: str
    entity: str
    entity_id: str
    project_id: str | None
    detail: dict[str, Any]


class AuditPage(BaseModel):
    total: int
    items: list[AuditPublic]


@router.get("/me")
def me(who: CurrentUser) -> Me:
    """Whose token this is, and what it may do."""
    may = [action for action in ACTIONS if allowed(who, action)]
    return Me(id=who.user_id, name=who.name, role=who.role, scope=who.scope, actions=may)


@router.post("/users", status_code=201)
def create_user(values: UserCreate, db: DatabaseDep, who: CurrentUser) -> UserCreated:
    """An account for a program, with its first token, which is shown only here."""
    user, token = accounts.create_user(db, who, values.name, values.role, values.email)
    return UserCreated(id=user.id, name=user.name, role=Role(user.role), token=token)


@router.get("/users")
def list_users(db: DatabaseDep, who: CurrentUser, limit: Limit = 100, offset: Offset = 0) -> list[UserPublic]:
    users = accounts.list_users(db, who)[offset : offset + limit]
    return [UserPublic.model_validate(user) for user in users]


@router.patch("/users/{user_id}")
def update_user(user_id: str, values: UserUpdate, db: DatabaseDep, who: CurrentUser) -> UserPublic:
    """Change a role, or deactivate and reactivate. Both take effect at once."""
    return UserPublic.model_validate(accounts.update_user(db, who, user_id, values.role, values.active))


@router.post("/invitations", status_code=201)
def invite(values: InvitationCreate, db: DatabaseDep, who: CurrentUser) -> InvitationCreated:
    """A link that makes one account for a person. It is shown only here."""
    made, secret = invitations.invite(db, who, values.role, values.name)
    link = f"{get_settings().url}/auth/invite/{secret}"
    return InvitationCreated(**InvitationPublic.model_validate(made).model_dump(), link=link)


@router.get("/invitations")
def list_invitations(db: DatabaseDep, who: CurrentUser) -> list[InvitationPublic]:
    """Those that can still be used."""
    return [InvitationPublic.model_validate(item) for item in invitations.list_invitations(db, who)]


@router.delete("/invitations/{invitation_id}", status_code=204)
def revoke_invitation(invitation_id: str, db: DatabaseDep, who: CurrentUser) -> None:
    invitations.revoke_invitation(db, who, invitation_id)


@router.get("/tokens")
def list_tokens(db: DatabaseDep, who: CurrentUser) -> list[TokenPublic]:
    """One's own."""
    return [TokenPublic.model_validate(token) for token in tokens.list_tokens(db, who)]


@router.post("/tokens", status_code=201)
def make_token(values: TokenCreate, db: DatabaseDep, who: CurrentUser) -> TokenCreated:
    """A token of one's own; its secret is shown only here. `days`: until it expires."""
    token, secret = tokens.make(db, who, values.name, values.scope, values.days)
    return TokenCreated(**TokenPublic.model_validate(token).model_dump(), token=secret)


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(token_id: str, db: DatabaseDep, who: CurrentUser) -> None:
    tokens.revoke(db, who, token_id)


@router.get("/audit")
def audit_log(
    db: DatabaseDep,
    who: CurrentUser,
    user_id: str | None = None,
    action: str | None = None,
    project_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> AuditPage:
    """Who did what, newest first. `action` also takes a group, such as `user`."""
    wanted = audit.Filter(user_id, action, project_id, since, until)
    items, total = audit.list_entries(db, who, wanted, limit, offset)
    return AuditPage(total=total, items=[AuditPublic.model_validate(item) for item in items])
