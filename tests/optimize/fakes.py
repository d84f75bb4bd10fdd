"""A host and a reward that answer by rule, and count what they are asked."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.llm.protocol import Completion, HostSpec
from core.optimize.methods import METHODS
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

    def generate(self, requests, sampling, on_done=None, seeds=None):
        self._count(len(requests))
        seeds = seeds or [sampling.seed] * len(requests)
        return [
            self._answer(request, replace(sampling, seed=seed))
            for request, seed in zip(requests, seeds, strict=True)
        ]

    def _answer(self, request, sampling):
        begun = request[-1]["role"] == "assistant"  # it goes on, without the tag that is there
        last = request[-2 if begun else -1]["content"]
        proposal = proposed(last, sampling.seed)
        if proposal is not None:
            proposal = proposal.split(request[-1]["content"], 1)[-1] if begun else proposal
            return Completion(proposal, 50, 20)
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


def proposed(request: str, seed: int) -> str | None:
    """What the fake says to a method that wants a whole instruction: a shorter one, and now
    and then something that is no use."""
    forms = {
        "Answer with the new instruction only": "{}",
        "Answer with the instruction only": "Instruction: {}",
        "between <INS> and </INS>": "Well: <INS>{}</INS>",
        "between <prompt> and </prompt>": "1. …\n2. <prompt>{}</prompt>",
        "Provide the new instructions within ```": "```\n{}\n```",
    }
    form = next((form for mark, form in forms.items() if mark in request), None)
    if form is None:
        return None
    roll = chance(request, str(seed))
    if roll < 0.15:
        return "" if roll < 0.1 else "I cannot do that."
    words = START.split()
    kept = [word for word in words if chance(word, request, str(seed)) < 0.6]
    return form.format(("Read: " if roll > 0.5 else "") + " ".join(kept))


class FakeScorer:
    """Likes shouting: an exclamation mark is worth .2, with some noise by text."""

    def score(self, inputs, responses):
        return np.array(
            [0.2 * r.count("!") + 0.1 * chance(i, r) - 1 for i, r in zip(inputs, responses, strict=True)]
        )

    def score_members(self, inputs, responses):
        return self.score(inputs, responses)[:, None]


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
    path: Path,
    *,
    method="grips",
    reward="labels",
    calls=400,
    seed=3,
    sizes=(12, 6, 8),
    finalists=3,
    host=None,
    optimizer_host=None,
    **options,
) -> RunFolder:
    """A frozen run, as `prepare` leaves it."""
    train, dev, test = sizes
    data = rows(train, dev, test)
    config = {
        "method": method,
        "reward": reward,
        "budget": {"calls": calls},
        "start": {"system": START, "user": "{{input}}", "place": "system", "prompt_id": None, "name": "start"},
        "plan": {
            "budget": calls, "train": train, "dev": dev, "test": test, "finalists": finalists,
            "reserve": dev * (finalists + 1) + 2 * test,
        },
        "options": {**METHODS[method].checked_options({}), **options},
        "stop": {},
    }  # fmt: skip
    folder = RunFolder(path)
    folder.create(
        {"run_id": path.name, "project_id": "p", "kind": "optimize", "config": config, "seed": seed,
         "models_dir": str(path.parent / "models")}
    )  # fmt: skip
    flat = [{**row, "fields": json.dumps(row["fields"])} for split in data.values() for row in split]
    pq.write_table(pa.Table.from_pylist(flat), folder.inputs / "examples.parquet")
    target = host or HostSpec(name="fake")
    write_json(folder.inputs / "host.json", target.as_dict())
    write_json(folder.inputs / "optimizer_host.json", (optimizer_host or target).as_dict())
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
