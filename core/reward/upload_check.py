"""What a reward model that comes from elsewhere must be, worker side: a sequence-classification
model with one output (or, with a reward.json of ours, one per head), every weight in
safetensors, a tokenizer, no code of its own. It is loaded as `transformers` does anywhere.
"""

import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from core.reward.encode import longest
from core.reward.shards import INDEX, WHOLE, check_shard, read_index
from core.runs.context import WorkError

LONGEST = 512
CARD = "reward.json"
Row = dict[str, Any]


def read_card(folder: Path) -> Row | None:
    """reward.json, checked; None without one. Raises WorkError naming the field."""
    path = folder / CARD
    if not path.exists():
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise WorkError("reward.json is not JSON.", "Take it out, and it is made anew here.") from None
    for name in ("max_length", "mean", "std", "temperature"):
        value = card.get(name) if isinstance(card, dict) else None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        low = -math.inf if name == "mean" else 0.0
        if not number or not low < float(value) < math.inf:  # type: ignore[arg-type]
            raise WorkError(
                f"reward.json: {name} is no number it can be.", "Take it out, and it is made anew here."
            )
    return card


def check_model(folder: Path, card: Row | None) -> Row:
    """Load it as anybody would. Answers max_length and backbone. Raises WorkError."""
    _check_weights(folder)
    raw = _json(folder / "config.json")
    if "auto_map" in raw:
        raise WorkError("config.json: this model needs code of its own, which is not run here.", "")
    if raw.get("transformers_weights") not in (None, WHOLE, INDEX):
        # transformers would read that file, and an index that nobody has looked at.
        raise WorkError(
            "config.json: “transformers_weights” names another file than its weights.", f"Call them {WHOLE}."
        )
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise WorkError(f"config.json: {_line(problem)}", "transformers must know the model.") from None
    kinds = [str(name) for name in config.architectures or []]
    if kinds and not any("SequenceClassification" in name for name in kinds):
        raise WorkError(
            f"config.json: this is a {kinds[0]}, which has no score head.",
            "Train it as a sequence-classification model with one output first.",
        )
    heads = list((card or {}).get("heads") or ["overall"])
    if config.num_labels != len(heads):
        raise WorkError(
            f"The model has {config.num_labels} outputs, where a reward model has {len(heads)}.",
            "Train it with num_labels=1.",
        )
    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as problem:
        raise WorkError(f"transformers cannot load it: {_line(problem)}", "Save the model anew.") from None
    if missing := sorted(loading["missing_keys"]):
        raise WorkError(
            f"It lacks {len(missing)} weights of a sequence-classification model, such as {missing[0]}.",
            "A plain language model or encoder has no score head: train one first.",
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise WorkError(
            f"The tokenizer cannot be loaded: {_line(problem)}", "Save it into the folder."
        ) from None
    length = int((card or {}).get("max_length") or longest(model, tokenizer, LONGEST))
    return {"max_length": length, "backbone": str(raw.get("_name_or_path") or config.model_type)}


def _check_weights(folder: Path) -> None:
    """Every file of weights can be read, and of several each holds what the index says. Raises
    WorkError, or Invalid."""
    held: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.safetensors")):
        name = path.relative_to(folder).as_posix()
        try:
            with safe_open(path, framework="pt") as file:
                held[name] = list(file.keys())
        except (SafetensorError, OSError, ValueError) as problem:
            said = str(problem).splitlines()[0][:200]
            raise WorkError(f"{name} is not a safetensors file: {said}", "Save the model anew.") from None
    if (folder / INDEX).is_file():
        for name, wanted in read_index((folder / INDEX).read_bytes(), held).items():
            check_shard(name, held[name], wanted)


def _json(path: Path) -> Row:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise WorkError(f"{path.name} is not a JSON object.", "Save the model anew.")
    return found


def _line(problem: Exception) -> str:
    return next((line.strip()[:300] for line in str(problem).splitlines() if line.strip()), "no message")
