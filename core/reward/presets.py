"""How thorough a training is: three presets, and what each trades.

The backbone's embeddings and lower layers know the language already. Frozen, they read each
text once, and training goes through the upper layers alone: many times as fast, at an accuracy
that could not be told apart on HH-RLHF (benchmarks/reward_training.py), so the two faster
presets do.
"""

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from core.errors import Invalid

DEFAULT = "standard"
MIN_STEPS = 60  # fewer optimiser steps than this leave a fresh head close to where it began
MAX_EPOCHS = 4


@dataclass(frozen=True)
class Preset:
    name: str
    words: str  # what it trades, for the page
    max_length: int  # tokens of input and response together, at most
    shorter: tuple[int, ...]  # tried in turn where that would take longer than `patience_s`
    patience_s: float
    frozen: float  # share of the layers, from below, that stay as they are; 0 trains all
    batch_size: int  # pairs a step
    epochs: int
    learning_rate: float
    lora_rate: float  # the learning rate of adapters, which start from nothing

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "quick",
            "Reads up to 128 tokens (about 90 words), trains the upper third of the model, and goes over the data "
            "once. For a first look, and for short responses.",
            max_length=128, shorter=(), patience_s=90.0, frozen=2 / 3, batch_size=16, epochs=1, learning_rate=3e-4, lora_rate=2e-4,
        ),
        Preset(
            "standard",
            "Reads up to 256 tokens (about 190 words), trains the upper third of the model, and goes over the data "
            "twice. Training more of it was measured to take longer and to be no more accurate.",
            max_length=256, shorter=(192, 128), patience_s=120.0, frozen=2 / 3, batch_size=32, epochs=2, learning_rate=3e-4, lora_rate=2e-4,
        ),
        Preset(
            "thorough",
            "Reads up to 512 tokens (about 380 words), trains the whole model, and goes over the data twice. For "
            "long responses, and when minutes do not matter.",
            max_length=512, shorter=(), patience_s=900.0, frozen=0.0, batch_size=16, epochs=2, learning_rate=5e-5, lora_rate=1e-4,
        ),
    )
}  # fmt: skip


def preset_named(name: object) -> Preset:
    if not isinstance(name, str) or name not in PRESETS:
        raise Invalid(f"preset: there is no “{name}”.", f"One of: {', '.join(PRESETS)}.")
    return PRESETS[name]


def schedule(preset: Preset, pairs: int) -> tuple[int, int]:
    """(batch size, epochs) for so many training pairs. Few pairs get smaller batches, and
    then more passes, until there are enough steps to learn anything at all."""
    batch = preset.batch_size
    while batch > 4 and ceil(pairs / batch) * preset.epochs < MIN_STEPS:
        batch //= 2
    epochs = preset.epochs
    while epochs < MAX_EPOCHS and ceil(pairs / batch) * epochs < MIN_STEPS:
        epochs += 1
    return batch, epochs
