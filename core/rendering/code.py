"""Code as HTML with Pygments' class names; the colours are the page's."""

from html import escape

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

MOST = 20_000  # characters: some lexers' patterns take long on long text
_formatter = HtmlFormatter(nowrap=True)


def code_html(code: str, language: str) -> str:
    """Escaped and, when the language is known, in spans. The language is what somebody
    wrote after the fence: nothing is guessed from the code itself."""
    if not language or len(code) > MOST:
        return escape(code, quote=False)
    try:
        lexer = get_lexer_by_name(language.lower(), stripnl=False, ensurenl=False)
    except ClassNotFound:
        return escape(code, quote=False)
    return highlight(code, lexer, _formatter)
