"""How long a training will take and how much memory it will hold, before it starts.

The work is counted in token-layers: one token going forward through one layer. Backward takes
twice as much again; a frozen layer goes forward once a text where its activations are kept.
One token-layer of MiniLM takes `TOKEN_LAYER_S` on two free cores with bfloat16 (measured: 4
layers, 98 tokens, 3.4 ms), and others in proportion to their weights. What earlier trainings
of the project took beside their estimates corrects for the machine (`speed_here`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from core.reward.options import Options
from core.reward.presets import Preset, schedule

CHARACTERS_PER_TOKEN = 4.2  # English through a WordPiece vocabulary
TOKEN_LAYER_S = 8.7e-6
WITHOUT_BF16 = 2.4  # times as long in 32 bits
STARTUP_S = 20.0  # importing the libraries, loading the backbone
FIRST_TOKEN = 0.25  # of a layer: the last one, where only the first token's output is asked
LIBRARIES_B = 900e6  # a process that has loaded torch, transformers and datasets
JUDGING_S = {"quick": 20.0, "standard": 40.0, "thorough": 150.0}


@dataclass(frozen=True)
class Shape:
    """Of a backbone. `known` is False where its config is not at hand, and MiniLM's stands in."""

    hidden: int = 384
    layers: int = 6
    weights_a_layer: int = 12 * 384 * 384
    weights: int = 22_700_000
    encoder: bool = True
    known: bool = True


MINILM = Shape()


@dataclass(frozen=True)
class Estimate:
    seconds: float
    bytes: float
    shape: Shape
    corrected: bool = False  # by earlier trainings here

    def as_dict(self) -> dict[str, Any]:
        return {"seconds": round(self.seconds, 1), "bytes": int(self.bytes), "corrected": self.corrected}


def estimate(
    preset: Preset,
    n_train: int,
    n_held_out: int,
    characters: float,
    options: Options | None = None,
    *,
    max_length: int | None = None,
    shape: Shape = MINILM,
    speed: float | None = None,
) -> Estimate:
    """From the mean number of characters of a pair's two inputs with their responses, and the
    pairs to train on and to choose and judge by."""
    options = options or Options()
    length = options.max_length or max_length or preset.max_length
    tokens = min(2 * length, characters / CHARACTERS_PER_TOKEN)  # of a pair
    batch, epochs = schedule(preset, n_train)
    frozen = 0 if options.lora else int(shape.layers * preset.frozen + 1e-6)
    kept = frozen > 0 and options.processes == 1
    upper = shape.layers - frozen - ((1 - FIRST_TOKEN) if shape.encoder else 0)
    backward = 1.2 if options.lora else 2.0  # of frozen weights no gradient is asked
    below = frozen * (1 if kept else epochs * options.members)
    of_training = n_train * (below + options.members * epochs * (1 + backward) * upper)
    of_asking = n_held_out * (frozen + options.members * upper) * 1.5  # checks, calibration, test
    each = TOKEN_LAYER_S * shape.weights_a_layer / MINILM.weights_a_layer
    if options.precision == "fp32":
        each *= WITHOUT_BF16
    seconds = STARTUP_S + tokens * (of_training + of_asking) * each / options.processes
    seconds += JUDGING_S.get(preset.name, 40.0)
    memory = LIBRARIES_B + _memory(preset, options, shape, n_train + n_held_out, tokens, batch, frozen, kept)
    factor = speed or 1.0
    return Estimate(seconds * factor, memory, shape, corrected=speed is not None)


def _memory(
    preset: Preset,
    options: Options,
    shape: Shape,
    pairs: int,
    tokens: float,
    batch: int,
    frozen: int,
    kept: bool,
) -> float:
    """Bytes beside the libraries: weights, gradients and moments, activations, what is kept."""
    trained = (shape.layers - frozen) * shape.weights_a_layer if not options.lora else shape.weights // 50
    if not frozen and not options.lora:
        trained = shape.weights
    weights = 4 * shape.weights * 3  # the model, and two more while it is judged
    optimiser = 4 * trained * 3  # gradients and two moments
    starts = 4 * trained * (2 + options.members)  # where it began, the best so far, members
    of_step = batch / options.accumulation * tokens
    activations = of_step * (shape.layers - frozen) * 50 * shape.hidden
    cache = pairs * tokens * shape.hidden * (4 if options.precision == "fp32" else 2) if kept else 0.0
    return weights + optimiser + starts + activations + min(cache, 1.5e9)


def choose_length(preset: Preset, n_train: int, n_held_out: int, characters: float) -> int:
    """The most tokens that end within the preset's patience, or, where nothing does, that
    take hardly longer than the fewest. Half the length was measured to cost no accuracy that
    could be told apart, and the time is what people notice."""
    lengths = (preset.max_length, *preset.shorter)
    seconds = [
        estimate(preset, n_train, n_held_out, characters, max_length=length).seconds for length in lengths
    ]
    patience = max(preset.patience_s, 1.1 * min(seconds))
    return next(length for length, s in zip(lengths, seconds, strict=True) if s <= patience)


def speed_here(metrics: Iterable[Mapping[str, Any]]) -> float | None:
    """How many times as long trainings took here as was reckoned, from the metrics of earlier
    models (newest first); None where there is none to go by."""
    ratios = [
        found["seconds"] / found["estimate"]["reckoned"]
        for found in metrics
        if found.get("seconds") and (found.get("estimate") or {}).get("reckoned") and not found.get("partial")
    ]
    return min(max(median(ratios[:5]), 0.1), 20.0) if ratios else None


def shape_of(backbone: str) -> Shape:
    """From the config.json of a folder, or of a hub id that has been downloaded."""
    from core.llm.embedded import EMBEDDED

    if backbone == EMBEDDED:
        return MINILM
    path = Path(backbone) / "config.json"
    if not path.is_file():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(backbone, "config.json")
        except HFValidationError:
            cached = None
        if not isinstance(cached, str):
            return Shape(known=False)
        path = Path(cached)
    try:
        return _shape(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return Shape(known=False)


def _shape(config: dict[str, Any]) -> Shape:
    hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
    heads = int(config.get("num_attention_heads") or 1)
    shared = int(config.get("num_key_value_heads") or heads) / heads
    inner = int(config.get("intermediate_size") or 4 * hidden)
    decoder = "num_key_value_heads" in config
    a_layer = int(2 * hidden * hidden * (1 + shared) + (3 if decoder else 2) * hidden * inner)
    return Shape(
        hidden=hidden,
        layers=layers,
        weights_a_layer=a_layer,
        weights=layers * a_layer + int(config.get("vocab_size") or 30_000) * hidden,
        encoder=config.get("model_type") in ("bert", "roberta", "electra", "xlm-roberta", "camembert"),
    )
