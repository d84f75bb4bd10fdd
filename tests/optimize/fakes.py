"""A host and a reward that answer by rule, and count what they are asked."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.llm.protocol import Completion, HostSpec
from core.runs.folder import RunFolder, write_json

START = (
    "In this task, you are given a review of a film. Read it with great care, "
    "and say without doubt whether it is positive or negative."
)


class Killed(BaseException):
    """Stands for kill -9: nothing in the program handles it."""


def chance(*parts: str) -> float:
    """A number in [0, 1) that follows from the parts."""
    return int.from_bytes(hashlib.sha256("\x1f".join(parts).encode()).digest()[:7], "big") / 2**56


class FakeHost:
    """Prefers the right label more often the fewer words the instruction has and when it
    starts with “Read”; answers with a shout. Paraphrases by turning words around, and
    now and then says something that is no use."""

    def __init__(self, spec: HostSpec | None = None, kill_at: int | None = None) -> None:
        self.spec = spec or HostSpec(name="fake")
        self.access = frozenset({"text", "label_logprobs"})
        self.calls = 0
        self.kill_at = kill_at

    def _count(self, calls: int) -> None:
        if self.kill_at is not None and self.calls + calls > self.kill_at:
            raise Killed
        self.calls += calls

    def generate(self, requests, sampling, on_done=None):
        self._count(len(requests))
        return [self._answer(request, sampling) for request in requests]

    def _answer(self, request, sampling):
        last = request[-1]["content"]
        if last.startswith("Say this in other words"):
            phrase = last.rsplit("\n\n", 1)[1]
            roll = chance(phrase, str(sampling.seed))
            if roll < 0.2:
                return Completion("", 5, 0)
            if roll < 0.3:
                return Completion(phrase.upper(), 5, 2)
            return Completion("perhaps " + " ".join(reversed(phrase.rstrip(".,").split())), 5, 4)
        system = request[0]["content"]
        return Completion(f"Answer to {last} {'!' * (12 - min(12, len(system.split()) // 3))}", 20, 8)

    def label_logprobs(self, requests, labels):
        self._count(len(requests))
        rows = []
        for request in requests:
            system, text = request[0]["content"], request[-1]["content"]
            skill = 0.9 - 0.012 * len(system.split()) + (0.1 if system.startswith("Read") else 0)
            right = "positive" if "good" in text else "negative"
            answer = (
                right if chance(system, text) < skill else next(label for label in labels if label != right)
            )
            rows.append([0.0 if label == answer else -2.0 for label in labels])
        return np.array(rows)


class FakeScorer:
    """Likes shouting: an exclamation mark is worth .2, with some noise by text."""

    def score(self, inputs, responses):
        return np.array(
            [0.2 * r.count("!") + 0.1 * chance(i, r) - 1 for i, r in zip(inputs, responses, strict=True)]
        )


def rows(train=12, dev=6, test=8):
    made = {}
    for split, count in (("train", train), ("dev", dev), ("test", test)):
        made[split] = [
            {
                "id": f"{split}-{i}",
                "split": split,
                "input": f"{split} review {i}: {'good' if i % 2 else 'bad'}",
                "fields": {"input": f"{split} review {i}: {'good' if i % 2 else 'bad'}"},
                "messages": None,
                "reference": "1" if i % 2 else "0",
            }
            for i in range(count)
        ]
    return made


WORDS = {"0": "negative", "1": "positive"}


def make_folder(
    path: Path, *, reward="labels", calls=400, seed=3, sizes=(12, 6, 8), finalists=3, host=None, **options
) -> RunFolder:
    """A frozen run, as `prepare` leaves it."""
    train, dev, test = sizes
    data = rows(train, dev, test)
    config = {
        "method": "grips",
        "reward": reward,
        "budget": {"calls": calls},
        "start": {"system": START, "user": "{{input}}", "place": "system", "prompt_id": None, "name": "start"},
        "plan": {
            "budget": calls, "train": train, "dev": dev, "test": test, "finalists": finalists,
            "reserve": dev * (finalists + 1) + 2 * test,
        },
        "options": {"candidates": 5, "edits": 1, "patience": 2, "iterations": 10, "granularity": "phrase",
                    "annealing": False, **options},
        "stop": {},
    }  # fmt: skip
    folder = RunFolder(path)
    folder.create(
        {"run_id": path.name, "project_id": "p", "kind": "optimize", "config": config, "seed": seed,
         "models_dir": str(path.parent / "models")}
    )  # fmt: skip
    flat = [{**row, "fields": json.dumps(row["fields"])} for split in data.values() for row in split]
    pq.write_table(pa.Table.from_pylist(flat), folder.inputs / "examples.parquet")
    write_json(folder.inputs / "host.json", (host or HostSpec(name="fake")).as_dict())
    document = (
        {"kind": "labels", "words": WORDS}
        if reward == "labels"
        else {
            "kind": "reward_model",
            "folder": str(path),
            "sampling": {"max_new_tokens": 8, "temperature": 0.0},
        }
    )
    write_json(folder.inputs / "reward.json", document)
    return folder
