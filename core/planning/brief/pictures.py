"""Charts as pictures, without a browser: Altair's specification through vl-convert.

Always in light colours: a brief is printed. Nothing is loaded from elsewhere, and of an
SVG only drawing is kept, whatever a label says.
"""

import re
from typing import Any
from xml.etree import ElementTree

SVG = "http://www.w3.org/2000/svg"
INK, GREY, LINE = "#1d2528", "#5d6b70", "#dcd8cc"
COLOURS = ["#0f6b6b", "#c8632b", "#5a5fb0", "#8a8f2d", "#a23b60", "#5d6b70"]
LIGHT: dict[str, Any] = {
    "background": "#ffffff",
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",  # all of one width, as measured
    "view": {"stroke": "transparent"},
    "axis": {"labelColor": INK, "titleColor": GREY, "gridColor": LINE, "domainColor": LINE, "tickColor": LINE,
             "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal"},
    "legend": {"labelColor": INK, "titleColor": GREY, "labelFontSize": 11, "titleFontSize": 11,
               "titleFontWeight": "normal", "orient": "bottom", "columns": 3, "symbolLimit": 12},
    "mark": {"color": COLOURS[0]},
    "title": {"color": INK, "fontSize": 12},
    "header": {"labelColor": INK, "titleColor": GREY},
    "text": {"fill": INK},
    "range": {"category": COLOURS},
}  # fmt: skip
_NAMES = {
    "svg", "g", "path", "rect", "line", "circle", "ellipse", "polygon", "polyline", "text", "tspan", "defs",
    "clipPath", "mask", "linearGradient", "radialGradient", "stop", "title", "desc",
}  # fmt: skip
_DRAWING = frozenset(f"{{{SVG}}}{name}" for name in _NAMES)
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def specification(chart: Any, width: int, height: int | None = None) -> dict[str, Any]:
    """Vega-Lite with a size of its own (a page gives charts theirs) and light colours."""
    spec: dict[str, Any] = chart if isinstance(chart, dict) else chart.to_dict()
    spec = {**spec, "config": _merged(spec.get("config", {}), LIGHT)}
    spec["config"]["view"] = {**spec["config"]["view"], "continuousWidth": width, "discreteWidth": width}
    split = {"row", "column", "facet"} & spec.get("encoding", {}).keys()
    if not split and not {"hconcat", "vconcat", "concat", "facet", "repeat"} & spec.keys():
        spec["width"] = width
        if height is not None and not isinstance(spec.get("height"), dict):
            spec["height"] = height
        spec["autosize"] = "pad"  # labels and legends make the picture larger, and are never cut
    return spec


def svg(chart: Any, width: int, prefix: str, height: int | None = None) -> str:
    """Inline SVG that scales to its place. `prefix` keeps its ids apart from other charts'."""
    from vl_convert import vegalite_to_svg

    drawn = vegalite_to_svg(specification(chart, width, height), allowed_base_urls=[])
    return cleaned(drawn, prefix)


def png(chart: Any, width: int, height: int | None = None, scale: float = 2) -> bytes:
    from vl_convert import vegalite_to_png

    return vegalite_to_png(specification(chart, width, height), scale=scale, allowed_base_urls=[])


def cleaned(drawn: str, prefix: str) -> str:
    """The SVG with drawing elements only, no links and no scripts, and ids of its own."""
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(drawn)  # noqa: S314 (made here, by vl-convert; no entities)
    _clean(root, prefix)
    width, height = root.get("width", "0"), root.get("height", "0")
    root.set("viewBox", root.get("viewBox") or f"0 0 {width} {height}")
    root.set("style", f"width:100%;max-width:{width}px;height:auto;overflow:visible")
    root.set("role", "img")
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element, prefix: str) -> None:
    for name, value in list(element.attrib.items()):
        if name.lower().startswith("on") or name.endswith("href"):
            del element.attrib[name]
        elif name == "id":
            element.set(name, prefix + value)
        elif "url(" in value:
            element.set(name, _REFERENCE.sub(rf"url(#{prefix}\1)", value))
    for child in list(element):
        if child.tag in _DRAWING:
            _clean(child, prefix)
        else:
            element.remove(child)


def _merged(mine: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` wins, one level deep: a chart's own sizes stay, its theme does not."""
    found = dict(mine)
    for key, value in over.items():
        found[key] = {**found.get(key, {}), **value} if isinstance(value, dict) else value
    return found
