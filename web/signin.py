"""Sign-in, sign-out, invitations and password links, as plain pages under /auth."""

import math
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlsplit

import anyio.to_thread
from markupsafe import Markup
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from core import accounts, invitations
from core.errors import NotSignedIn, PrefloopError
from core.services import database
from core.settings import ROOT, get_settings
from core.signin import cookies, validity
from core.signin.passwords import SHORTEST
from core.signin.throttle import Throttle
from storage.tables import SignIn
from web import html
from web.local import local_path

throttle = Throttle()
in_thread = anyio.to_thread.run_sync
_MOST_FORM_BYTES = 20_000


# --- sign in ------------------------------------------------------------------------------


async def sign_in_page(request: Request) -> Response:
    target = local_path(request.query_params.get("next"))
    if await signed_in(request):
        return RedirectResponse(target, 303)
    return _sign_in_form(target, said="You are signed out." if "out" in request.query_params else "")


async def sign_in(request: Request) -> Response:
    form = await read_form(request)
    target, login = local_path(_text(form, "next")), _text(form, "login").strip()
    account, address = login.lower()[:254], request.client.host if request.client else "?"
    wait = throttle.wait_s(account, address)
    if wait > 0:
        seconds = math.ceil(wait)
        problem = NotSignedIn("Too many tries.", f"Wait {seconds} second{'s' if seconds > 1 else ''}.")
        response = _sign_in_form(target, login, problem, 429)
        response.headers["Retry-After"] = str(seconds)
        return response
    try:
        started = await in_thread(
            accounts.sign_in, database(), login, _text(form, "password"), _agent(request)
        )
    except NotSignedIn as problem:
        throttle.failed(account, address)
        return _sign_in_form(target, login, problem, 401)
    throttle.succeeded(account, address)
    return with_cookie(RedirectResponse(target, 303), started)


def _sign_in_form(
    target: str, login: str = "", problem: PrefloopError | None = None, status: int = 200, said: str = ""
) -> Response:
    body = html.heading("Sign in") + html.alert(problem) + html.note(said)
    body += html.form(
        "/auth/sign-in",
        html.hidden("next", target),
        html.field("login", "E-mail or name", login, autocomplete="username", focus=not login),
        html.field(
            "password", "Password", kind="password", autocomplete="current-password", focus=bool(login)
        ),
        button="Sign in",
    )
    body += openid_button(f"next={quote(target, safe='')}")
    foot = "No account yet, or the password is gone? An admin can send you a link."
    return html.page("Sign in", body, status, foot)


def openid_button(query: str) -> Markup:
    issuer = get_settings().oidc_issuer
    if not issuer:
        return Markup("")
    label = f"Continue with {urlsplit(issuer).hostname}"
    return html.divider("or") + html.link(f"/auth/oidc/login?{query}", label, quiet=True)


# --- sign out ------------------------------------------------------------------------------


async def sign_out_page(request: Request) -> Response:
    """A GET changes nothing, so that no link or image elsewhere can sign anybody out."""
    if not await signed_in(request):
        return RedirectResponse("/auth/sign-in", 303)
    body = html.heading("Sign out?", "Other browsers you are signed in with stay signed in.")
    body += html.form("/auth/sign-out", button="Sign out")
    body += html.link("/", "Stay", quiet=True)
    return html.page("Sign out", body)


async def sign_out(request: Request) -> Response:
    sign_in_id = cookie_of(request)
    if sign_in_id is not None:
        await in_thread(accounts.sign_out, database(), sign_in_id)
    response = RedirectResponse("/auth/sign-in?out", 303)
    response.delete_cookie(cookies.COOKIE, path="/")
    return response


# --- links that make an account, or a new password -----------------------------------------


async def invite_page(request: Request) -> Response:
    secret = request.path_params["secret"]
    try:
        invitation = await in_thread(invitations.find_invitation, database(), secret)
    except PrefloopError as problem:
        return problem_page("This link cannot be used", problem)
    return _invite_form(secret, invitation.role, invitation.name)


async def accept_invite(request: Request) -> Response:
    secret = request.path_params["secret"]
    form = await read_form(request)
    name, email, password = _text(form, "name"), _text(form, "email"), _text(form, "password")
    try:
        invitation = await in_thread(invitations.find_invitation, database(), secret)
    except PrefloopError as problem:
        return problem_page("This link cannot be used", problem)
    try:
        user = await in_thread(invitations.accept, database(), secret, name, email, password)
    except PrefloopError as problem:
        if problem.status == 404:  # somebody else was faster
            return problem_page("This link cannot be used", problem)
        return _invite_form(secret, invitation.role, name, email, problem)
    started = await in_thread(accounts.start_sign_in, database(), user.id, _agent(request), "invitation")
    return with_cookie(RedirectResponse("/", 303), started)


