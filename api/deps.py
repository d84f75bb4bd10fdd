"""What routes ask for: the database, and who is calling."""

from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from core import accounts
from core.access import Principal
from core.errors import NotSignedIn
from core.services import database
from storage.database import Database

_bearer = HTTPBearer(auto_error=False, description="An API token: `make token ROLE=admin`, or My account.")

DatabaseDep = Annotated[Database, Depends(database)]


def current_user(
    db: DatabaseDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    if credentials is None:
        raise NotSignedIn("This call needs a token.", "Send the header “Authorization: Bearer <token>”.")
    return accounts.principal_of_token(db, credentials.credentials)


CurrentUser = Annotated[Principal, Depends(current_user)]
