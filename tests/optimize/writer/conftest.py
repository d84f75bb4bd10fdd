"""A tiny model in process, and searches on it."""

import pytest

from core.llm.protocol import HostSpec
from core.optimize.methods import METHODS
from tests.optimize.rules import RuleEvaluator

START = "tell me how good the film was"
SMALL = {"batch": 4, "minibatch": 3, "steps": 5, "every": 2, "tokens": 12, "learning_rate": 0.01, "rank": 2}


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Models this small are faster on one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    from core.llm.local import LocalHost
    from tests.llm.tiny import build

    folder = build(tmp_path_factory.mktemp("writer") / "tiny", context=256)
    spec = HostSpec(model=str(folder), name="tiny", params={"dtype": "float32", "device": "cpu"})
    return LocalHost(spec, folder)


@pytest.fixture
def made():
    return lambda name, seed=4, **options: METHODS[name].make(START, seed, {**SMALL, **options})


@pytest.fixture
def evaluator(tiny):
    def make(**options):
        """Worth 100 is a prompt of “good” alone."""

        def rule(text):
            words = text.split()
            return 100 * words.count("good") / len(words)

        found = RuleEvaluator(rule, n=6, spread=lambda text, j: (len(text) * (j + 1)) % 7, **options)
        found.host = found.optimizer_host = tiny
        return found

    return make
