"""How many proposals of a small language model can be used, by the form of the request.

The methods that ask for a text between tags (OPRO, EvoPrompt, MIPRO) put their real requests,
about SST-2, to the embedded model (SmolLM2-135M): as they are (`tags`), and with the opening
tag written for the model (`begun`). A proposal is usable when a method would score it: it
can be read, is not too long, keeps the slots and is not there already.

    python benchmarks/proposals.py [--requests 20] [--data DIR]

Prints a table with Wilson's intervals and writes benchmarks/results/proposals.json.
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.llm.local import LocalHost  # noqa: E402
from core.llm.protocol import HostSpec, Messages, Sampling  # noqa: E402
from core.optimize.evoprompt import EvoPromptDE, EvoPromptGA  # noqa: E402
from core.optimize.inputs import general_instruction  # noqa: E402
from core.optimize.mipro import Mipro  # noqa: E402
from core.optimize.opro import Opro  # noqa: E402
from core.optimize.protocol import Candidate, Evaluation, Shown  # noqa: E402
from core.settings import get_settings  # noqa: E402
from core.stats import wilson  # noqa: E402

START = general_instruction(["negative", "positive"]).text
OTHERS = (
    "Decide whether the review is positive or negative, and say one word.",
    "You are a film critic. Is the sentence positive or negative? Answer with one word.",
    "Read the sentence. If its writer liked the film say positive, else negative.",
)


class Books:
    """An evaluator for one question: the proposals a method asks for, and nothing scored."""

    unit, calls, context, begins = 100.0, 0, "", True

    def __init__(self, host: LocalHost, shown: list[Shown]) -> None:
        self.host, self.shown = host, shown

    def ask_many(self, key: str, requests: list[Messages], sampling: Sampling) -> list[str]:
        seeds = [sampling.seed + i for i in range(len(requests))]
        return [
            answer.text
            + ("…" if answer.finish_reason == "length" and "\n" not in answer.text.strip() else "")
            for answer in self.host.generate(requests, sampling, seeds=seeds)
        ]

    def evaluate(self, texts: list[str], *_: Any, **__: Any) -> Evaluation:
        raise AssertionError("nothing is scored here")

    def fits(self, calls: int) -> bool:
        return True

    def since(self, spent: int) -> int:
        return 0

    def percent(self, scores: dict[str, float]) -> float:
        return scores["score"]


def population() -> list[Candidate]:
    texts = (START, *OTHERS)
    return [
        Candidate(i, text, 0 if i else None, "start", scores={"train": {"score": 60.0 + 5 * i}})
        for i, text in enumerate(texts)
    ]


def asked(name: str, form: str, requests: int) -> Any:
    if name == "OPRO":
        made: Any = Opro(START, 1, proposals=requests, request_form=form)
    elif name == "MIPRO":
        made = Mipro(START, 1, instructions=requests + 1, request_form=form)
        made.summary = "Sentences from film reviews, each to be called positive or negative."
    else:
        kind = EvoPromptGA if name == "EvoPrompt GA" else EvoPromptDE
        made = kind(START, 1, population=requests, request_form=form)
    made.candidates = population()
    if isinstance(made, EvoPromptGA | EvoPromptDE):
        made.filling, made.alive = False, [i % 4 for i in range(4)]
        made.size = requests
    return made


def measure(host: LocalHost, shown: list[Shown], name: str, form: str, requests: int) -> dict[str, Any]:
    method, books = asked(name, form, requests), Books(host, shown)
    usable = 0
    while sum(method.dropped.values()) + usable < requests:
        method.asked += 1
        if name == "MIPRO":
            method.sets = [[], [{"input": one.input, "answer": one.answer} for one in shown[:3]]]
            method._write(books, [])
            usable = len(method.instructions) - 1
        else:
            method.propose(books)
            usable = len(method.queue)
    low, high = wilson(usable, requests)
    return {"method": name, "form": form, "usable": usable, "n": requests, "low": low, "high": high,
            "dropped": method.dropped}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    given = parser.parse_args()
    with (given.data / "sst2" / "train.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:64]
    shown = [Shown(row["sentence"], "positive" if row["label"] == "1" else "negative") for row in rows]
    host = LocalHost(HostSpec(), get_settings().models_dir)
    found = []
    for name in ("OPRO", "EvoPrompt GA", "EvoPrompt DE", "MIPRO"):
        for form in ("tags", "begun"):
            line = measure(host, shown, name, form, given.requests)
            found.append(line)
            print(f"{name:13} {form:6} {line['usable']:3} of {line['n']} ({100 * line['low']:.0f} to "
                  f"{100 * line['high']:.0f} %)  dropped {line['dropped']}", flush=True)  # fmt: skip
    file_ = ROOT / "benchmarks" / "results" / "proposals.json"
    file_.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
