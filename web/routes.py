"""Every route beside Streamlit's own: health, the API, and /auth."""

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from api.app import create_api
from api.desk import create_desk
from core.services import database
from web import oidc, signin
from web.signin import from_here


async def health(_request: Request) -> Response:
    """For load balancers and containers: 200 while the database answers."""
    try:
        good = await anyio.to_thread.run_sync(database().ping)
    except Exception:
        good = False
    return JSONResponse({"status": "ok" if good else "database does not answer"}, 200 if good else 503)


def routes() -> list[BaseRoute]:
    auth = [
        Route("/sign-in", signin.sign_in_page),
        Route("/sign-in", from_here(signin.sign_in), methods=["POST"]),
        Route("/sign-out", signin.sign_out_page),
        Route("/sign-out", from_here(signin.sign_out), methods=["POST"]),
        Route("/invite/{secret}", signin.invite_page),
        Route("/invite/{secret}", from_here(signin.accept_invite), methods=["POST"]),
        Route("/reset/{signed}", signin.reset_page),
        Route("/reset/{signed}", from_here(signin.reset), methods=["POST"]),
        Route("/icon.svg", signin.icon),
        Mount("/oidc", oidc.routes()),
    ]
    # The mount also covers the /auth/login and /auth/logout of st.login, which is not used.
    return [
        Route("/health", health),
        Mount("/api/v1", create_api()),
        Mount("/desk", create_desk()),
        Mount("/auth", routes=auth),
    ]
