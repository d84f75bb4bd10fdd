"""What is said about a reward model, on real votes: every figure of a judgement.

Two data sets, each trained with one preset and judged as any model of a project is:

HH-RLHF harmless-base   2,312 conversations, one decision each; split by the first question, so that
                        no conversation is trained on and judged by
llmfao                  8,931 votes by 124 people on 2,139 pairs of answers to 13 prompts; split by
                        prompt, with its human ceiling, ties and sides

and two models that ought to be caught: one of labels that follow length, one whose training
pairs hold a third of the test pairs' text.

    python benchmarks/reward_quality.py [--preset standard] [--pairs 0] [--only hh llmfao planted]

Needs data/harmless-base-test.jsonl.gz and data/llmfao/ (or --data FOLDER with hh_rlhf/ and
llmfao/). Writes benchmarks/results/reward_quality.json (no text of the data sets) and prints the
README's table.
"""

import argparse
import csv
import gzip
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from core.runs.context import RunContext  # noqa: E402
from core.runs.folder import RunFolder  # noqa: E402

TURN = "\n\nAssistant:"
PLACES = [ROOT / "data", ROOT.parent / "shared" / "data", ROOT.parent.parent / "shared" / "data"]
HH, LLMFAO = "hh_rlhf/harmless-base-test.jsonl.gz", "llmfao/crowd-comparisons.csv"
Rows = list[dict[str, Any]]


