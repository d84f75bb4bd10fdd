"""The gate: nobody reaches a page, a socket or the API without a sign-in or a token.

A pure ASGI middleware around everything. For people it checks the signed cookie, and
tells Streamlit who it is by a header that no client can set (`st.user`). For programs
it checks the bearer token. What it lets through without either is the short list below.

A socket stays open for hours, and Streamlit runs a button's callback before the page's
own check. So the gate looks at every message from an open socket too: once the sign-in
has ended, a message becomes a plain rerun without any widget's state. The page then says
that the person is signed out, and nothing they pressed is done.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote, urlsplit

import anyio.to_thread
from starlette.requests import cookie_parser
from streamlit.proto.BackMsg_pb2 import BackMsg

from api.deps import PRINCIPAL
from core.errors import NotSignedIn
from core.services import database
from core.settings import get_settings
from core.signin import cookies, validity
from web.headers import security_headers

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SIGN_IN_HEADER = b"x-prefloop-sign-in"

API = "/api/v1"
OPEN_PATHS = frozenset(
    {
        "/health",
        "/_stcore/health",
        "/favicon.png",
        "/favicon.ico",
        f"{API}/health",
        f"{API}/docs",
        f"{API}/openapi.json",
    }
)
OPEN_PREFIXES = ("/auth/", f"{API}/docs/")
# Streamlit's own frontend, the same files for everybody: it loads parts of itself when they
# are first needed, and a page whose sign-in has just ended must still be able to say so.
FRONTEND = ("/static/js/", "/static/css/", "/static/media/")
_NOT_PAGES = ("/_stcore/", "/static/", "/media/", "/component/", "/app/static/", "/api/", "/desk/")


class Gate:
    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = _without_claims(scope)
        path = scope["path"]
        frontend = path.startswith(FRONTEND) and scope["method"] in ("GET", "HEAD")
        if frontend or path in OPEN_PATHS or path.startswith(OPEN_PREFIXES):
            await self.app(scope, receive, send)
        elif path == API or path.startswith(API + "/"):
            await self._program(scope, receive, send)
        elif path.startswith("/api/"):
            await _refuse(send, 404, f"There is nothing here. The API is at {API}, described at {API}/docs.")
        elif (sign_in_id := await _signed_in(scope)) is not None:
            scope["headers"].append((SIGN_IN_HEADER, sign_in_id.encode()))
            await self.app(scope, receive, send)
        elif _is_page(scope):
            await _redirect(send, f"/auth/sign-in?next={quote(_target(scope), safe='/')}")
        else:
            await _refuse(send, 401, "You are not signed in.")

    async def _program(self, scope: Scope, receive: Receive, send: Send) -> None:
        scheme, _, secret = _header(scope, b"authorization").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            needs = "This call needs a token. Send the header “Authorization: Bearer <token>”."
            await _refuse(send, 401, needs, challenge=True)
            return
        try:
            scope[PRINCIPAL] = (await _found(validity.tokens, secret.strip())).principal()
        except NotSignedIn as problem:
            await _refuse(send, 401, str(problem), challenge=True)
            return
        await self.app(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = _without_claims(scope)
        if not _same_origin(scope):
            await _close(receive, send, 4403)
            return
        sign_in_id = await _signed_in(scope)
        if sign_in_id is None:
            await _close(receive, send, 4401)
            return
        scope["headers"].append((SIGN_IN_HEADER, sign_in_id.encode()))

        async def checked() -> Message:
            while True:
                message = await receive()
                if message["type"] != "websocket.receive" or await _valid(sign_in_id):
                    return message
                harmless = _only_rerun(message)
                if harmless is not None:
                    return harmless

        await self.app(scope, checked, send)


# --- who is it ----------------------------------------------------------------------------


async def _signed_in(scope: Scope) -> str | None:
    """The sign-in that the request's cookie names, when it is ours and still valid."""
    value = cookie_parser(_header(scope, b"cookie")).get(cookies.COOKIE)
    sign_in_id = cookies.unsign(get_settings().data_dir, value) if value else None
    return sign_in_id if sign_in_id is not None and await _valid(sign_in_id) else None


async def _valid(sign_in_id: str) -> bool:
    return (await _found(validity.sign_ins, sign_in_id)).who is not None


async def _found(kind: validity.Validity, key: str) -> validity.Found:
    """Asks the database, in a thread, only when it has not just answered the same."""
    if (known := kind.known(key)) is not None:
        return known
    return await anyio.to_thread.run_sync(kind.check, database(), key)


def _without_claims(scope: Scope) -> Scope:
    """A copy of the scope without what a client may have claimed about who it is."""
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != SIGN_IN_HEADER]
    return {**scope, "headers": headers}


def _only_rerun(message: Message) -> Message | None:
    """The socket message as a rerun of the page and nothing else; None when it asked for
    something other than a rerun."""
    asked = BackMsg()
    try:
        asked.ParseFromString(message.get("bytes") or b"")
    except Exception:
        return None
    if asked.WhichOneof("type") != "rerun_script":
        return None
    plain = BackMsg()
    plain.rerun_script.query_string = asked.rerun_script.query_string
    plain.rerun_script.page_script_hash = asked.rerun_script.page_script_hash
    plain.rerun_script.page_name = asked.rerun_script.page_name
    return {"type": "websocket.receive", "bytes": plain.SerializeToString()}


# --- where does it come from, where does it want to go --------------------------------------


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name.lower() == wanted), "")


def _same_origin(scope: Scope) -> bool:
    """A browser names the page that opens a socket. Cookies go along with sockets from
    any page, so one from elsewhere is refused. Programs that name none are let on."""
    origin = _header(scope, b"origin")
    if not origin:
        return True
    ours = {_header(scope, b"host").lower(), urlsplit(get_settings().url).netloc.lower()}
    return urlsplit(origin).netloc.lower() in ours - {""}


def _is_page(scope: Scope) -> bool:
    if scope["method"] not in ("GET", "HEAD") or scope["path"].startswith(_NOT_PAGES):
        return False
    wanted = _header(scope, b"sec-fetch-dest")
    return wanted in ("document", "") and "text/html" in _header(scope, b"accept")


def _target(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return scope["path"] + ("?" + query if query else "")


# --- answers --------------------------------------------------------------------------------


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            ours = security_headers()
            names = {name for name, _ in ours}
            kept = [item for item in message.get("headers", []) if item[0].lower() not in names]
            message = {**message, "headers": [*kept, *ours]}
        await send(message)

    return sending


async def _redirect(send: Send, location: str) -> None:
    headers = [(b"location", location.encode("latin-1")), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(send: Send, status: int, detail: str, challenge: bool = False) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if challenge:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    body = json.dumps({"detail": detail}, ensure_ascii=False).encode()
    await send({"type": "http.response.body", "body": body})


async def _close(receive: Receive, send: Send, code: int) -> None:
    """Close a socket that was never accepted: the client sees HTTP 403."""
    await receive()  # websocket.connect
    await send({"type": "websocket.close", "code": code})
