"""Evaluating many instructions on the same examples: our evaluator against a plain loop.

    python benchmarks/optimizer_speed.py [--candidates 32] [--examples 32] [--plain 96]

The plain loop is what most released optimisers do: one forward pass (labels) or one
`model.generate` (responses) per prompt and example, nothing shared. It is timed on `--plain`
pairs drawn from the same grid, so that a run takes minutes; both are given as evaluations a
second, so the ratio does not depend on that. A third figure asks for the same grid again:
what was answered is never asked twice. Also said: how often both choose the same label or
write the same response (rounding in another batch shape can turn a near tie).

Same process, same model (the embedded SmolLM2-135M-Instruct), same threads; SST-2 sentences
from ../shared/data. No reward model is part of it: it would add the same to both.
"""

import argparse
import csv
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.llm.ledger import Ledger  # noqa: E402
from core.llm.local import LocalHost  # noqa: E402
from core.llm.protocol import HostSpec, Sampling  # noqa: E402
from core.optimize.answers import Answers, Payer  # noqa: E402
from core.optimize.evaluate import HostEvaluator  # noqa: E402
from core.optimize.instruction import Instruction  # noqa: E402
from core.optimize.objectives import LabelScore, Outcome  # noqa: E402
from core.optimize.work import BATCH  # noqa: E402
from core.prompts.templates import messages  # noqa: E402
from core.settings import get_settings  # noqa: E402

WORDS = {"0": "negative", "1": "positive"}
START = (
    "In this task, you are given a sentence from a review of a film. Read it with care, think about what its "
    "writer felt, and decide whether the review is negative or positive. Answer with one word."
)
NEW_TOKENS = 48


class Lengths:
    """Stands for a reward: the host's own work is what is timed."""

    name, unit, needs = "reward_model", 1.0, "text"

    def answer(self, host, requests, rows):
        answers = host.generate(requests, Sampling(NEW_TOKENS, 0.0))
        return [Outcome(float(len(a.text)), a.text, a.tokens_in, a.tokens_out) for a in answers]


def instructions(count: int) -> list[str]:
    """The start with other words in random places: what an edit search would ask about."""
    rng, made = random.Random(0), [START]
    words = START.split()
    while len(made) < count:
        other = list(words)
        for _ in range(3):
            other[rng.randrange(len(other))] = rng.choice(words)
        made.append(" ".join(other))
    return made


def examples(folder: Path, count: int) -> list[dict]:
    with (folder / "sst2" / "train.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    chosen = random.Random(1).sample(rows, count)
    return [
        {"id": str(i), "input": row["sentence"], "fields": {"input": row["sentence"]}, "messages": None,
         "reference": row["label"]}
        for i, row in enumerate(chosen)
    ]  # fmt: skip


def ours(host, objective, texts, rows, folder) -> tuple[float, float, list[list[str]]]:
    """(seconds, seconds when asked again, outputs)."""
    answers = Answers(folder / f"{objective.name}.jsonl", Ledger(), Payer("host", count_lost=False))
    evaluator = HostEvaluator(
        host,
        objective,
        Instruction("", "{{input}}", "system"),
        {"train": rows},
        answers,
        batch=BATCH[objective.name],
    )
    began = time.perf_counter()
    outputs = evaluator.evaluate(texts).outputs
    took = time.perf_counter() - began
    began = time.perf_counter()
    evaluator.evaluate(texts)
    return took, time.perf_counter() - began, outputs


@torch.inference_mode()
def plain_labels(host, pairs) -> list[str]:
    chosen = []
    for text, row in pairs:
        prompt = host.rendered(messages(text, "{{input}}", row["fields"]))
        ids = torch.tensor([host.tokens(prompt)])
        logits = host.model(input_ids=ids).logits[0, -1]
        heads = [host.tokens(prompt + word)[ids.shape[1]] for word in WORDS.values()]
        chosen.append(list(WORDS)[int(logits[heads].argmax())])
    return chosen


@torch.inference_mode()
def plain_generate(host, pairs) -> list[str]:
    made = []
    for text, row in pairs:
        ids = torch.tensor([host.tokens(host.rendered(messages(text, "{{input}}", row["fields"])))])
        out = host.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False,
            eos_token_id=host.eos, pad_token_id=host.pad,
        )  # fmt: skip
        made.append(host.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip())
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--candidates", type=int, default=32)
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--plain", type=int, default=96)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", choices=["labels", "responses"])
    asked = parser.parse_args()

    host = LocalHost(HostSpec(), get_settings().models_dir)
    texts, rows = instructions(asked.candidates), examples(asked.data, asked.examples)
    grid = [(i, j) for i in range(len(texts)) for j in range(len(rows))]
    sample = random.Random(2).sample(grid, min(asked.plain, len(grid)))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, objective, plain in (
            ("labels", LabelScore(WORDS), plain_labels),
            ("responses", Lengths(), plain_generate),
        ):
            if asked.only not in (None, name):
                continue
            pairs = [(texts[i], rows[j]) for i, j in sample]
            plain(host, pairs[:2])  # warm
            began = time.perf_counter()
            said = plain(host, pairs)
            slow = len(pairs) / (time.perf_counter() - began)
            took, again, outputs = ours(host, objective, texts, rows, Path(folder))
            same = sum(outputs[i][j] == answer for (i, j), answer in zip(sample, said, strict=True))
            fast = len(grid) / took
            found[name] = {
                "plain loop, evaluations/s": round(slow, 2), "ours, evaluations/s": round(fast, 2),
                "ratio": round(fast / slow, 2), "asked again, seconds": round(again, 3),
                "same answer": f"{same} of {len(sample)}",
            }  # fmt: skip
    print(json.dumps({"candidates": len(texts), "examples": len(rows), **found}, indent=2))


if __name__ == "__main__":
    main()
