"""What the annotate page in a browser talks to, under /desk: signed in by the cookie, not
by a token, and so only from pages of ours. Programs have the same under /api/v1.

The gate has checked the cookie and set the header read here; a client's own header of
that name never gets through.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, field_validator

from api.deps import DatabaseDep
from core.access import Principal
from core.annotation import sitting, votes
from core.errors import Forbidden, PrefloopError
from core.runs.folder import plain
from core.settings import get_settings
from core.signin import validity
from storage.database import Database

_SIGN_IN_HEADER = "x-prefloop-sign-in"


def person(request: Request, db: DatabaseDep) -> Principal:
    """Who is signed in. A request that another site makes a browser send is refused: it
    comes with the cookie, but can neither set this header nor hide where it is from."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    ours = {request.headers.get("host", "").lower(), urlsplit(get_settings().url).netloc.lower()}
    elsewhere = origin is not None and urlsplit(origin).netloc.lower() not in ours
    if site != "same-origin" or elsewhere or request.headers.get("x-prefloop-desk") != "1":
        raise Forbidden("This is for the annotate page.", "Programs use /api/v1 with a token.")
    return validity.sign_ins.of(db, request.headers.get(_SIGN_IN_HEADER, "")).principal()


Person = Annotated[Principal, Depends(person)]


class DeedSent(BaseModel):
    kind: Literal["vote", "skip", "undo"]
    key: str = Field(max_length=200)
    pair_id: str = Field("", max_length=200)
    values: dict[str, Any] = {}

    @field_validator("values", mode="before")
    @classmethod
    def storable(cls, values: Any) -> Any:
        """A browser may send what no database holds (half of a torn emoji, a NUL). Refused, or
        failing, the deed would stand before all that waits behind it in the browser."""
        return plain(values)


class Exchange(BaseModel):
    deeds: list[DeedSent] = Field(default_factory=list, max_length=500)
    known: list[str] = Field(default_factory=list, max_length=1_000)
    opening: bool = False
    progress: bool = False
    day_start: datetime | None = None


class Leases(BaseModel):
    leases: list[str] = Field(max_length=1_000)


def create_desk() -> FastAPI:
    desk = FastAPI(title="Prefloop desk", docs_url=None, redoc_url=None, openapi_url=None)

    @desk.post("/{project_id}/work")
    def work(project_id: str, asked: Exchange, db: DatabaseDep, who: Person) -> dict[str, Any]:
        return _exchange(db, who, project_id, asked)

    @desk.post("/{project_id}/heartbeat")
    def heartbeat(project_id: str, asked: Leases, db: DatabaseDep, who: Person) -> dict[str, Any]:
        return {"held": votes.heartbeat(db, who, project_id, asked.leases)}

    @desk.post("/{project_id}/leave", status_code=204)
    def leave(project_id: str, asked: Leases, db: DatabaseDep, who: Person) -> None:
        votes.leave(db, who, project_id, asked.leases)

    @desk.post("/{project_id}/unskip")
    def unskip(project_id: str, db: DatabaseDep, who: Person) -> dict[str, Any]:
        return {"pairs": votes.forget_skips(db, who, project_id)}

    @desk.exception_handler(PrefloopError)
    async def refused(_request: Request, problem: PrefloopError) -> JSONResponse:
        return JSONResponse({"detail": str(problem)}, problem.status)

    return desk


def _exchange(db: Database, who: Principal, project_id: str, asked: Exchange) -> dict[str, Any]:
    deeds = [sitting.Deed(item.kind, item.key, item.pair_id, item.values) for item in asked.deeds]
    answer: dict[str, Any] = {"done": [vars(outcome) for outcome in sitting.do(db, who, deeds)]}
    try:
        answer["pairs"] = sitting.pairs(db, who, project_id, asked.known)
    except Forbidden as problem:
        if not deeds:
            raise
        # What became of the deeds is told all the same: it is done.
        answer |= {"pairs": [], "refused": str(problem)}
    if asked.opening:
        answer["opening"] = sitting.opening(db, who, project_id)
    if asked.progress or asked.opening or not answer["pairs"]:
        answer["progress"] = sitting.progress(db, who, project_id, asked.day_start)
    return answer
