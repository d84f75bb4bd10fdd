"""Texts that come from elsewhere are shown as they are."""

import pytest
from markdown_it import MarkdownIt

from pages.shared import plain


@pytest.mark.parametrize(
    "text",
    [
        "a_b_c *not* strong",
        "![x](http://example.org/x.png)",
        "[link](http://example.org)",
        "`code` \\ | ~~s~~",
        "$x$ of $y$",
    ],
)
def test_markdown_shows_plain_text_as_it_is(text):
    shown = MarkdownIt().enable("strikethrough").renderInline(plain(text))
    assert shown == text and "<" not in shown


def test_streamlits_own_signs_too():
    assert plain(":red[x] :smile: a -> b") == "\\:red\\[x\\] \\:smile: a \\-> b"
    assert plain("line 1: a-b") == "line 1: a-b"
