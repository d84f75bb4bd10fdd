"""What a failure says to a person, and what the machine offers to workers."""

import errno

import pytest

from core.errors import Invalid
from core.runs.executors import LocalExecutor, parse_gpus, visible_gpus
from core.runs.failures import explain


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (Invalid("steps: at least 1.", "Set it."), "steps: at least 1.", "Set it."),
        (MemoryError(), "not enough memory", "smaller"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "GPU's memory", "smaller"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "not enough memory",
            "resume",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full", "Free"),
        (RuntimeError("SafetensorError: No space left on device (os error 28)"), "The disk is full", "Free"),
        (FileNotFoundError(2, "No such file", "/models/x"), "missing: /models/x", "Check"),
        (PermissionError(13, "Permission denied", "/models/x"), "denied: /models/x", "permissions"),
        (ModuleNotFoundError("No module named 'peft'", name="peft"), "“peft” is not installed", "Install"),
        (
            OSError("We couldn't connect to 'https://huggingface.co' to load"),
            "model could not be",
            "embedded",
        ),
        (ConnectionRefusedError("refused"), "connection failed", "host"),
        (SystemExit(3), "SystemExit: 3", "log"),
        (ValueError("one\ntwo"), "ValueError: one", "log"),
        (ValueError("x" * 1000), "…", "log"),
        (ValueError(), "no message", "log"),
    ],
)
def test_a_failure_is_one_line_with_something_to_do(error, message, hint):
    said, advice = explain(error)
    assert message in said and hint in advice
    assert "\n" not in said and len(said) < 400


def test_gpus_are_slots(settings, monkeypatch):
    listing = (
        "GPU 0: NVIDIA H200 (UUID: GPU-0a)\n"
        "GPU 1: NVIDIA H200 (UUID: GPU-1b)\n"
        "  MIG 1g.18gb     Device  0: (UUID: MIG-c)\n"
        "  MIG 1g.18gb     Device  1: (UUID: MIG-d)\n"
    )
    assert parse_gpus(listing) == ["GPU-0a", "MIG-c", "MIG-d"]
    assert parse_gpus("No devices found.\n") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert visible_gpus() == ["2", "3"] and LocalExecutor(settings).slots == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == [] and LocalExecutor(settings).slots == 1
    settings.worker_slots = 5
    assert LocalExecutor(settings).slots == 5
