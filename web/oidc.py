"""Sign-in by OpenID Connect, ending in the same cookie as a password does.

The authorization code flow with PKCE, state and nonce, through Authlib (the library
behind `st.login`). Why not `st.login` itself: it needs a running page to begin from and
keeps its own cookie, while the gate lets nobody reach a page without ours.

The flow's own state travels in a signed cookie of ten minutes, kept apart from
Streamlit's session cookie and signed with the installation's key, so that any web
process can take up the answer.
"""

import logging
from typing import Any

from authlib.integrations.starlette_client import OAuth, OAuthError
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from core import accounts
from core.errors import NotFound, NotSignedIn, PrefloopError
from core.services import database
from core.settings import Settings, get_settings
from core.signin import cookies
from web.local import local_path
from web.signin import in_thread, problem_page, with_cookie

_log = logging.getLogger("prefloop")


class OwnSession:
    """Gives these routes a session cookie of their own, in a scope of their own, so that
    Streamlit's session middleware around us does not see it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        settings = get_settings()
        inner = SessionMiddleware(
            self.app,
            secret_key=cookies.secret_key(settings.data_dir),
            session_cookie="prefloop_oidc",
            max_age=600,
            path="/auth/oidc",
            same_site="lax",
            https_only=settings.cookie_secure or settings.url.startswith("https://"),
        )
        await inner(dict(scope), receive, send)


def routes() -> ASGIApp:
    return Router(
        routes=[Route("/login", login), Route("/callback", callback)], middleware=[Middleware(OwnSession)]
    )


_clients: dict[tuple[str, str], Any] = {}


def _client(settings: Settings) -> Any:
    """Authlib's client of the configured provider; it keeps the provider's metadata."""
    key = (settings.oidc_issuer, settings.oidc_client_id)
    if key not in _clients:
        _clients[key] = OAuth().register(
            "prefloop",
            server_metadata_url=settings.oidc_issuer.rstrip("/") + "/.well-known/openid-configuration",
            client_id=settings.oidc_client_id,
            client_secret=settings.oidc_client_secret.get_secret_value(),
            client_kwargs={"scope": "openid email profile", "code_challenge_method": "S256", "timeout": 10},
        )
    return _clients[key]


async def login(request: Request) -> Response:
    """Send the browser to the provider."""
    settings = get_settings()
    if not settings.oidc_issuer:
        return problem_page("Not configured", NotFound("OpenID Connect is not configured here."))
    request.session.clear()
    request.session["next"] = local_path(request.query_params.get("next"))
    if invitation := request.query_params.get("invite"):
        request.session["invite"] = invitation
    try:
        return await _client(settings).authorize_redirect(request, _redirect_uri(request, settings))
    except Exception as problem:
        return _provider_failed(problem)


async def callback(request: Request) -> Response:
    """The browser comes back with a code: trade it for an ID token, and sign in."""
    settings = get_settings()
    if not settings.oidc_issuer:
        return problem_page("Not configured", NotFound("OpenID Connect is not configured here."))
    client = _client(settings)
    try:
        issuer = (await client.load_server_metadata()).get("issuer", settings.oidc_issuer)
        if issuer.rstrip("/") != settings.oidc_issuer.rstrip("/"):
            raise OAuthError("invalid_issuer", f"the provider calls itself {issuer}")
        token = await client.authorize_access_token(
            request,
            claims_options={
                "iss": {"essential": True, "values": [issuer]},
                "aud": {"essential": True, "values": [settings.oidc_client_id]},
            },
        )
        claims = await _claims(client, token)
    except OAuthError as problem:
        refused = NotSignedIn("The provider did not sign you in.", str(problem.description or problem.error))
        return problem_page("Not signed in", refused)
    except Exception as problem:
        return _provider_failed(problem)
    target, invitation = local_path(request.session.get("next")), request.session.get("invite")
    request.session.clear()
    try:
        user = await in_thread(
            accounts.sign_in_by_openid, database(), issuer, claims, settings.oidc_role, invitation
        )
        agent = request.headers.get("user-agent", "")
        started = await in_thread(accounts.start_sign_in, database(), user.id, agent, "openid")
    except PrefloopError as problem:
        return problem_page("Not signed in", problem)
    return with_cookie(RedirectResponse(target, 303), started)


async def _claims(client: Any, token: dict[str, Any]) -> dict[str, Any]:
    """The ID token's claims, with name and address from the userinfo endpoint where the
    token does not have them. The subject is always the ID token's."""
    claims = dict(token.get("userinfo") or {})
    if not claims.get("sub"):
        raise OAuthError("invalid_token", "the answer has no ID token")
    if not claims.get("email") or not claims.get("name"):
        try:
            more = dict(await client.userinfo(token=token))
        except Exception:
            _log.warning("the OpenID provider's userinfo could not be read", exc_info=True)
            more = {}
        if more.get("sub") == claims["sub"]:  # OpenID Connect Core, 5.3.2
            claims = {**more, **claims}
    return claims


def _redirect_uri(request: Request, settings: Settings) -> str:
    base = settings.public_url.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}"
    return f"{base}/auth/oidc/callback"


def _provider_failed(problem: Exception) -> Response:
    _log.warning("sign-in by OpenID Connect failed", exc_info=problem)
    shown = PrefloopError(
        "The sign-in provider does not answer as it should.",
        "Try again. If it stays so, an admin should check PREFLOOP_OIDC_ISSUER and the server's log.",
    )
    shown.status = 502
    return problem_page("Not signed in", shown)
