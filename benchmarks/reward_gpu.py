"""The check that a reward model trains on a GPU: throughput and memory with LoRA on a language model.

HH-RLHF harmless-base, split by question as in reward_training.py; up to 512 tokens, 16 pairs a step,
one pass, adapters of rank 16 on all linear layers, the head whole. What is measured is the training
as a run of the app does it (core/reward/training.py), without loading: pairs and tokens a second, and
the most memory that PyTorch had allocated and reserved on the device.

    embedded       SmolLM2-135M-Instruct, the language model that comes along
    qwen2-0.5b     the shape of Qwen2-0.5B (24 layers of 896, 494 M parameters), with weights drawn at
                   random: its pace and memory, and no accuracy, as there is nothing it knows
    a folder, or a hub id

    python benchmarks/reward_gpu.py [--backbones embedded qwen2-0.5b] [--precisions bf16 fp16]
        [--pairs N] [--out FILE]

Without a GPU it says so, and ends (--anyway: on what there is). Needs the data set's harmless-base
test split as data/harmless-base-test.jsonl.gz (or --data FILE).
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.reward_training import DATA, read_pairs  # noqa: E402
from core.llm.embedded import embedded_language_model  # noqa: E402
from core.reward import metrics  # noqa: E402
from core.reward.options import Lora, Options  # noqa: E402
from core.reward.presets import PRESETS  # noqa: E402
from core.reward.training import Training  # noqa: E402
from core.runs.context import RunContext  # noqa: E402
from core.runs.folder import RunFolder  # noqa: E402

TARGET = Path(__file__).parent / "results" / "reward_gpu.json"
PRESET = replace(PRESETS["thorough"], max_length=512, batch_size=16, epochs=1)
QWEN2_05B = {
    "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
    "num_key_value_heads": 2, "max_position_embeddings": 32768, "tie_word_embeddings": True,
}  # fmt: skip


def backbone(name: str, place: Path) -> tuple[str, bool]:
    """(folder or id, whether it knows anything)."""
    if name == "embedded":
        return str(embedded_language_model(place / "models")), True
    if name != "qwen2-0.5b":
        return name, True
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForSequenceClassification

    folder = place / name
    if not folder.exists():
        # Any vocabulary will do: what it costs is in the layers, and Qwen2's own size of it.
        tokenizer = AutoTokenizer.from_pretrained(embedded_language_model(place / "models"))
        config = Qwen2Config(
            **QWEN2_05B, vocab_size=151_936, num_labels=1, pad_token_id=tokenizer.pad_token_id
        )
        torch.manual_seed(0)
        Qwen2ForSequenceClassification(config).to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return str(folder), False


def measure(rows: list[dict[str, Any]], name: str, precision: str, place: Path) -> dict[str, Any]:
    path, knows = backbone(name, place)
    cuda = torch.cuda.is_available()
    folder = RunFolder(place / f"run-{name.replace('/', '-')}-{precision}")
    config = {"preset": "thorough", "backbone": path, "checkpoint_s": 1e9}
    folder.create(
        {"run_id": "", "kind": "reward_model", "config": config, "seed": 0, "models_dir": str(place)}
    )
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    options = Options(lora=Lora(), precision=precision)
    training = Training(RunContext(folder), rows, options, PRESET)
    started = time.monotonic()
    training.look_below(0.0, 0.1)
    [member], _ = training.members(0.1, 0.9)
    seconds = time.monotonic() - started
    memory = {
        "allocated_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "reserved_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2),
    } if cuda else {}  # fmt: skip
    trained = sum(value.numel() for value in training.weights.values())
    training.merge(None)
    test = [row for row in rows if row["split"] == "test"]
    raw = training.scores(training.pairs(test), [member])[0, :, :, 0]
    d = raw[:, 0] - raw[:, 1]
    finite = bool((abs(d) < 1e9).all())
    q = training.pairs(test).q
    found = metrics.accuracy(d, q)
    passes = training.epochs
    tokens = sum(len(ids) for ids in training.train.sides) * passes
    parameters = sum(value.numel() for value in training.model.parameters())
    return {
        "backbone": name, "precision": precision, "parameters_m": round(parameters / 1e6, 1),
        "trained_m": round(trained / 1e6, 2),
        "pairs": len(training.train) * passes, "batch": training.batch_size, "length": training.encode.max_length,
        "seconds": round(seconds, 1), "pairs_a_second": round(len(training.train) * passes / seconds, 1),
        "tokens_a_second": round(tokens / seconds), **memory, "finite": finite,
        **({key: round(found[key], 3) for key in ("accuracy", "low", "high")} if knows else {}), "n": found["n"],
    }  # fmt: skip


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--backbones", nargs="+", default=["embedded", "qwen2-0.5b"])
    ask.add_argument("--precisions", nargs="+", default=["bf16", "fp16"], choices=["fp32", "bf16", "fp16"])
    ask.add_argument("--pairs", type=int, help="at most so many training pairs")
    ask.add_argument("--held-out", type=int, default=500)
    ask.add_argument("--anyway", action="store_true", help="also without a GPU")
    ask.add_argument("--place", type=Path, help="folder for models, to keep them")
    ask.add_argument("--out", type=Path, default=TARGET)
    ask.add_argument("--data", type=Path, default=next((path for path in DATA if path.exists()), DATA[0]))
    given = ask.parse_args()
    if not torch.cuda.is_available() and not given.anyway:
        print("There is no CUDA device here: nothing to measure.")
        return
    if not given.data.exists():
        sys.exit(f"{given.data} is not there: see the top of this file.")
    rows = read_pairs(given.data, 0, given.held_out)
    train = [row for row in rows if row["split"] == "train"][: given.pairs]
    rows = [*train, *(row for row in rows if row["split"] == "test")]
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as made:
        place = given.place or Path(made)
        for name in given.backbones:
            for precision in given.precisions:
                found.append(measure(rows, name, precision, place))
                print(json.dumps(found[-1]), flush=True)
    about = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor(),
        "torch": torch.__version__, "python": platform.python_version(),
    }  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({**about, "rows": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
