"""Evaluating many instructions on the same examples: our evaluator against plain loops.

    python benchmarks/optimizer_speed.py [--candidates 32] [--examples 32] [--rounds 3] [--plain 32]
        [--only labels responses] [--keep]

Peers, all with the same model, requests and threads, in this process:

plain loop          one forward pass (labels), or one `model.generate` and one pass of the reward
                    model (responses), per prompt and example, nothing shared: what most released
                    optimisers do
GrIPS's loop        as its released code calls the model: batches of four examples of one
                    candidate; a token is generated, then all is read again for its
                    probabilities, and prompts whose answer was not a label are read once more
                    with each label behind them
RLPrompt's loop     as its released code does: all examples of one candidate in a batch of 16,
                    logits of every position

Ours answers the whole grid of candidates and examples; a peer is timed on as many pairs of it as
`--plain` says (whole candidates where it works by candidate), so that a round takes a minute.
Everything is given as evaluations a second, so the ratio does not depend on that; a ratio is the
median over the rounds with the least and the most. Asking for the same grid again shows that
what was answered is never asked twice. Also said: how often a peer and ours choose the same
label or write the same response (rounding in another batch shape can turn a near tie).

The embedded SmolLM2-135M-Instruct, SST-2 sentences from ../shared/data. The reward is a model of
MiniLM's size, as the page trains it; its head is random, which takes the same time. With `--keep`
what was measured replaces that part of benchmarks/results/optimizer_speed.json.
"""

import argparse
import csv
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.llm.embedded import embedded_encoder  # noqa: E402
from core.llm.ledger import Ledger  # noqa: E402
from core.llm.local import LocalHost  # noqa: E402
from core.llm.protocol import HostSpec, Sampling  # noqa: E402
from core.optimize.answers import Answers, Payer  # noqa: E402
from core.optimize.evaluate import HostEvaluator  # noqa: E402
from core.optimize.instruction import Instruction  # noqa: E402
from core.optimize.objectives import LabelScore, Objective, RewardScore  # noqa: E402
from core.optimize.work import BATCH  # noqa: E402
from core.prompts.templates import messages  # noqa: E402
from core.reward.score import RewardScorer  # noqa: E402
from core.settings import get_settings  # noqa: E402

WORDS = {"0": "negative", "1": "positive"}
START = (
    "In this task, you are given a sentence from a review of a film. Read it with care, think about what its "
    "writer felt, and decide whether the review is negative or positive. Answer with one word."
)
NEW_TOKENS = 48
TARGET = ROOT / "benchmarks" / "results" / "optimizer_speed.json"
Pair = tuple[str, dict[str, Any]]


