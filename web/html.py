"""The few pages that stand before Streamlit: a card with a form, in the theme's colours.

Plain HTML from the server, with no script and nothing from elsewhere. Values are
escaped by `markup`; a fragment that is already HTML is `Markup`.
"""

from functools import lru_cache

from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from core.errors import PrefloopError
from core.settings import ROOT

# The colours of .streamlit/config.toml, light and dark.
_STYLE = """
:root{color-scheme:light dark;--bg:#fbfaf7;--card:#fff;--ink:#1d2528;--soft:#5d6b70;--line:#dcd8cc;
--main:#0f6b6b;--on-main:#fbfaf7;--field:#fbfaf7;--bad:#a3292f;--bad-bg:#fbecea;--bad-line:#ecc8c3;--good:#0f6b6b;
--good-bg:#e8f2ef}
@media (prefers-color-scheme:dark){:root{--bg:#14191b;--card:#1b2124;--ink:#e8e6df;--soft:#9fabae;--line:#343d41;
--main:#4fb8b0;--on-main:#0d1415;--field:#14191b;--bad:#f3a9a2;--bad-bg:#33201f;--bad-line:#5b3431;--good:#6fd0c8;
--good-bg:#1a2c2c}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;min-height:100dvh;display:flex;flex-direction:column;align-items:center;
justify-content:center;gap:20px;padding:24px 16px;background:var(--bg);color:var(--ink);
font:15px/1.5 "Source Sans 3","Source Sans",-apple-system,"Segoe UI",Roboto,"Noto Sans",Arial,sans-serif}
header svg{height:34px;width:auto;display:block}
main{width:100%;max-width:400px;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:28px}
h1{font-size:21px;line-height:1.3;font-weight:650;margin:0 0 18px;letter-spacing:-.01em}
p{margin:-14px 0 18px;color:var(--soft)}
label{display:block;font-weight:600;font-size:14px;margin:0 0 5px}
.field{margin-bottom:16px}
.field small{display:block;color:var(--soft);margin-top:5px;font-size:13px}
input{width:100%;font:inherit;color:inherit;background:var(--field);border:1px solid var(--line);border-radius:8px;
padding:9px 12px;min-height:42px}
input:focus-visible,button:focus-visible,a:focus-visible{outline:2px solid var(--main);outline-offset:2px}
button,.button{display:block;width:100%;font:inherit;font-weight:600;text-align:center;text-decoration:none;
cursor:pointer;border-radius:8px;padding:9px 14px;min-height:42px;border:1px solid var(--main);background:var(--main);
color:var(--on-main);margin-top:4px}
button:hover,.button:hover{filter:brightness(1.08)}
.quiet{background:transparent;color:var(--ink);border-color:var(--line)}
.alert{border:1px solid var(--bad-line);background:var(--bad-bg);color:var(--bad);border-radius:8px;padding:10px 12px;
margin:0 0 18px}
.note{border:1px solid transparent;background:var(--good-bg);color:var(--good);border-radius:8px;padding:10px 12px;
margin:0 0 18px}
.alert b,.note b{display:block}
.or{display:flex;align-items:center;gap:12px;color:var(--soft);font-size:13px;margin:18px 0 14px}
.or:before,.or:after{content:"";flex:1;border-top:1px solid var(--line)}
footer{color:var(--soft);font-size:13px;text-align:center;max-width:400px}
footer a,p a{color:var(--main)}
"""


@lru_cache
def _logo() -> Markup:
    return Markup((ROOT / "static" / "logo.svg").read_text(encoding="utf-8"))  # noqa: S704  (our own file)


def page(title: str, body: Markup, status: int = 200, foot: str = "") -> HTMLResponse:
    text = Markup(
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title} · Prefloop</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex"><link rel="icon" href="/auth/icon.svg" type="image/svg+xml">'
        "<style>{style}</style></head><body><header>{logo}</header><main>{body}</main>{foot}</body></html>"
    ).format(
        title=title,
        style=Markup(_STYLE),  # noqa: S704
        logo=_logo(),
        body=body,
        foot=Markup("<footer>{}</footer>").format(foot) if foot else "",
    )
    return HTMLResponse(str(text), status, headers={"Cache-Control": "no-store"})


def heading(title: str, text: str = "") -> Markup:
    return Markup("<h1>{}</h1>").format(title) + (Markup("<p>{}</p>").format(text) if text else Markup(""))


def alert(problem: PrefloopError | None) -> Markup:
    if problem is None:
        return Markup("")
    return Markup('<div class="alert" role="alert"><b>{}</b>{}</div>').format(problem.message, problem.hint)


def note(text: str) -> Markup:
    return Markup('<div class="note" role="status">{}</div>').format(text) if text else Markup("")


def field(
    name: str,
    label: str,
    value: str = "",
    kind: str = "text",
    hint: str = "",
    autocomplete: str = "off",
    focus: bool = False,
    shortest: int = 0,
) -> Markup:
    extra = Markup(" autofocus") if focus else Markup("")
    if shortest:
        extra += Markup(' minlength="{}"').format(shortest)
    if hint:
        extra += Markup(' aria-describedby="{}-hint"').format(name)
    return Markup(
        '<div class="field"><label for="{name}">{label}</label>'
        '<input id="{name}" name="{name}" type="{kind}" value="{value}" autocomplete="{auto}" required{extra}>'
        "{hint}</div>"
    ).format(
        name=name,
        label=label,
        kind=kind,
        value=value,
        auto=autocomplete,
        extra=extra,
        hint=Markup('<small id="{}-hint">{}</small>').format(name, hint) if hint else "",
    )


def form(action: str, *parts: Markup, button: str, quiet: bool = False) -> Markup:
    inside = Markup("").join(parts)
    return Markup('<form method="post" action="{}">{}<button{}>{}</button></form>').format(
        action, inside, Markup(' class="quiet"') if quiet else "", button
    )


def hidden(name: str, value: str) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(name, value)


def link(href: str, label: str, quiet: bool = False) -> Markup:
    return Markup('<a class="button{}" href="{}">{}</a>').format(" quiet" if quiet else "", href, label)


def divider(text: str) -> Markup:
    return Markup('<div class="or">{}</div>').format(escape(text))
