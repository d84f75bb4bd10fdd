"""What the app imports comes with what `make run` installs, and not only with what tests need. Read
from the source and from the installed packages' own requirements."""

import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.test_arrows import MODULES, ROOMS, imports

FILES = ("requirements.txt", "requirements-models.txt")


def named(file: str) -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return [Requirement(line) for line in lines if line]


@cache
def brought_along() -> frozenset[str]:
    """Names of all packages that the files ask for, and that those ask for in turn. Of the two with
    models only their files are used: the Makefile installs them alone."""
    found = {(canonicalize_name(one.name), "") for one in named("requirements-models.txt")}
    queue = named("requirements.txt")
    while queue:
        one = queue.pop()
        for extra in ("", *one.extras):
            key = (canonicalize_name(one.name), extra)
            if key in found:
                continue
            found.add(key)
            try:
                further = [Requirement(text) for text in requires(one.name) or ()]
            except PackageNotFoundError:  # for another platform
                continue
            queue += [of for of in further if of.marker is None or of.marker.evaluate({"extra": extra})]
    return frozenset(name for name, _ in found)


def missing(modules: dict[str, frozenset[str]]) -> dict[str, set[str]]:
    """By module of ours: packages that it imports, and that do not come along."""
    provided = packages_distributions()
    own = {*ROOMS, "app", *sys.stdlib_module_names}
    found: dict[str, set[str]] = {}
    for module, imported in modules.items():
        tops = {name.split(".")[0] for name in imported if name} - own
        wrong = {
            top
            for top in tops
            if not {canonicalize_name(name) for name in provided.get(top, ())} & brought_along()
        }
        if wrong:
            found[module] = wrong
    return found


def test_whatever_the_app_imports_comes_with_make_run():
    assert not missing({module: imports(module, everywhere=True) for module in MODULES})


def test_a_package_of_the_tests_would_be_noticed():
    assert missing({"core.some": frozenset({"hypothesis", "json", "numpy.linalg", "core.stats"})}) == {
        "core.some": {"hypothesis"}
    }
