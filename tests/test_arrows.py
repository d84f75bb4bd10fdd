"""The arrows of the design: `app -> web, pages, api -> core -> storage`, and what may reach
torch or the database at all. Read from the source, without importing it."""

import ast
from functools import cache
from pathlib import Path

import pytest

from core.runs.kinds import KINDS
from tests.conftest import ROOT

ROOMS = ("storage", "core", "api", "pages", "web", "demo")
HEAVY = {"torch", "transformers", "trl", "accelerate", "datasets", "peft"}
WORKER_ENTRY = "core.runs.worker"


def files() -> list[Path]:
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return [ROOT / "app.py", *(path for path in found if "migrations" not in path.parts)]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in files()}


def imports_in(tree: ast.AST, module: str, everywhere: bool) -> set[str]:
    """What is imported: everywhere, or only by importing the module (not within functions,
    and not under `if TYPE_CHECKING`)."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
                    parents = package.split(".")[: len(package.split(".")) - child.level + 1]
                    base = ".".join([*parents, base]).strip(".")
                found.add(base)
                found.update(f"{base}.{alias.name}" for alias in child.names)
            elif not everywhere and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            elif not everywhere and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                visit(ast.Module(body=child.orelse, type_ignores=[]))
            else:
                visit(child)

    visit(tree)
    return found


@cache
def imports(module: str, everywhere: bool = False) -> frozenset[str]:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return frozenset(imports_in(tree, module, everywhere))


def reachable(starts: list[str], everywhere: bool = False) -> dict[str, str]:
    """Every module of ours, and every package of others, that importing `starts` brings
    in; each with the chain that leads to it."""
    chains = {start: start for start in starts}
    queue = list(starts)
    while queue:
        module = queue.pop()
        if module not in MODULES:
            continue
        parents = [module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1)]
        for name in [*imports(module, everywhere), *parents]:
            if name not in chains:
                chains[name] = f"{chains[module]} -> {name}"
                queue.append(name)
    return chains


def rooms_of(names: frozenset[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def refuse(chains: dict[str, str], packages: set[str]) -> None:
    wrong = [chain for name, chain in chains.items() if name.split(".")[0] in packages or name in packages]
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("storage", {"core", "api", "pages", "web", "app", "streamlit", "fastapi", "starlette"}),
        ("core", {"api", "pages", "web", "app", "streamlit", "fastapi", "starlette"}),
        ("api", {"pages", "web", "app", "streamlit"}),
        ("pages", {"api", "web", "app", "sqlalchemy", "sqlmodel", "alembic", "duckdb", "fastapi"} | HEAVY),
        ("web", {"pages", "app", "sqlalchemy", "sqlmodel"} | HEAVY),
    ],
)
def test_calls_go_one_way(room, forbidden):
    checked = 0
    for module in MODULES:
        if module.split(".")[0] == room:
            wrong = rooms_of(imports(module, everywhere=True)) & forbidden
            assert not wrong, f"{module} imports {', '.join(sorted(wrong))}"
            checked += 1
    assert checked > 1


def test_the_worker_never_reaches_the_database():
    """Neither by importing, nor by an import inside a function: the worker's own modules
    and every kind's work are followed through both."""
    for kind in KINDS.values():
        assert kind.worker in MODULES, f"{kind.worker} does not exist"
        refuse(
            reachable([kind.worker], everywhere=True),
            {"storage.database", "sqlmodel", "sqlalchemy", "duckdb"},
        )
    refuse(reachable([WORKER_ENTRY]), {"storage.database", "sqlmodel", "sqlalchemy", "duckdb"})


def test_the_web_process_never_imports_torch():
    """By importing any page, route or entry, and the web side of every kind of run."""
    starts = [name for name in MODULES if name.split(".")[0] in ("app", "pages", "api", "web")]
    starts += [kind.module for kind in KINDS.values()]
    refuse(reachable(starts), HEAVY)


def test_the_map_finds_what_is_there():
    """So that the tests above cannot pass by seeing nothing."""
    assert "torch" in rooms_of(frozenset(reachable([KINDS["reward_model"].worker], everywhere=True)))
    assert "storage.database" in reachable(["app"])
    tree = ast.parse("import a\ndef f():\n    import b\nif TYPE_CHECKING:\n    import c\nelse:\n    import d")
    assert imports_in(tree, "app", everywhere=False) == {"a", "d"}
    assert imports_in(tree, "app", everywhere=True) == {"a", "b", "c", "d"}
