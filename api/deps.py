"""What routes ask for: the database, and who is calling."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from core import accounts
from core.access import Principal
from core.errors import NotSignedIn
from core.services import database
from storage.database import Database

_bearer = HTTPBearer(auto_error=False, description="An API token: `make token ROLE=admin`, or My account.")

DatabaseDep = Annotated[Database, Depends(database)]


PRINCIPAL = "prefloop.principal"  # where the gate leaves whom it let through, in the scope


def current_user(
    request: Request,
    db: DatabaseDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """Who is calling: as the gate found it for this very request, else by the token."""
    if isinstance(checked := request.scope.get(PRINCIPAL), Principal):
        return checked
    if credentials is None:
        raise NotSignedIn("This call needs a token.", "Send the header “Authorization: Bearer <token>”.")
    return accounts.principal_of_token(db, credentials.credentials)


CurrentUser = Annotated[Principal, Depends(current_user)]
