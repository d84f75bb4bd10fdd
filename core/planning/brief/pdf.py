"""The brief as one page of A4.

Sections are laid out at the most generous of some levels of detail at which all fit: then
type gets smaller, reasons fewer, charts lower, texts clipped to fewer lines. The last
level bounds every part, so it always fits.
"""

import logging
from dataclasses import dataclass

from core.planning.brief.collect import Brief
from core.planning.brief.html import written_on
from core.planning.brief.paper import (
    GREY,
    HEIGHT,
    INNER,
    MARGIN,
    ORANGE,
    TEAL,
    WIDTH,
    Paper,
    line_height,
    size_of_png,
)
from core.planning.brief.pictures import png
from core.planning.section import Section

_log = logging.getLogger("prefloop")
CHART_PIXELS = (320, 160)
GAP = 5.0  # between the text and its chart
MOST_FIGURES = 4


@dataclass(frozen=True)
class Level:
    """`scale` of the type; lines of an answer, reasons, lines of a reason, lines of a figure's
    detail; the chart's share of the width, and its greatest height in mm."""

    scale: float
    answer: int
    why: int
    why_lines: int
    detail: int
    chart: float
    chart_high: float


LEVELS = (
    Level(1.0, 7, 4, 3, 3, 0.42, 48),
    Level(0.95, 6, 4, 2, 2, 0.40, 42),
    Level(0.9, 6, 3, 2, 2, 0.38, 38),
    Level(0.86, 5, 3, 2, 2, 0.36, 34),
    Level(0.82, 5, 2, 2, 2, 0.34, 31),
    Level(0.8, 4, 2, 1, 1, 0.32, 28),
    Level(0.76, 2, 1, 1, 1, 0.30, 24),
)


def as_pdf(brief: Brief) -> bytes:
    paper = Paper(f"{brief.project}: brief", brief.author)
    top = _header(paper, brief)
    bottom = _footer(paper, brief)
    drawn = {section.key: _picture(section) for section in brief.sections}
    for level in LEVELS:
        heights = [_section(paper, section, drawn[section.key], level) for section in brief.sections]
        if sum(heights) <= bottom - top or level is LEVELS[-1]:
            break
    spare = max(0.0, bottom - top - sum(heights)) / max(1, len(heights))
    y = top
    for section, height in zip(brief.sections, heights, strict=True):
        _section(paper, section, drawn[section.key], level, y)
        y += height + min(spare, 4.0)
        paper.rule(y - 1.2)
    return paper.finish()


def _header(paper: Paper, brief: Brief) -> float:
    y = paper.write(paper.lines(brief.project, INNER, 16, 2, True), MARGIN, MARGIN - 2, 16, bold=True)
    about = f"Whether, how and when to invest in prompt optimisation · {written_on(brief)} · {brief.author}"
    y = paper.write(paper.lines(about, INNER, 8, 2), MARGIN, y, 8, GREY)
    if brief.simulated:
        text = (
            "All votes behind these figures are simulated: they show how this works, not what people prefer."
        )
        y = paper.write(paper.lines(text, INNER, 8, 2), MARGIN, y + 0.5, 8, ORANGE)
    paper.rule(y + 1.2, TEAL, 0.6)
    return y + 3


def _footer(paper: Paper, brief: Brief) -> float:
    """Sources at the foot of the page; answers where they begin."""
    size = 6.0
    parts = []
    if brief.sources:
        parts.append((f"Measured. {' '.join(brief.sources)}", 5))
    if brief.missing:
        parts.append((f"Not measured yet. {' '.join(brief.missing)}", 2))
    parts.append(
        ("Everything else is assumed, as the plans say. Intervals are 95 % unless they say otherwise.", 1)
    )
    blocks = [paper.lines(text, INNER, size, most) for text, most in parts]
    top = HEIGHT - MARGIN + 3 - sum(len(block) for block in blocks) * line_height(size)
    y = top
    for block in blocks:
        y = paper.write(block, MARGIN, y, size, GREY)
    return top - 1.5


def _picture(section: Section) -> bytes | None:
    """The room's first chart, if it has one that can be drawn."""
    if section.empty:
        return None
    for title, chart in section.charts.items():
        try:
            return png(chart, *CHART_PIXELS)
        except Exception:
            _log.exception("the chart %s of a brief could not be drawn", title)
            return None
    return None


def _section(
    paper: Paper, section: Section, picture: bytes | None, level: Level, at: float | None = None
) -> float:
    """The height of a section at a level; drawn when `at` says where."""
    wide = INNER if picture is None else INNER * (1 - level.chart) - GAP
    y = _text(paper, section, wide, level, at)
    height = y - (at or 0.0)
    if picture is not None:
        height = max(height, _chart(paper, section, picture, level, at, height))
    return height + 3.4


def _text(paper: Paper, section: Section, wide: float, level: Level, at: float | None) -> float:
    """Title, answer, figures, reasons; answers the y below."""
    y = at or 0.0

    def put(text: str, size: float, most: int, colour: tuple[int, int, int] | None = None, bold: bool = False,
            x: float = 0.0, width: float = wide, y: float = 0.0) -> float:  # fmt: skip
        size *= level.scale
        lines = paper.lines(text, width, size, most, bold)
        if at is None:
            return y + len(lines) * line_height(size)
        return paper.write(lines, MARGIN + x, y, size, colour or (29, 37, 40), bold)

    def fitting(text: str, size: float, least: float, width: float, bold: bool = False) -> float:
        """The size at which the text goes into one line, not below `least`."""
        while size > least and paper.width_of(text, size * level.scale, bold) > width:
            size -= 0.5
        return size

    y = put(section.title.upper(), 7, 1, TEAL, True, y=y)
    if section.empty:
        return put(section.answer, 8.5, level.answer, GREY, y=y)
    long = len(paper.lines(section.answer, wide, 10 * level.scale, 4, True)) > 3
    y = put(section.answer, 8.8 if long else 10, level.answer, bold=True, y=y) + 0.8
    figures = section.figures[:MOST_FIGURES]
    if figures:
        column = wide / len(figures)
        ends = []
        for place, (label, value, detail) in enumerate(figures):
            x, width = place * column, column - 2
            below = put(label, fitting(label, 6.5, 5.5, width), 1, GREY, x=x, width=width, y=y)
            size = fitting(value, 10, 7, width, True)
            below = put(value, size, 1 if size > 7 else 2, bold=True, x=x, width=width, y=below)
            ends.append(put(detail, 6, level.detail, GREY, x=x, width=width, y=below) if detail else below)
        y = max(ends) + 0.8
    for line in section.why[: level.why]:
        put("·", 8, 1, TEAL, True, y=y)
        y = put(line, 7.2, level.why_lines, x=2.4, width=wide - 2.4, y=y)
    return y


def _chart(
    paper: Paper, section: Section, picture: bytes, level: Level, at: float | None, beside: float
) -> float:
    """The height of the chart with its title. As wide as its column, unless that is too high."""
    pixels = size_of_png(picture)
    column = INNER * level.chart
    title = paper.lines(next(iter(section.charts)), column, 6.5, 1)
    top = line_height(6.5)
    width = min(column, level.chart_high * pixels[0] / pixels[1])
    height = width * pixels[1] / pixels[0]
    if at is not None:
        x = WIDTH - MARGIN - column
        y = at + max(0.0, (beside - top - height) / 2)
        paper.write(title, x, y, 6.5, GREY)
        paper.picture(picture, x + (column - width) / 2, y + top, width, height, next(iter(section.charts)))
    return top + height