def _invite_form(
    secret: str, role: str, name: str = "", email: str = "", problem: PrefloopError | None = None
) -> Response:
    article = "an" if role[0] in "aeiou" else "a"
    body = html.heading("Make your account", f"You are invited as {article} {role}.") + html.alert(problem)
    body += html.form(
        f"/auth/invite/{quote(secret, safe='')}",
        html.field("name", "Name", name, autocomplete="name", focus=not name, hint="What others see."),
        html.field("email", "E-mail", email, "email", autocomplete="username", hint="To sign in with."),
        _new_password_field(),
        button="Make account and sign in",
    )
    body += openid_button(f"invite={quote(secret, safe='')}")
    return html.page("Make your account", body, problem.status if problem else 200)


async def reset_page(request: Request) -> Response:
    signed = request.path_params["signed"]
    try:
        user = await in_thread(accounts.user_of_reset_link, database(), signed)
    except PrefloopError as problem:
        return problem_page("This link cannot be used", problem)
    return _reset_form(signed, user.name)


async def reset(request: Request) -> Response:
    signed = request.path_params["signed"]
    form = await read_form(request)
    try:
        user = await in_thread(accounts.user_of_reset_link, database(), signed)
    except PrefloopError as problem:
        return problem_page("This link cannot be used", problem)
    try:
        await in_thread(accounts.reset_password, database(), signed, _text(form, "password"))
    except PrefloopError as problem:
        return _reset_form(signed, user.name, problem)
    started = await in_thread(accounts.start_sign_in, database(), user.id, _agent(request), "reset link")
    return with_cookie(RedirectResponse("/", 303), started)


def _reset_form(signed: str, name: str, problem: PrefloopError | None = None) -> Response:
    body = html.heading("Set a new password", f"For the account of {name}.") + html.alert(problem)
    body += html.form(f"/auth/reset/{quote(signed, safe='')}", _new_password_field(), button="Set password")
    return html.page("Set a new password", body, problem.status if problem else 200)


def _new_password_field() -> Markup:
    hint = f"At least {SHORTEST} characters. A few words in a row do well."
    return html.field("password", "Password", "", "password", hint, "new-password", shortest=SHORTEST)


# --- shared ---------------------------------------------------------------------------------


async def icon(_request: Request) -> Response:
    headers = {"Cache-Control": "public, max-age=86400"}
    return FileResponse(ROOT / "static" / "icon.svg", media_type="image/svg+xml", headers=headers)


def problem_page(title: str, problem: PrefloopError) -> Response:
    body = html.heading(title) + html.alert(problem) + html.link("/auth/sign-in", "To the sign-in page")
    return html.page(title, body, problem.status)


def cookie_of(request: Request) -> str | None:
    value = request.cookies.get(cookies.COOKIE)
    return cookies.unsign(get_settings().data_dir, value) if value else None


async def signed_in(request: Request) -> bool:
    sign_in_id = cookie_of(request)
    return (
        sign_in_id is not None
        and (await in_thread(validity.sign_ins.check, database(), sign_in_id)).who is not None
    )


def with_cookie(response: Response, started: SignIn) -> Response:
    settings = get_settings()
    response.set_cookie(
        cookies.COOKIE,
        cookies.sign(settings.data_dir, started.id),
        max_age=int(settings.session_hours * 3600),
        path="/",
        secure=settings.cookie_secure or settings.url.startswith("https://"),
        httponly=True,
        samesite="lax",
    )
    return response


Endpoint = Callable[[Request], Awaitable[Response]]


def from_here(endpoint: Endpoint) -> Endpoint:
    """Refuse a POST that a page elsewhere makes a browser send. The cookie is SameSite
    already; this also keeps others from signing somebody in to their account."""

    async def checked(request: Request) -> Response:
        if request.method == "POST" and _from_elsewhere(request):
            problem = PrefloopError(
                "This form was sent from another site.", "Open the page here and try again."
            )
            problem.status = 403
            return problem_page("Not accepted", problem)
        return await endpoint(request)

    return checked


def _from_elsewhere(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return False  # not a browser: there is no cookie of somebody else to abuse
    ours = {request.headers.get("host", "").lower(), urlsplit(get_settings().url).netloc.lower()}
    return urlsplit(origin).netloc.lower() not in ours


async def read_form(request: Request) -> FormData:
    """The posted form; an empty one when it is larger than any form of ours."""
    if int(request.headers.get("content-length") or 0) > _MOST_FORM_BYTES:
        return FormData()
    return await request.form(max_files=0, max_fields=20)


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


def _agent(request: Request) -> str:
    return request.headers.get("user-agent", "")
