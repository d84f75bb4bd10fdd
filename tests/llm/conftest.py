from pathlib import Path

import pytest

from core.llm.protocol import HostSpec
from tests.llm.tiny import build


@pytest.fixture(scope="session")
def one_thread() -> None:
    """A tiny model is all overhead: threads on a busy machine make it ten times slower."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    return build(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_plain(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """The same, without a chat template."""
    return build(tmp_path_factory.mktemp("tiny-plain"), chat=False)


def local_spec(folder: Path, **params) -> HostSpec:
    return HostSpec(
        kind="local", model=str(folder), name="tiny", params={"dtype": "float32", "device": "cpu", **params}
    )


@pytest.fixture(scope="session")
def host(tiny: Path):
    from core.llm.hosts import open_host

    return open_host(local_spec(tiny), tiny.parent)


@pytest.fixture(scope="session")
def plain_host(tiny_plain: Path):
    from core.llm.hosts import open_host

    return open_host(local_spec(tiny_plain), tiny_plain.parent)
