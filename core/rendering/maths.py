r"""Formulas: `$…$`, `$$…$$`, `\(…\)`, `\[…\]` -> MathML, which browsers draw themselves.

latex2mathml reads the LaTeX, but writes `\text{<script>}` and `\href` as they come: so
only its tree is taken, and written anew from the short lists below. A formula that it
cannot read is shown as it was written.

A dollar opens a formula as in Pandoc: no space after it, none before the closing one, and
no digit after that. So "$5 and $10" stays money.
"""

import re
from functools import lru_cache
from html import escape, unescape
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

MOST = 2_000  # characters of one formula
_TAGS = frozenset(
    [
        "math",
        "mrow",
        "mi",
        "mn",
        "mo",
        "ms",
        "mtext",
        "mspace",
        "mfrac",
        "msqrt",
        "mroot",
        "mstyle",
        "mpadded",
        "mphantom",
        "msub",
        "msup",
        "msubsup",
        "munder",
        "mover",
        "munderover",
        "mmultiscripts",
        "mprescripts",
        "none",
        "mtable",
        "mtr",
        "mtd",
        "menclose",
    ]
)
_ATTRIBUTES = frozenset(
    [
        "display",
        "mathvariant",
        "stretchy",
        "fence",
        "separator",
        "lspace",
        "rspace",
        "largeop",
        "movablelimits",
        "accent",
        "accentunder",
        "linethickness",
        "displaystyle",
        "scriptlevel",
        "columnalign",
        "rowspacing",
        "columnspacing",
        "columnlines",
        "rowlines",
        "minsize",
        "maxsize",
        "symmetric",
        "width",
        "height",
        "depth",
        "notation",
        "form",
    ]
)
_VALUE = re.compile(r"[\w .,%+-]{0,60}")


@lru_cache(maxsize=2048)
def math_html(latex: str, display: bool) -> str:
    """MathML, or the LaTeX itself where it is no LaTeX that can be read."""
    if len(latex) <= MOST and latex.count("{") <= 200:
        try:
            tree = convert_to_element(latex, display="block" if display else "inline")
            return _written(tree)
        except (Exception, RecursionError):  # noqa: S110 - whatever a model wrote: it is shown as text
            pass
    mark = "$$" if display else "$"
    return f"<code>{escape(mark + latex + mark, quote=False)}</code>"


def _written(element: Element) -> str:
    tag = element.tag if element.tag in _TAGS else "mrow"
    attributes = "".join(
        f' {name}="{escape(value)}"'
        for name, value in element.attrib.items()
        if name in _ATTRIBUTES and _VALUE.fullmatch(value)
    )
    inner = escape(unescape(element.text or ""), quote=False) + "".join(
        _written(child) + escape(unescape(child.tail or ""), quote=False) for child in element
    )
    return f"<{tag}{attributes}>{inner}</{tag}>"


def add_math(markdown: MarkdownIt) -> None:
    """Teach a parser the four delimiters. Its renderer needs a rule `math`."""
    # Before "escape", which would read \( as a bracket; before a paragraph takes $$ in.
    markdown.inline.ruler.before("escape", "math", _inline)
    markdown.block.ruler.before(
        "fence", "math", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )


_INLINE = (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"))


def _inline(state: StateInline, silent: bool) -> bool:
    text, start = state.src, state.pos
    for opening, closing in _INLINE:
        if not text.startswith(opening, start):
            continue
        begin = start + len(opening)
        end = text.find(closing, begin, begin + MOST)
        if end <= begin or (opening == "$" and not _is_formula(text, begin, end)):
            return False
        if not silent:
            token = state.push("math", "math", 0)
            token.content, token.markup = text[begin:end].strip(), opening
        state.pos = end + len(closing)
        return True
    return False


def _is_formula(text: str, begin: int, end: int) -> bool:
    return not (
        text[begin].isspace()
        or text[end - 1].isspace()
        or text[end - 1] == "\\"
        or text[end + 1 : end + 2].isdigit()
        or "\n" in text[begin:end]
    )


def _block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """$$ or \\[ at the start of a line, until a line that ends with $$ or \\]."""
    if state.is_code_block(start_line):
        return False
    first = state.src[state.bMarks[start_line] + state.tShift[start_line] : state.eMarks[start_line]]
    closing = {"$$": "$$", "\\[": "\\]"}.get(first[:2])
    if closing is None:
        return False
    lines, line = [first[2:]], start_line
    while not lines[-1].rstrip().endswith(closing):
        line += 1
        # Neither past the end of the quote or list it stands in, nor for ever.
        if line >= end_line or line - start_line > 100 or state.sCount[line] < state.blkIndent:
            return False
        lines.append(state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]])
    lines[-1] = lines[-1].rstrip()[:-2]
    if silent:
        return True
    token = state.push("math", "math", 0)
    token.block, token.content, token.markup = True, "\n".join(lines).strip(), closing
    token.map = [start_line, line + 1]
    state.line = line + 1
    return True