def share(text: str) -> float:
    """A number in [0, 1) that follows from the text."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def split_of(example: str) -> str:
    at = share(example)
    return "train" if at < 0.7 else "dev" if at < 0.8 else "test"


def pair(key: str, example: str, split: str, input: str, a: str, b: str, **label: Any) -> dict[str, Any]:
    return {
        "pair_id": key, "example_id": example, "split": split, "input": input, "response_a": a, "response_b": b,
        "prompt_a": "", "prompt_b": "", "n_simulated": 0, "n_machine": 0, "margin": 0.0,
        "left_known": 0, "left_won": 0, **label,
    }  # fmt: skip


def harmless(file: Path) -> tuple[Rows, Rows]:
    """Pairs, and no votes: each stands for one decision by an unknown person."""
    rows = []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            of = json.loads(line)
            question, _, good = of["chosen"].rpartition(TURN)
            other, _, bad = of["rejected"].rpartition(TURN)
            if question != other or good.strip() == bad.strip():
                continue
            a_wins = share(question + good) < 0.5
            example = hashlib.sha256(question.split(TURN)[0].encode()).hexdigest()[:16]
            a, b = (good, bad) if a_wins else (bad, good)
            rows.append(
                pair(
                    f"hh{number}",
                    example,
                    split_of(example),
                    question.strip(),
                    a.strip(),
                    b.strip(),
                    q=float(a_wins),
                    n=1,
                )
            )
    return rows, []


def crowd(folder: Path) -> tuple[Rows, Rows]:
    """Pairs with the share of votes for a, a tie counting half; and the votes."""
    texts = {}
    for line in (folder / "pairs-crowd.jsonl").read_text(encoding="utf-8").splitlines():
        of = json.loads(line)
        texts[of["id"]] = of
    names = {}
    for line in (folder / "models.jsonl").read_text(encoding="utf-8").splitlines():
        of = json.loads(line)
        names[of["id"]] = of["name"]
    votes: Rows = []
    by_pair: dict[str, Rows] = defaultdict(list)
    with (folder / "crowd-comparisons.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            of = texts[int(row["id"])]
            side = {names[of["model_x"]]: "a", names[of["model_y"]]: "b"}
            outcome = "tie" if row["winner"] == "tie" else side[row[row["winner"]]]
            vote = {
                "pair_id": f"crowd{of['id']}", "annotator": f"worker {row['worker']}", "outcome": outcome,
                "left": side[row["left"]], "strength": None, "criteria": "{}", "week": None, "source": "import",
                "simulated": False, "machine": False, "weight": 1.0,
            }  # fmt: skip
            votes.append(vote)
            by_pair[vote["pair_id"]].append(vote)
    # Thirteen prompts: two for dev, three for test, by a hash; too few for shares of one.
    prompts = sorted({of["prompt"] for of in texts.values()}, key=lambda prompt: share(f"prompt {prompt}"))
    where = {prompt: "dev" if i < 2 else "test" if i < 5 else "train" for i, prompt in enumerate(prompts)}
    rows = []
    for number, of in texts.items():
        cast = by_pair.get(f"crowd{number}")
        if not cast or of["result_x"].strip() == of["result_y"].strip():
            continue
        known = [vote for vote in cast if vote["outcome"] in "ab"]
        rows.append(
            pair(
                f"crowd{number}", f"prompt {of['prompt']}", where[of["prompt"]], of["text"], of["result_x"], of["result_y"],
                q=sum(1.0 if v["outcome"] == "a" else 0.5 if v["outcome"] == "tie" else 0.0 for v in cast) / len(cast),
                n=len(cast), left_known=len(known), left_won=sum(v["outcome"] == v["left"] for v in known),
                prompt_a=names[of["model_x"]], prompt_b=names[of["model_y"]],
            )
        )  # fmt: skip
    return rows, votes


def some(rows: Rows, count: int) -> Rows:
    """At most so many, by a hash; 0: all."""
    return sorted(rows, key=lambda row: share(row["pair_id"]))[:count] if count else rows


def length_labels(rows: Rows) -> Rows:
    """A planted cheat: the longer response is the preferred one, whatever people said."""
    return [{**row, "q": float(len(row["response_a"]) > len(row["response_b"]))} for row in rows]


def leaky(rows: Rows) -> Rows:
    """A planted leak: every third test pair stands in the train split as well."""
    test = [row for row in rows if row["split"] == "test"]
    return [*rows, *({**row, "split": "train", "pair_id": f"copy of {row['pair_id']}"} for row in test[::3])]


def trained(name: str, rows: Rows, votes: Rows, preset: str, place: Path) -> dict[str, Any]:
    """Train and judge, as the worker of a run does; answers {judgement, result}."""
    from core.reward.work import run

    folder = RunFolder(place / name)
    config = {"preset": preset, "backbone": "embedded", "simulated": "exclude"}
    folder.create(
        {"run_id": "", "kind": "reward_model", "config": config, "seed": 0, "models_dir": str(place)}
    )
    pq.write_table(pa.Table.from_pylist(rows), folder.inputs / "pairs.parquet")
    if votes:
        pq.write_table(pa.Table.from_pylist(votes), folder.inputs / "votes.parquet")
    started = time.monotonic()
    context = RunContext(folder)
    result = run(context)
    context.close()
    judgement = json.loads((folder.artifacts / "judgement.json").read_text(encoding="utf-8"))
    return {"judgement": judgement, "seconds": time.monotonic() - started, "summary": result["judgement"]}


def without_texts(judgement: dict[str, Any]) -> dict[str, Any]:
    """What may be kept: figures, and no words of the data."""
    topics = {of["name"]: f"topic {i}" for i, of in enumerate(judgement["clusters"], 1)}
    kept = json.loads(json.dumps(judgement))
    kept["clusters"] = [
        {"name": topics[of["name"]], "n": of["n"], "inputs": of["inputs"]} for of in kept["clusters"]
    ]
    for group in kept["slices"]["groups"]:
        if group["by"] == "cluster":
            for row in group["rows"]:
                row["name"] = topics[row["name"]]
    for row in kept["sensitivity"]:
        row["example"] = None
    for row in kept["mistakes"]:
        row["cluster"] = topics.get(row["cluster"])
    for row in kept["warnings"]:
        for name, other in topics.items():
            row["text"] = row["text"].replace(name, other)
    return kept


# --- what is printed ----------------------------------------------------------------------


def rate(of: dict[str, Any]) -> str:
    if of["value"] is None:
        return "—"
    if of["low"] is None:
        return f"{100 * of['value']:.1f} % (n {of['n']:,})"
    return f"{100 * of['value']:.1f} % ({100 * of['low']:.1f} to {100 * of['high']:.1f}, n {of['n']:,})"


def number(of: dict[str, Any], digits: int = 2, sign: bool = True) -> str:
    if of["value"] is None:
        return "—"
    form = f"{'+' if sign else ''}.{digits}f"
    inside = f" ({of['low']:{form}} to {of['high']:{form}})" if of["low"] is not None else ""
    return f"{of['value']:{form}}{inside}"


def lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The README's rows: (what, how much)."""
    said = [("**held-out accuracy**", f"**{rate(found['accuracy'])}**")]
    for row in found["baselines"]:
        gap = row["difference"]
        points = {
            **gap,
            **{key: None if gap[key] is None else 100 * gap[key] for key in ("value", "low", "high")},
        }
        title = "words in common with the input" if row["name"] == "overlap" else row["title"].lower()
        said.append((title, f"{rate(row['accuracy'])}; model {number(points, 1)} points"))
    people = found["people"]
    if people["several"]:
        said += [
            ("a person, against the majority of the others", rate(people["one_out"])),
            ("the model, against those same majorities", rate(people["model_one_out"])),
            ("two votes on a pair agree", rate(people["votes"])),
        ]
    before, after = found["calibration"]["before"], found["calibration"]["after"]
    for name, title in (("log_loss", "log-loss"), ("brier", "Brier"), ("ece", "calibration error")):
        said.append(
            (
                f"{title}, before and after temperature",
                f"{number(before[name], 3, False)}, {number(after[name], 3, False)}",
            )
        )
    length = next(row for row in found["formatting"] if row["name"] == "length")
    said.append(
        (
            "rank correlation with length: model, people",
            f"{number(length['model'])}, {number(length['people'])}",
        )
    )
    gap = found["length"]
    said.append(
        (
            "accuracy where the longer is preferred, the shorter",
            f"{rate(gap['follows'])}, {rate(gap['against'])}",
        )
    )
    for row in found["sensitivity"]:
        if row["shift"]["value"] is not None:
            said.append((row["title"].lower(), f"{number(row['shift'])} sd; flips {rate(row['flipped'])}"))
    cut = found["slices"]
    said.append(("slices that differ from the rest", f"{cut['marked']} of {cut['looked_at']} looked at"))
    if found["curve"]:
        said.append(("more votes", found["curve"]["accuracy"]["message"]))
    said.append(("warnings", ", ".join(dict.fromkeys(row["code"] for row in found["warnings"])) or "none"))
    return said


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown, a column for each data set."""
    columns = {name: dict(lines(of["judgement"])) for name, of in found.items()}
    titles: list[str] = []
    for rows in columns.values():  # each new title after the one that it follows
        place = 0
        for title in rows:
            if title not in titles:
                titles.insert(place, title)
            place = titles.index(title) + 1
    head = ["", *columns]
    rows = [[title, *(of.get(title, "—") for of in columns.values())] for title in titles]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--preset", default="standard")
    ask.add_argument("--pairs", type=int, default=0, help="at most so many pairs of each data set; 0: all")
    ask.add_argument(
        "--only", nargs="+", default=["hh", "llmfao", "planted"], choices=["hh", "llmfao", "planted"]
    )
    ask.add_argument("--data", type=Path, default=next((p for p in PLACES if (p / HH).exists()), PLACES[0]))
    given = ask.parse_args()
    sources = {
        "hh": (HH, lambda: harmless(given.data / HH)),
        "llmfao": (LLMFAO, lambda: crowd(given.data / "llmfao")),
    }
    for name in given.only:
        file = sources["hh" if name == "planted" else name][0]
        if not (given.data / file).exists():
            sys.exit(f"{file} is not in {given.data.name}/: see the top of this file.")
    found: dict[str, dict[str, Any]] = {}
    planted: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place:
        for name in ("hh", "llmfao"):
            if name in given.only:
                rows, votes = sources[name][1]()
                title = {"hh": "HH-RLHF harmless-base", "llmfao": "llmfao, crowd votes"}[name]
                rows = some(rows, given.pairs)
                found[title] = trained(name, rows, votes, given.preset, Path(place))
        if "planted" in given.only:
            rows = some(harmless(given.data / HH)[0], given.pairs or 800)
            for name, change in (
                ("labels by length", length_labels),
                ("a third of the test pairs leaked", leaky),
            ):
                planted[name] = trained(name, change(rows), [], "quick", Path(place))
    if found:
        print(table(found))
    for name, of in {**found, **planted}.items():
        print(
            f"\n{name} ({of['seconds']:.0f} s, of which judging {sum(of['judgement']['seconds'].values()):.0f})"
        )
        for row in of["judgement"]["warnings"]:
            print(f"  {row['level']:4} {row['code']:15} {row['text']}")
    target = Path(__file__).parent / "results" / "reward_quality.json"
    target.parent.mkdir(exist_ok=True)
    kept = {
        name: {"seconds": of["seconds"], "judgement": without_texts(of["judgement"])}
        for name, of in {**found, **planted}.items()
    }
    about = {"preset": given.preset, "pairs": given.pairs, "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    target.write_text(json.dumps({"python": platform.python_version(), **about, "data": kept}) + "\n")


if __name__ == "__main__":
    main()
