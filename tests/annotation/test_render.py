"""Untrusted text: shown faithfully, and without any power."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.rendering.markdown import response_html
from core.rendering.maths import _ATTRIBUTES, _TAGS

HARMLESS = {
    "div",
    "p",
    "br",
    "strong",
    "em",
    "s",
    "code",
    "pre",
    "blockquote",
    "ul",
    "ol",
    "li",
    "hr",
    "a",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "span",
    *_TAGS,
}
ATTRIBUTES = {"href", "title", "target", "rel", "style", "dir", "start", "class", *_ATTRIBUTES}


class Reader(HTMLParser):
    """Every tag and attribute, as a browser would see them, and the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def check_harmless(text: str) -> Reader:
    seen = Reader(response_html(text))
    for tag, attributes in seen.tags:
        assert tag in HARMLESS, (tag, text)
        assert set(attributes) <= ATTRIBUTES, (attributes, text)
        if tag == "a":
            assert str(attributes["href"]).lower().startswith(("http://", "https://", "mailto:")), text
            assert attributes["rel"] == "noopener noreferrer nofollow" and attributes["target"] == "_blank"
    return seen


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "text <script>alert(1)</script> text",
        '<img src=x onerror="alert(1)">',
        "<IMG SRC=x OnErRoR=alert(1)//",
        "<svg/onload=alert(1)>",
        "<iframe src='javascript:alert(1)'></iframe>",
        "<a href='javascript:alert(1)'>x</a>",
        "<style>*{display:none}</style>",
        "<!-- a comment --> <![CDATA[x]]> <?php x ?>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java&#115;cript:alert(1))",
        "[x](&#x6A;avascript:alert(1))",
        "[x](java\\\nscript:alert(1))",
        "[x]( javascript:alert(1))",
        "[x](<javascript:alert(1)>)",
        "[x](vbscript:x) [y](file:///etc/passwd)",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](data:image/png;base64,AAAA)",
        "<javascript:alert(1)>",
        "[x][1]\n\n[1]: javascript:alert(1)",
        "[x](//evil.example/a) [y](/auth/logout) [z](?project=1)",
        "![x](https://evil.example/pixel.png)",
        "![x](data:image/svg+xml;base64,AAAA)",
        '![x](https://evil.example/a.png "onerror=alert(1)")',
        '![" onerror="alert(1)](https://evil.example/a.png)',
        "[![nested](https://evil.example/a.png)](javascript:alert(1))",
        "[![nested](https://evil.example/a.png)](https://example.org)",
        '[x](https://example.org "\\" onmouseover=\\"alert(1)")',
        '[x](https://example.org/"onmouseover="alert(1))',
        "> - [x](javascript:alert(1))\n>   - <script>alert(1)</script>",
        '```"><script>alert(1)</script>\ncode\n```',
        "```\n</code></pre><script>alert(1)</script>\n```",
        "    <script>indented</script>",
        "`<script>alert(1)</script>`",
        "| a |\n|---|\n| <img src=x onerror=alert(1)> |",
        "\x00<script>alert(1)</script>",
        "<scr<script>ipt>alert(1)</scr</script>ipt>",
        "$\\text{<script>alert(1)</script>}$",
        "$\\text{&lt;script&gt;alert(1)&lt;/script&gt;}$",
        "$\\href{javascript:alert(1)}{x}$ $\\style{position:fixed}{x}$ $\\class{a}{x}$",
        '$\\mathcolor{red" onmouseover="alert(1)}{x}$',
        "$<img src=x onerror=alert(1)>$",
        "$$\n</math><script>alert(1)</script>\n$$",
        "$" + "{" * 1500 + "$",
        "```python\nx = '</code></pre><script>alert(1)</script>'\n```",
        "```html\n<script>alert(1)</script>\n```",
        '```"><img\nx\n```',
    ],
)
def test_attacks_stay_text(attack):
    check_harmless(attack)


