"""A line between two places, and a word, are black in a chart where nobody gives them a colour: on a
dark page they cannot be seen. (Points, lines and areas have the theme's colour by themselves.)"""

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

BLACK = ("mark_rule", "mark_text", "mark_tick")
CHARTS = [
    path for path in sorted((ROOT / "pages").glob("*.py")) if any(mark in path.read_text() for mark in BLACK)
]


def colourless(source: str) -> list[int]:
    """Lines with such a mark that has no colour: neither by itself, nor by its own data, nor by the
    chart that it is made of."""
    found = []
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            made = dict(_assigned(function))
            encoded = {id(call.func.value): call for call in _calls(function, "encode")}
            for mark in BLACK:
                found += [
                    call.lineno
                    for call in _calls(function, mark)
                    if not (_given(call) or _given(encoded.get(id(call))) or _inherited(call, made))
                ]
    return sorted(found)


def _calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
            yield node


def _given(call: ast.Call | None) -> bool:
    return call is not None and any(keyword.arg == "color" for keyword in call.keywords)


def _assigned(function: ast.AST) -> Iterator[tuple[str, str]]:
    """Name -> what it was made of, as source; `encodings["color"] = …` makes `encodings` one with a
    colour."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, ast.unparse(node.value)
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript) and ast.unparse(node.slice) == "'color'":
            yield ast.unparse(node.value), "dict(color=1)"


def _inherited(call: ast.Call, made: dict[str, str], deep: int = 3) -> bool:
    sources = [ast.unparse(call.func)]
    for _ in range(deep):
        if any("color=" in source for source in sources):
            return True
        names = {
            node.id
            for source in sources
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Name)
        }
        sources = [made[name] for name in names if name in made]
    return False


@pytest.mark.parametrize("path", CHARTS, ids=lambda path: path.stem)
def test_every_rule_and_word_has_a_colour(path):
    assert not colourless(path.read_text()), f"pages/{path.name}: a mark without a colour"


def test_one_without_would_be_noticed():
    other = "other = alt.Chart(d).encode(color=c)"
    assert colourless(f"def f():\n    base.mark_rule(opacity=1).encode(x)\n    {other}") == [2]
    assert not colourless("def f():\n    base.mark_text().encode(x=x, color=color)")
    assert not colourless(
        f"def f():\n    {other}\n    base = other.filter(1)\n    base.mark_rule().encode(x)"
    )
