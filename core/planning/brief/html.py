"""The brief as one HTML file: no script, nothing loaded from elsewhere, every word escaped.
It prints on one A4 page when its sections are no longer than they should be."""

import logging
from html import escape

from core.planning.brief.collect import Brief
from core.planning.brief.pictures import svg
from core.planning.section import Section

_log = logging.getLogger("prefloop")
MOST_WHY = 4
CHART_WIDTH, CHART_HEIGHT = 300, 150

STYLE = """
@page { size: A4; margin: 10mm }
* { box-sizing: border-box }
body { font: 13px/1.38 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #1d2528;
  background: #fff; max-width: 900px; margin: 24px auto; padding: 0 20px; overflow-wrap: anywhere }
header { border-bottom: 2px solid #0f6b6b; padding-bottom: 8px; margin-bottom: 4px }
h1 { font-size: 22px; line-height: 1.2; margin: 0 }
header p { color: #5d6b70; margin: 4px 0 0 }
.note { background: #f6ede4; border-left: 3px solid #c8632b; padding: 4px 8px; margin: 8px 0 0 }
section { display: grid; grid-template-columns: 1fr 42%; gap: 4px 20px; padding: 10px 0;
  border-bottom: 1px solid #dcd8cc; break-inside: avoid }
section.plain { grid-template-columns: 1fr }
h2 { font-size: 11px; letter-spacing: .06em; text-transform: uppercase; color: #0f6b6b; margin: 0 0 2px }
.answer { font-size: 15px; font-weight: 600; line-height: 1.3; margin: 0 0 6px }
.empty .answer { font-weight: 400; color: #5d6b70 }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 6px 14px; margin: 0 0 6px }
dt { font-size: 11px; color: #5d6b70 }
dd { margin: 0; font-size: 11px; color: #5d6b70; line-height: 1.25 }
dd.value { font-size: 15px; font-weight: 600; color: #1d2528 }
ul { margin: 0; padding-left: 16px } li { margin: 1px 0 }
figure { margin: 0; align-self: center } figcaption { font-size: 11px; color: #5d6b70 }
footer { color: #5d6b70; font-size: 11px; padding-top: 8px } footer p { margin: 2px 0 }
@media (max-width: 640px) { section { grid-template-columns: 1fr } }
@media print { body { margin: 0; padding: 0; max-width: none; font-size: 9px; line-height: 1.3 }
  h1 { font-size: 17px } .answer { font-size: 11px; margin-bottom: 3px } section { padding: 4px 0; gap: 2px 14px;
  grid-template-columns: 1fr 36% } dl { grid-template-columns: repeat(auto-fill, minmax(80px, 1fr)); gap: 2px 10px; margin-bottom: 3px } dd.value { font-size: 12px }
  dt, dd, figcaption, footer { font-size: 8px } figure svg { max-height: 33mm } li:nth-child(n+4) { display: none } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def as_html(brief: Brief) -> str:
    title = f"{brief.project}: brief"
    note = ""
    if brief.simulated:
        note = '<p class="note">All votes behind these figures are simulated: they show how this works, not what people prefer.</p>'
    body = "".join(_section(section) for section in brief.sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(brief.project)}</h1><p>Whether, how and when to invest in prompt optimisation · "
        f"{written_on(brief)} · {escape(brief.author)}</p>{note}</header>"
        f"<main>{body}</main><footer>{_sources(brief)}</footer></body></html>\n"
    )


def written_on(brief: Brief) -> str:
    """`24 November 2026`"""
    return f"{brief.at.day} {brief.at:%B %Y}"


def _section(section: Section) -> str:
    figures = "".join(
        f'<div><dt>{escape(label)}</dt><dd class="value">{escape(value)}</dd><dd>{escape(detail)}</dd></div>'
        for label, value, detail in section.figures
    )
    why = "".join(f"<li>{escape(line)}</li>" for line in section.why[:MOST_WHY])
    chart = "" if section.empty else _chart(section)
    names = " ".join(name for name, on in (("plain", not chart), ("empty", section.empty)) if on)
    return (
        f'<section class="{names}"><div><h2>{escape(section.title)}</h2>'
        f'<p class="answer">{escape(section.answer)}</p>'
        f"{f'<dl>{figures}</dl>' if figures else ''}{f'<ul>{why}</ul>' if why else ''}</div>{chart}</section>"
    )


def _chart(section: Section) -> str:
    """The room's first chart; a section without one stands alone."""
    for title, chart in section.charts.items():
        try:
            drawn = svg(chart, CHART_WIDTH, f"{section.key}-", CHART_HEIGHT)
        except Exception:
            _log.exception("the chart %s of a brief could not be drawn", title)
            return "<figure><figcaption>The chart could not be drawn.</figcaption></figure>"
        return f"<figure><figcaption>{escape(title)}</figcaption>{drawn}</figure>"
    return ""


def _sources(brief: Brief) -> str:
    parts = []
    if brief.sources:
        parts.append(f"<p><strong>Measured.</strong> {escape(' '.join(brief.sources))}</p>")
    if brief.missing:
        parts.append(f"<p><strong>Not measured yet.</strong> {escape(' '.join(brief.missing))}</p>")
    parts.append(
        "<p>Everything else is assumed, as the plans say. Intervals are 95 % unless they say otherwise.</p>"
    )
    return "".join(parts)
