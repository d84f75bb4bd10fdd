"""The brief as HTML and as PDF: one page, self-contained, safe whatever it says."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.planning.brief import paper as sheets
from core.planning.brief.collect import Brief
from core.planning.brief.html import as_html
from core.planning.brief.paper import Paper, size_of_png
from core.planning.brief.pdf import as_pdf
from core.planning.brief.pictures import cleaned, png, specification, svg
from core.planning.section import Section

EVIL = '</style><script src="https://evil.example/x.js">alert(1)</script>"onload=alert(1) <img src=x> {{7*7}}'


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.mark.parametrize("text", ["", EVIL])
def test_html_loads_nothing_and_runs_nothing(make_brief, text):
    page = as_html(make_brief(text))
    elements = Elements(page).found
    assert not {tag for tag, _ in elements} & {
        "script",
        "img",
        "link",
        "iframe",
        "object",
        "image",
        "a",
        "use",
    }
    for tag, attributes in elements:
        for name, value in attributes.items():
            assert not name.startswith("on") and name not in ("src", "href", "xlink:href"), (tag, name)
            assert "url(http" not in (value or "")
    assert page.count("<style>") == page.count("</style>") == 1
    assert [tag for tag, _ in elements].count("section") == 5
    if text:
        assert "&lt;script src=" in page
    assert "default-src 'none'" in page


def test_charts_in_one_page_do_not_share_ids(make_brief):
    page = as_html(make_brief())
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert ids and len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


@pytest.mark.parametrize("times", [1, 3, 30])
def test_the_pdf_is_one_page_and_nothing_leaves_it(make_brief, monkeypatch, times):
    lowest = []
    write, picture = Paper.write, Paper.picture

    def watched(self, lines, x, y, size, *rest, **named):
        for line in lines:
            self.pdf.set_font("dejavu", "B" if named.get("bold") or (rest[1:2] == (True,)) else "", size)
            assert x + self.pdf.get_string_width(line) <= sheets.WIDTH - sheets.MARGIN + 0.1
        below = write(self, lines, x, y, size, *rest, **named)
        lowest.append((below, size))
        return below

    def placed(self, content, x, y, width, height, alt):
        assert x + width <= sheets.WIDTH - sheets.MARGIN + 0.1
        lowest.append((y + height, 0))
        picture(self, content, x, y, width, height, alt)

    monkeypatch.setattr(Paper, "write", watched)
    monkeypatch.setattr(Paper, "picture", placed)
    pdf = as_pdf(make_brief(times=times))
    assert pdf.startswith(b"%PDF-") and pages_of(pdf) == 1
    assert max(below for below, _ in lowest) <= sheets.HEIGHT - 5
    # The sections end where the sources begin.
    sources = min(below for below, size in lowest if size == 6.0)
    sections = [below for below, size in lowest if size != 6.0]
    assert max(sections) <= sources + 0.5


def test_the_pdf_of_a_brief_with_nothing_to_say(make_brief):
    brief = make_brief()
    empty = [Section(s.key, s.title, "No plan yet.", empty=True) for s in brief.sections]
    for one in (replace(brief, sections=empty), Brief("", "", brief.at, [])):
        assert pages_of(as_pdf(one)) == 1
        assert "<main>" in as_html(one)


def test_a_chart_that_cannot_be_drawn_does_not_break_the_brief(make_brief):
    brief = make_brief()
    brief.sections[0].charts = {"Broken": {"mark": "nonsense"}}
    brief.sections[1].charts = {"Worse": object()}
    assert pages_of(as_pdf(brief)) == 1
    assert as_html(brief).count("could not be drawn") == 2


ONE = Paper("t", "a")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=200), st.floats(6, 60), st.integers(1, 4))
def test_any_text_wraps_within_its_width(text, width, most):
    lines = ONE.lines(text, width, 8, most)
    assert len(lines) <= most
    ONE.pdf.set_font("dejavu", "", 8)
    assert all(ONE.pdf.get_string_width(line) <= width + 0.01 or len(line) <= 2 for line in lines)
    if len("".join(lines).replace(" ", "")) < len("".join(ONE.shown(text).split())):
        assert lines[-1].endswith("…")


def test_what_the_font_lacks_is_a_box():
    assert ONE.shown("Ünï €₹ 日本\n🎉") == "Ünï €₹ □□ □"
    assert Paper("日本 \ud800", "🎉").finish().startswith(b"%PDF-")


def test_pictures_are_light_and_have_a_size_of_their_own(make_brief):
    chart = next(iter(make_brief().sections[0].charts.values()))
    spec = specification(chart.configure(background="#000000"), 300, 100)
    assert spec["config"]["background"] == "#ffffff" and (spec["width"], spec["height"]) == (300, 100)
    width, height = size_of_png(png(chart, 300, 100))  # twice the plot, and its axes
    assert 600 <= width < 760 and 200 <= height < 300
    assert "viewBox" in svg(chart, 300, "p-", 100)


def test_only_drawing_is_kept_of_an_svg():
    drawn = cleaned(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="5" height="6">'
        '<script>x</script><g id="a" onclick="x" clip-path="url(#a)"><a xlink:href="javascript:x"><text>t</text></a>'
        "<text>id=\"a\" &lt;b&gt;</text></g><image href='https://evil.example'/></svg>",
        "p-",
    )
    assert (
        "script" not in drawn and "onclick" not in drawn and "evil" not in drawn and "javascript" not in drawn
    )
    assert (
        'id="p-a"' in drawn and 'clip-path="url(#p-a)"' in drawn and '<text>id="a" &lt;b&gt;</text>' in drawn
    )
    assert 'viewBox="0 0 5 6"' in drawn
