"""How thorough a training is: three presets, and how long each takes.

The backbone's embeddings and lower layers know the language already. Freezing them
makes training nearly twice as fast at an accuracy that could not be told apart on
HH-RLHF, so the two faster presets do.
"""

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from core.errors import Invalid

DEFAULT = "standard"
CHARACTERS_PER_TOKEN = 4.2  # English through a WordPiece vocabulary
STARTUP_S = 20.0  # importing the libraries, loading the backbone
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
    tokens_per_s: float  # tokens of training pairs a second, on two cores

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "quick",
            "Reads up to 128 tokens (about 90 words) and trains the upper half of the model. For a first look, "
            "and for short responses.",
            max_length=128, shorter=(), patience_s=90.0, frozen=0.5, batch_size=16, epochs=1, learning_rate=1e-4, lora_rate=2e-4, tokens_per_s=5000.0,
        ),
        Preset(
            "standard",
            "Reads up to 256 tokens (about 190 words) and trains the upper half of the model. Training all of it "
            "was measured to take longer and to be no more accurate.",
            max_length=256, shorter=(192, 128), patience_s=120.0, frozen=0.5, batch_size=16, epochs=1, learning_rate=1e-4, lora_rate=2e-4, tokens_per_s=5000.0,
        ),
        Preset(
            "thorough",
            "Reads up to 512 tokens (about 380 words), trains the whole model, and goes over the data twice. For "
            "long responses, and when minutes do not matter.",
            max_length=512, shorter=(), patience_s=900.0, frozen=0.0, batch_size=16, epochs=2, learning_rate=5e-5, lora_rate=1e-4, tokens_per_s=2500.0,
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


def estimate_seconds(
    preset: Preset, n_train: int, n_held_out: int, characters: float, max_length: int | None = None
) -> float:
    """How long a training will take on two free cores, from the mean number of characters
    of a pair's two inputs with their responses. Scoring a pair costs half of training on it,
    and the dev split is asked now and then."""
    tokens = min(2 * (max_length or preset.max_length), characters / CHARACTERS_PER_TOKEN)
    _, epochs = schedule(preset, n_train)
    return STARTUP_S + tokens * (n_train * epochs * 1.2 + n_held_out * 0.5) / preset.tokens_per_s


def choose_length(preset: Preset, n_train: int, n_held_out: int, characters: float) -> int:
    """The most tokens that end within the preset's patience, or, where nothing does, that
    take hardly longer than the fewest. Half the length was measured to cost no accuracy that
    could be told apart, and the time is what people notice."""
    lengths = (preset.max_length, *preset.shorter)
    seconds = [estimate_seconds(preset, n_train, n_held_out, characters, length) for length in lengths]
    patience = max(preset.patience_s, 1.1 * min(seconds))
    return next(length for length, s in zip(lengths, seconds, strict=True) if s <= patience)
