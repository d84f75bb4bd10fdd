from collections.abc import Iterator

import pytest

from core.settings import get_settings
from core.webhooks import attempt, sender
from tests.webhooks.receiver import Receiver


@pytest.fixture
def quick(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receivers of this machine are allowed, and waits are short."""
    monkeypatch.setenv("PREFLOOP_WEBHOOK_PRIVATE", "true")
    get_settings.cache_clear()
    monkeypatch.setattr(attempt, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(sender, "REST_S", 0.0)
    monkeypatch.setattr(sender, "EVERY_S", 0.02)


@pytest.fixture
def receiver(quick: None) -> Iterator[Receiver]:
    with Receiver() as started:
        yield started
