from fastapi import APIRouter

from api.deps import DatabaseDep

router = APIRouter(tags=["health"])


@router.get("/health")
def health(db: DatabaseDep) -> dict[str, str]:
    """Needs no token. `ok` means that the database answers."""
    return {"status": "ok" if db.ping() else "database does not answer"}
