"""Regenerate demo/data.json: `make demo-data` (some ten minutes on two cores), or only
the votes for the answers that are there: `python -m demo.make --keep-answers`.

Answers come from the embedded model. Votes are SIMULATED, by a rule that anybody can
read below, and are marked as simulated wherever they appear. The rule is not a claim
about what people prefer; it gives a fresh machine something to train on.

    quality = 1.2 · z(similarity of answer and question, MiniLM embeddings)
            - 0.6 · (words beyond 90) / 30        long answers lose a cook at the stove
            - 1.5 · share of repeated 4-word runs  small models go round in circles
            - 0.5 if the last sentence is unfinished

A simulated judge prefers x to y with probability sigmoid(k · (quality_x - quality_y) +
pull), k and the pull to the left side differing by judge; near-equal pairs are ties.
"""

import json
import math
import random
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np

from core.llm.embedded import embedded_encoder
from core.llm.hosts import open_host
from core.llm.protocol import HostSpec, Sampling
from core.prompts.templates import messages
from core.settings import get_settings
from demo.inputs import QUESTIONS
from demo.prompts import PROMPTS

OUT = Path(__file__).parent / "data.json"
SEED = 20
MAX_NEW_TOKENS = 100
WAITING = 84  # pairs left for people
# name, how sharply the judge sees quality, pull to the left
JUDGES = (
    ("simulated 1", 1.6, 0.0),
    ("simulated 2", 1.2, 0.2),
    ("simulated 3", 0.8, 0.0),
    ("simulated 4", 1.4, -0.1),
    ("simulated 5", 0.5, 0.3),
)


def answers() -> tuple[dict[str, list[dict]], dict]:
    """Answers of the embedded model, by prompt name, in the order of the questions."""
    host = open_host(HostSpec(), get_settings().models_dir)
    sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS, temperature=0.7, top_p=0.9, seed=SEED)
    found: dict[str, list[dict]] = {}
    started = time.monotonic()
    for prompt in PROMPTS:
        asked = [messages(prompt["system"], prompt["user"], {"input": question}) for question in QUESTIONS]
        done = host.generate(asked, sampling)
        found[prompt["name"]] = [
            {
                "text": item.text.strip(),
                "tokens_in": item.tokens_in,
                "tokens_out": item.tokens_out,
                "latency_ms": round(item.latency_ms, 1),
                "finish_reason": item.finish_reason,
            }
            for item in done
        ]
        print(f"{prompt['name']}: {len(done)} answers, {time.monotonic() - started:.0f} s")
    return found, {"max_new_tokens": MAX_NEW_TOKENS, "temperature": 0.7, "top_p": 0.9, "seed": SEED}


def embeddings(texts: list[str]) -> np.ndarray:
    """(len(texts), 384) unit vectors: MiniLM, mean over tokens."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = embedded_encoder()
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(texts), 32):
            batch = tokenizer(
                texts[start : start + 32], padding=True, truncation=True, max_length=192, return_tensors="pt"
            )
            hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            rows.append(torch.nn.functional.normalize(mean, dim=-1).numpy())
    return np.concatenate(rows)


def qualities(found: dict[str, list[dict]]) -> dict[str, np.ndarray]:
    """(questions,) by prompt name: the rule of the docstring."""
    asked = embeddings(list(QUESTIONS))
    similar = {
        name: (embeddings([row["text"] for row in rows]) * asked).sum(1) for name, rows in found.items()
    }
    everything = np.concatenate(list(similar.values()))
    result = {}
    for name, rows in found.items():
        z = (similar[name] - everything.mean()) / everything.std()
        result[name] = 1.2 * z - np.array([faults(row["text"]) for row in rows])
    return result


def faults(text: str) -> float:
    words = text.lower().split()
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    repeated = 1 - len(set(runs)) / len(runs) if runs else 0.0
    unfinished = 0.0 if text.rstrip().endswith((".", "!", "?", ")", "”", '"')) else 0.5
    return 0.6 * max(0, len(words) - 90) / 30 + 1.5 * repeated + unfinished


def votes(found: dict[str, list[dict]], quality: dict[str, np.ndarray]) -> list[dict]:
    """Three votes on each pair but the WAITING ones."""
    rng = random.Random(SEED)
    pairs = [
        (index, x, y)
        for index in range(len(QUESTIONS))
        for x, y in combinations(found, 2)
        if found[x][index]["text"] != found[y][index]["text"]
    ]
    rng.shuffle(pairs)
    cast = []
    for index, x, y in pairs[WAITING:]:
        for name, sharpness, pull in rng.sample(JUDGES, 3):
            gap = float(quality[x][index] - quality[y][index])
            x_left = rng.random() < 0.5
            logit = sharpness * gap + (pull if x_left else -pull)
            chance = 1 / (1 + math.exp(-logit))
            if abs(gap) < 0.15 and rng.random() < 0.6:
                outcome = "tie"
            elif max(quality[x][index], quality[y][index]) < -2.5 and rng.random() < 0.6:
                outcome = "both_bad"
            else:
                outcome = "x" if rng.random() < chance else "y"
            words = len(found[x][index]["text"].split()) + len(found[y][index]["text"].split())
            cast.append(
                {
                    "question": index,
                    "x": x,
                    "y": y,
                    "annotator": name,
                    "outcome": outcome,
                    "left": "x" if x_left else "y",
                    "duration_ms": round(1000 * (3 + words / 4 * rng.uniform(0.7, 1.4))),
                }
            )
    return cast


def main() -> None:
    if "--keep-answers" in sys.argv:
        before = json.loads(OUT.read_text(encoding="utf-8"))
        found, sampling = before["responses"], before["sampling"]
    else:
        found, sampling = answers()
    cast = votes(found, qualities(found))
    data = {
        "about": "Answers by the embedded SmolLM2-135M-Instruct; votes simulated by demo/make.py.",
        "sampling": sampling,
        "responses": found,
        "votes": cast,
    }
    with tempfile.NamedTemporaryFile("w", dir=OUT.parent, delete=False, encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, indent=1)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(OUT)
    print(f"{OUT}: {sum(map(len, found.values()))} answers, {len(cast)} simulated votes")


if __name__ == "__main__":
    main()