# What markdown is made of, mixed at random: more likely to find a hole than plain text.
PIECES = [
    "<",
    ">",
    '"',
    "'",
    "[",
    "]",
    "(",
    ")",
    "!",
    "`",
    "```\n",
    "\n",
    "\n\n",
    "> ",
    "- ",
    "|",
    "|-|",
    "\\",
    "&#106;",
    "javascript:",
    "data:",
    "https://a.b/",
    "<script>",
    "onerror=",
    "<img src=x ",
    "x",
    " ",
    "[1]: ",
    "mailto:",
    "<https://a.b>",
    "~~",
    "**",
    "# ",
    "$",
    "$$",
    "\\(",
    "\\)",
    "\\text{",
    "\\href{javascript:x}{",
    "\\frac{",
    "}",
    "```python\n",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=25))
def test_any_text_is_harmless(pieces):
    check_harmless("".join(pieces))


def test_what_people_write_is_kept():
    html = response_html(
        "# Title\n\n**bold** -> :red[x] :smile:\nnext line\n\n"
        "1. one\n\n```python\nif a < b: pass\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n~~gone~~"
    )
    assert "<h1>Title</h1>" in html and "<strong>bold</strong>" in html
    assert "-&gt; :red[x] :smile:<br" in html  # nothing rewritten, the line break kept
    assert "if a < b: pass" in Reader(html).text
    assert "<td>2</td>" in html and "<s>gone</s>" in html


def test_links_and_images():
    seen = check_harmless("[site](https://example.org/?a=1&b=2) <mail@example.org> [w](mailto:a@b.c)")
    assert [tag[1]["href"] for tag in seen.tags if tag[0] == "a"] == [
        "https://example.org/?a=1&b=2",
        "mailto:mail@example.org",
        "mailto:a@b.c",
    ]
    image = check_harmless("![a *red* cat](https://example.org/cat.png) ![](https://example.org/dog.png)")
    assert not [tag for tag in image.tags if tag[0] in ("img", "a")]
    assert "a red cat" in image.text and "https://example.org/dog.png" in image.text


def test_html_is_shown_as_it_was_written():
    assert "<b>bold</b> & <i>" in check_harmless("<b>bold</b> & <i>").text


def test_code_is_marked_up_by_its_language_and_only_then():
    html = response_html("```python\ndef f(): return 1 < 2\n```")
    assert '<span class="k">def</span>' in html and "&lt;" in html
    assert check_harmless("```python\ndef f(): return 1 < 2\n```").text.strip() == "def f(): return 1 < 2"
    assert "<span" not in response_html("```\ndef f(): pass\n```")
    assert "<span" not in response_html("```no-such-language\ndef f(): pass\n```")


@pytest.mark.parametrize(
    ("text", "formula", "display"),
    [
        ("so $x^2$ is", "<msup><mi>x</mi><mn>2</mn></msup>", "inline"),
        (r"so \(x^2\) is", "<msup><mi>x</mi><mn>2</mn></msup>", "inline"),
        ("$$\n\\frac{a}{b}\n$$", "<mfrac>", "block"),
        ("\\[\n\\frac{a}{b}\n\\]", "<mfrac>", "block"),
        ("text\n$$\\frac{a}{b}$$\ntext", "<mfrac>", "block"),
        ("> $$\n> \\frac{a}{b}\n> $$", "<mfrac>", "block"),
        ("- one\n- $\\frac{a}{b}$", "<mfrac>", "inline"),
    ],
)
def test_formulas_become_mathml(text, formula, display):
    html = response_html(text)
    assert formula in html and f'display="{display}"' in html and "$" not in html
    check_harmless(text)


@pytest.mark.parametrize(
    "text",
    [
        "it costs $5 and $10",
        "$5",
        "a $ b $ c",
        "`$x$`",
        "```\n$x$\n```",
        r"\$x$",
        "$$",
        "$$ never closed",
        "$ x$",
    ],
)
def test_money_and_code_are_no_formulas(text):
    assert "<math" not in response_html(text)


def test_a_formula_that_cannot_be_read_is_shown_as_it_was_written():
    assert check_harmless(r"so $\sqrt{$ is").text.strip() == r"so $\sqrt{$ is"
