"""What routes ask for: the database, and who is calling."""

from typing import Annotated

import anyio.to_thread
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from core import accounts, services
from core.access import Principal
from core.errors import NotSignedIn
from storage.database import Database

_bearer = HTTPBearer(auto_error=False, description="An API token: `make token ROLE=admin`, or My account.")

PRINCIPAL = "prefloop.principal"  # where the gate leaves whom it let through, in the scope


# Neither of these waits for anything, most of the time: as coroutines they are called where they
# are needed, instead of in a thread each.


async def database() -> Database:
    return services.database()


DatabaseDep = Annotated[Database, Depends(database)]


async def current_user(
    request: Request,
    db: DatabaseDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """Who is calling: as the gate found it for this very request, else by the token."""
    if isinstance(checked := request.scope.get(PRINCIPAL), Principal):
        return checked
    if credentials is None:
        raise NotSignedIn("This call needs a token.", "Send the header “Authorization: Bearer <token>”.")
    return await anyio.to_thread.run_sync(accounts.principal_of_token, db, credentials.credentials)


CurrentUser = Annotated[Principal, Depends(current_user)]
