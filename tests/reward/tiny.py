"""A tiny random BERT with a vocabulary of its own, pairs that it can learn, and a run
folder made of them."""

import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.runs.folder import RunFolder

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: see core/reward/work.py

GOOD = ["kind", "clear", "warm", "careful", "honest"]
BAD = ["rude", "vague", "cold", "sloppy", "false"]
PLAIN = [f"word{i}" for i in range(30)]


def tiny_backbone(folder: Path) -> Path:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,!?:"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *PLAIN, *letters]
    words += [f"##{letter}" for letter in letters]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(dict.fromkeys(words))})
    tokenizer.model_max_length = 128
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=128,
    )  # fmt: skip
    BertModel(shape).save_pretrained(folder)
    return folder


def pair_rows(count: int, seed: int = 0, *, soft: bool = False) -> list[dict[str, Any]]:
    """Pairs of which the one with the kind words is preferred; 70 % train, 15 % dev and test."""
    draw = random.Random(seed)
    rows = []
    for i in range(count):
        filler = [draw.choice(PLAIN) for _ in range(draw.randint(2, 10))]
        good = " ".join([*filler, draw.choice(GOOD), draw.choice(PLAIN)])
        bad = " ".join([*filler, draw.choice(BAD), draw.choice(PLAIN)])
        a_wins = draw.random() < 0.5
        q = draw.choice([1.0, 0.75, 0.5]) if soft else 1.0
        known = draw.randint(0, 1)
        rows.append(
            {
                "pair_id": f"pair{i}",
                "example_id": f"example{i}",
                "split": "train" if i % 20 < 14 else "dev" if i % 20 < 17 else "test",
                "input": " ".join(draw.choice(PLAIN) for _ in range(draw.randint(3, 12))),
                "response_a": good if a_wins else bad,
                "response_b": bad if a_wins else good,
                "prompt_a": "one v1",
                "prompt_b": "two v1",
                "q": q if a_wins else 1 - q,
                "n": 4 if soft else 1,
                "n_simulated": 0,
                "margin": 0.0,
                "left_known": known,
                "left_won": known * draw.randint(0, 1),
            }
        )
    return rows


def run_folder(path: Path, rows: list[dict[str, Any]], backbone: Path | str, **config: Any) -> RunFolder:
    folder = RunFolder(path)
    given = {"preset": "quick", "backbone": str(backbone), "simulated": "exclude", **config}
    folder.create(
        {
            "run_id": path.name,
            "project_id": "project",
            "kind": "reward_model",
            "worker": "core.reward.work",
            "config": given,
            "seed": given.pop("seed", 0),
            "versions": {},
            "models_dir": str(path / "models"),
        }
    )
    pq.write_table(pa.Table.from_pylist(rows), folder.inputs / "pairs.parquet")
    return folder
