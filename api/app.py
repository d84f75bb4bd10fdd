"""The REST API: the same actions as the pages, for programs. Mounted at /api/v1."""

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from api import (
    adjudication,
    annotation,
    annotators,
    assignment,
    champion,
    data,
    gold,
    health,
    judges,
    messages,
    my_work,
    optimize,
    people,
    planning,
    projects,
    prompts,
    quality,
    reward_bench,
    reward_compare,
    reward_models,
    reward_quality,
    reward_registry,
    reward_scores,
    runs,
    snapshots,
    webhooks,
)
from api.docs import add_docs
from core.errors import PrefloopError, Unavailable

ROUTERS = (
    health,
    people,
    projects,
    data,
    prompts,
    champion,
    annotation,
    annotators,
    assignment,
    adjudication,
    gold,
    messages,
    quality,
    judges,
    my_work,
    runs,
    optimize,
    reward_compare,
    reward_bench,
    reward_models,
    reward_registry,
    reward_quality,
    reward_scores,
    snapshots,
    planning,
    webhooks,
)


def create_api() -> FastAPI:
    api = FastAPI(
        title="Prefloop",
        version="1",
        description="Pairs, votes, reward models, prompt optimisation. Every call but /health needs a token.",
        docs_url=None,  # api.docs serves it without a CDN
        openapi_url="/openapi.json",
        redoc_url=None,
    )
    for module in ROUTERS:
        api.include_router(module.router)
    add_docs(api)

    @api.exception_handler(PrefloopError)
    async def refused(_request: Request, problem: PrefloopError) -> JSONResponse:
        headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
        if isinstance(problem, Unavailable):
            headers["Retry-After"] = str(problem.retry_after)
        return JSONResponse({"detail": str(problem)}, problem.status, headers=headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(_request: Request, problem: RequestValidationError) -> JSONResponse:
        # Without `ctx` and `url`: they may hold exceptions, and say nothing to a caller.
        fields = [{key: item[key] for key in ("loc", "msg", "type")} for item in problem.errors()]
        return JSONResponse({"detail": jsonable_encoder(fields)}, 422)

    return api
