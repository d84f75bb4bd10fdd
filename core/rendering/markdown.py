"""Model and imported text as safe HTML: for `st.html`, and for the annotators' desk.

`st.markdown` rewrites such text (`:red[x]`, `:smile:`, `->`) and fetches the images it
names. Here it is CommonMark with tables, strikethrough and formulas, and nothing else: raw HTML
is shown as text, an image as its alt text, and only links to the web or to a mail address
are links. Code is marked up by Pygments' classes, formulas become MathML: nothing is
loaded, and nothing runs.
"""

from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from core.rendering.code import code_html
from core.rendering.maths import add_math, math_html

_SCHEMES = ("http://", "https://", "mailto:")
Env = MutableMapping[str, Any]


def _is_web_link(url: str) -> bool:
    """Relative addresses are refused too: they would lead into this app."""
    return url.strip().lower().startswith(_SCHEMES)


class _Renderer(RendererHTML):
    """markdown-it's renderer, with what untrusted text needs."""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        """Its alt text, or its address where it has none: nothing is fetched."""
        token = tokens[idx]
        alt = self.renderInlineAsText(token.children or [], options, env)
        return escapeHtml(alt.strip() or str(token.attrs.get("src", "")))

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        token = tokens[idx]
        token.attrSet("target", "_blank")
        token.attrSet("rel", "noopener noreferrer nofollow")
        return self.renderToken(tokens, idx, options, env)

    # Code and tables scroll on their own, so that a wide one does not widen the page.
    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        token = tokens[idx]
        code = code_html(token.content, token.info.split()[0] if token.info.split() else "")
        # Code reads from left to right, also within text that does not.
        return f'<pre dir="ltr" style="overflow-x:auto;margin:0 0 1rem"><code>{code}</code></pre>\n'

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        return self.fence(tokens, idx, options, env)

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        return '<div style="overflow-x:auto;margin:0 0 1rem"><table style="margin:0">\n'

    def math(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        token = tokens[idx]
        return math_html(token.content, display=token.block or token.markup in ("$$", "\\["))

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        return "</table></div>\n"


_markdown = MarkdownIt(
    # A single newline is a line break: verse, addresses and logs are written that way.
    "commonmark",
    {"html": False, "breaks": True},
    renderer_cls=_Renderer,
).enable(["table", "strikethrough"])
add_math(_markdown)
_markdown.validateLink = _is_web_link  # type: ignore[method-assign]


@lru_cache(maxsize=512)
def response_html(text: str) -> str:
    """Markdown by somebody we do not trust -> HTML that is safe to show, with `st.html`."""
    # Every block ends with a margin of 1rem; the last one's would pad the box it stands in.
    style = "overflow-wrap:anywhere;margin-bottom:-1rem"
    return f'<div dir="auto" style="{style}">{_markdown.render(text)}</div>'


def heading(text: str) -> str:
    """A name of somebody's making as a small heading, for `st.html`."""
    return f'<div style="font-size:1.15rem;font-weight:650;overflow-wrap:anywhere">{escapeHtml(text)}</div>'