def reward_model(folder: Path) -> RewardScorer:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    backbone = embedded_encoder()
    AutoModelForSequenceClassification.from_pretrained(backbone, num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(backbone).save_pretrained(folder)
    card = {"format": 1, "max_length": 256, "mean": 0.0, "std": 1.0, "temperature": 1.0}
    (folder / "reward.json").write_text(json.dumps(card))
    return RewardScorer(folder)


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


def examples(folder: Path, count: int) -> list[dict[str, Any]]:
    with (folder / "sst2" / "train.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    chosen = random.Random(1).sample(rows, count)
    return [
        {"id": str(i), "input": row["sentence"], "fields": {"input": row["sentence"]}, "messages": None,
         "reference": row["label"]}
        for i, row in enumerate(chosen)
    ]  # fmt: skip


def ours(
    host: LocalHost, objective: Objective, texts: list[str], rows: list[Any]
) -> tuple[float, float, Any]:
    """(seconds, seconds when asked again, outputs)."""
    with tempfile.TemporaryDirectory() as folder:
        answers = Answers(Path(folder) / "answers.jsonl", Ledger(), Payer("host", count_lost=False))
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
        again = time.perf_counter() - began
        answers.close()
    return took, again, outputs


# --- the peers' loops ------------------------------------------------------------------------


def rendered(host: LocalHost, pair: Pair) -> str:
    text, row = pair
    return host.rendered(messages(text, "{{input}}", row["fields"]))


def heads(host: LocalHost, prompt: str) -> list[int]:
    """The first token of each label word where the answer begins."""
    length = len(host.tokens(prompt))
    return [host.tokens(prompt + word)[length] for word in WORDS.values()]


@torch.inference_mode()
def plain_labels(host: LocalHost, objective: Objective, pairs: list[Pair]) -> list[str]:
    chosen = []
    for pair in pairs:
        prompt = rendered(host, pair)
        logits = host.model(input_ids=torch.tensor([host.tokens(prompt)])).logits[0, -1]
        chosen.append(list(WORDS)[int(logits[heads(host, prompt)].argmax())])
    return chosen


@torch.inference_mode()
def plain_generate(host: LocalHost, objective: Objective, pairs: list[Pair]) -> list[str]:
    made = []
    for pair in pairs:
        ids = torch.tensor([host.tokens(rendered(host, pair))])
        out = host.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False,
            eos_token_id=host.eos, pad_token_id=host.pad,
        )  # fmt: skip
        made.append(host.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip())
        objective.scorer.score([pair[1]["input"]], made[-1:])  # type: ignore[attr-defined]
    return made


@torch.inference_mode()
def grips_loop(host: LocalHost, objective: Objective, pairs: list[Pair]) -> list[str]:
    chosen = []
    for start in range(0, len(pairs), 4):
        prompts = [rendered(host, pair) for pair in pairs[start : start + 4]]
        ids, mask = host._padded([host.tokens(prompt) for prompt in prompts])
        out = host.model.generate(
            ids, attention_mask=mask, max_new_tokens=1, min_new_tokens=1, do_sample=False, pad_token_id=host.pad,
            eos_token_id=host.eos,
        )  # fmt: skip
        grown = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        logits = host.model(input_ids=out, attention_mask=grown).logits[:, -2:]
        logits.softmax(-1).topk(100)  # it keeps the 100 likeliest
        wanted = heads(host, prompts[0])
        scores = logits[:, 0].float().log_softmax(-1)[:, wanted]
        missing = [
            (i, label)
            for i, token in enumerate(out[:, -1].tolist())
            for label in range(2)
            if token != wanted[label]
        ]
        if missing:
            words = list(WORDS.values())
            behind = [host.tokens(prompts[i] + words[label]) for i, label in missing]
            more, shown = host._padded(behind)
            told = host.model(input_ids=more, attention_mask=shown).logits.softmax(-1).log()
            for place, (i, label) in enumerate(missing):
                at = len(behind[place]) - len(host.tokens(prompts[i]))
                scores[i, label] = told[place, -at - 1, wanted[label]]
        chosen += [list(WORDS)[int(best)] for best in scores.argmax(1)]
    return chosen


@torch.inference_mode()
def rlprompt_loop(host: LocalHost, objective: Objective, pairs: list[Pair]) -> list[str]:
    chosen = []
    for start in range(0, len(pairs), 16):
        prompts = [rendered(host, pair) for pair in pairs[start : start + 16]]
        ids, mask = host._padded([host.tokens(prompt) for prompt in prompts])
        logits = host.model(input_ids=ids, attention_mask=mask).logits[:, -1]
        likely = logits[:, heads(host, prompts[0])].softmax(-1).argmax(1)
        chosen += [list(WORDS)[int(best)] for best in likely]
    return chosen


# --- all of it -------------------------------------------------------------------------------

PEERS: dict[str, dict[str, Callable[[LocalHost, Objective, list[Pair]], list[str]]]] = {
    "labels": {"plain loop": plain_labels, "GrIPS's loop": grips_loop, "RLPrompt's loop": rlprompt_loop},
    "responses": {"plain loop": plain_generate},
}


def measured(
    host: LocalHost,
    kind: str,
    objective: Objective,
    texts: list[str],
    rows: list[Any],
    rounds: int,
    plain: int,
) -> dict[str, Any]:
    whole = [(i, j) for i in range(len(texts)) for j in range(len(rows))]
    ours_s: list[float] = []
    again_s: list[float] = []
    peers_s: dict[str, list[float]] = {name: [] for name in PEERS[kind]}
    same: dict[str, int] = dict.fromkeys(PEERS[kind], 0)
    asked = dict(same)
    ours(host, objective, texts[:2], rows[:4])  # warm
    for number in range(rounds):
        took, again, outputs = ours(host, objective, texts, rows)
        ours_s.append(len(whole) / took)
        again_s.append(again)
        scattered = random.Random(number).sample(whole, min(plain, len(whole)))
        first = (number * plain // len(rows)) % len(texts)
        together = [(first + k // len(rows), k % len(rows)) for k in range(plain)]
        together = [(i % len(texts), j) for i, j in together]
        for name, loop in PEERS[kind].items():
            pairs = scattered if name == "plain loop" else together
            began = time.perf_counter()
            said = loop(host, objective, [(texts[i], rows[j]) for i, j in pairs])
            peers_s[name].append(len(pairs) / (time.perf_counter() - began))
            same[name] += sum(outputs[i][j] == answer for (i, j), answer in zip(pairs, said, strict=True))
            asked[name] += len(pairs)
    found: dict[str, Any] = {
        "ours": {"evaluations_per_s": round(statistics.median(ours_s), 2)},
        "asked_again_s": round(statistics.median(again_s), 3),
    }
    for name, speeds in peers_s.items():
        ratios = [fast / slow for fast, slow in zip(ours_s, speeds, strict=True)]
        found[name] = {
            "evaluations_per_s": round(statistics.median(speeds), 2),
            "ratio": round(statistics.median(ratios), 2),
            "ratio_least": round(min(fast / slow for fast in ours_s for slow in speeds), 2),
            "ratio_most": round(max(fast / slow for fast in ours_s for slow in speeds), 2),
            "same_answer": f"{same[name]} of {asked[name]}",
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--candidates", type=int, default=32)
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain", type=int, default=32)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--keep", action="store_true", help="write it down")
    asked = parser.parse_args()
    host = LocalHost(HostSpec(), get_settings().models_dir)
    texts, rows = instructions(asked.candidates), examples(asked.data, asked.examples)
    with tempfile.TemporaryDirectory() as folder:
        rewarded = RewardScore(reward_model(Path(folder)), Sampling(NEW_TOKENS, 0.0))
    objectives: dict[str, Objective] = {"labels": LabelScore(WORDS), "responses": rewarded}
    result: dict[str, Any] = json.loads(TARGET.read_text()) if TARGET.exists() else {}
    for kind in asked.only:
        result[kind] = {
            "candidates": len(texts), "examples": len(rows), "rounds": asked.rounds, "new_tokens": NEW_TOKENS,
            "machine": f"{os.cpu_count()} cores, {platform.machine()}", "dtype": str(host.dtype),
            "measured": datetime.now(UTC).date().isoformat(), "load_before": round(os.getloadavg()[0], 1),
            **measured(host, kind, objectives[kind], texts, rows, asked.rounds, asked.plain),
        }  # fmt: skip
        print(json.dumps({kind: result[kind]}, indent=2), flush=True)
        if asked.keep:
            TARGET.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
