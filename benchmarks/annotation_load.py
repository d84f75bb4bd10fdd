"""Many annotators at once: claim a pair, vote, claim the next, over HTTP, without think time.

Two parts:

- A project with 1,000,000 stored votes, and 1, 16, 64 and 200 annotators: throughput, and
  p50/p95/p99 of claim and vote. Afterwards the database says whether an acknowledged vote was
  lost, one was stored twice, or a pair got one too many.
- The same work for Prefloop, Label Studio and Potato in turn, on the same machine in the same run:
  2,139 pairs that want one annotation each, 32 annotators, three rounds. Label Studio and Potato
  are installed into environments of their own; what cannot be installed is said and left out.
  Each server is left alone until it has nothing to do; then a round lasts `--seconds`, or until
  nothing is left. Potato is measured as its page works, which is what an annotator has, and once
  more with the next pair read as JSON instead of its page. Label Studio samples its tasks in order,
  its default.

    python benchmarks/annotation_load.py [--votes 1000000] [--seconds 15] [--rounds 3]
        [--peers FOLDER] [--no-peers]

Writes benchmarks/results/annotation_load.json.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.load.drive import Measured, drive  # noqa: E402
from benchmarks.load.label_studio import LabelStudio  # noqa: E402
from benchmarks.load.ours import UnderLoad, fill_large, fill_pairs  # noqa: E402
from benchmarks.load.peer import Peer, Unavailable  # noqa: E402
from benchmarks.load.potato import Potato  # noqa: E402

LEVELS = (1, 16, 64, 200)
AT_ONCE = 32
PAIRS = 2_139
WANTED = {"Label Studio": 20, "Potato": 5}  # times as many loops per second
WITHIN_MS = 200  # p95 of claim and of vote at AT_ONCE annotators
WORDS = (
    "air",
    "scatters",
    "blue",
    "light",
    "more",
    "than",
    "red",
    "because",
    "its",
    "molecules",
    "are",
    "small",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path, help="folder with the peers' environments, to keep them")
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "measured": datetime.now(UTC).date().isoformat(),
        "load_before": round(os.getloadavg()[0], 1),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result["large"] = large(folder / "large", options.votes, options.seconds)
        result["same_work"] = same_work(
            folder, options.peers or folder / "peers", options.rounds, options.seconds, not options.no_peers
        )
    target = ROOT / "benchmarks" / "results" / "annotation_load.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))
    problems = wrong(result)
    if problems:
        raise SystemExit("; ".join(problems))


# --- a million votes ------------------------------------------------------------------------


def large(folder: Path, votes: int, seconds: float) -> dict[str, Any]:
    load = UnderLoad(folder, max(LEVELS), fill_large(votes)).start()
    levels, acknowledged = [], []
    try:
        load.settle()
        for annotators in LEVELS:
            sessions = load.sessions(annotators)
            measured = drive(sessions, seconds, warm_up=2)
            acknowledged += [vote for session in sessions for vote in session.voted]
            levels.append({"annotators": annotators, **measured.summary()})
            print(json.dumps(levels[-1]), flush=True)
    finally:
        load.stop()
    return {"votes": votes, "seconds": seconds, "levels": levels, "checked": load.check(acknowledged)}


# --- the same work --------------------------------------------------------------------------


def same_work(folder: Path, peers: Path, rounds: int, seconds: float, with_peers: bool) -> dict[str, Any]:
    tools: dict[str, list[dict[str, Any]]] = {}
    missing: dict[str, str] = {}
    pairs = [
        {
            "id": f"p{i}",
            "input": f"Explain why the sky is blue ({i}).",
            "response_a": f"{i}: " + " ".join(WORDS[(i + k) % len(WORDS)] for k in range(80)),
            "response_b": f"{i}: " + " ".join(WORDS[(2 * i + k) % len(WORDS)] for k in range(80)),
        }
        for i in range(PAIRS)
    ]
    others: list[tuple[str, Peer, bool]] = []
    if with_peers:
        for name, peer, keep_alive in (
            ("Potato", Potato(), True),
            ("Potato, pairs read as JSON", Potato(page=False), True),
            ("Label Studio", LabelStudio(), True),
            ("Label Studio, a new connection each time", LabelStudio(), False),
        ):
            try:
                peer.install(peers)
                others.append((name, peer, keep_alive))
            except Unavailable as problem:
                missing[name] = str(problem)
    for number in range(rounds):
        place = folder / f"round{number}"
        found = ours(place / "prefloop", pairs, seconds)
        tools.setdefault("Prefloop", []).append(found)
        print("Prefloop", json.dumps(found), flush=True)
        for name, peer, keep_alive in others:
            try:
                found = theirs(peer, place / name.replace(" ", "_"), pairs, seconds, keep_alive)
            except Unavailable as problem:
                missing[name] = str(problem)
                continue
            tools.setdefault(name, []).append(found)
            print(name, json.dumps(found), flush=True)
    return {
        "annotators": AT_ONCE,
        "pairs": PAIRS,
        "rounds": tools,
        "missing": missing,
        "ratios": {
            name: ratio(tools["Prefloop"], found) for name, found in tools.items() if name != "Prefloop"
        },
    }


def ours(folder: Path, pairs: list[dict[str, str]], seconds: float) -> dict[str, Any]:
    load = UnderLoad(folder, AT_ONCE, fill_pairs(pairs)).start()
    try:
        load.settle()
        sessions = load.sessions(AT_ONCE)
        measured = drive(sessions, seconds)
    finally:
        load.stop()
    checked = load.check([vote for session in sessions for vote in session.voted])
    load.remove()
    return {**measured.summary(), "pairs_twice_or_more": checked["over_the_cap"], "checked": checked}


def theirs(
    peer: Peer, folder: Path, pairs: list[dict[str, str]], seconds: float, keep: bool
) -> dict[str, Any]:
    try:
        peer.start(folder, pairs, AT_ONCE, 1)
        peer.settle()
        measured: Measured = drive(peer.sessions(keep), seconds)
        per_pair = Counter(pair for _, pair in peer.results())
    finally:
        peer.stop()
    return {**measured.summary(), "pairs_twice_or_more": sum(1 for n in per_pair.values() if n > 1)}


def ratio(own: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, float]:
    """Of loops per second: of the medians, and the least and the most that two rounds give."""
    mine, others = ([row["loops_per_s"] for row in rows] for rows in (own, other))
    return {
        "median": round(statistics.median(mine) / statistics.median(others), 1),
        "least": round(min(mine) / max(others), 1),
        "most": round(max(mine) / min(others), 1),
    }


# --- what is said ---------------------------------------------------------------------------


def table(result: dict[str, Any]) -> str:
    big, same = result["large"], result["same_work"]
    lines = [
        f"| annotators at once, {big['votes']:,} stored votes | loops/s | claim p50/p95/p99 | vote p50/p95/p99 |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['annotators']} | {row['loops_per_s']} | {_three(row['claim_ms'])} | {_three(row['submit_ms'])} |"
        for row in big["levels"]
    ]
    lines += [
        "",
        json.dumps(big["checked"]),
        "",
        f"| {same['annotators']} annotators, {same['pairs']:,} pairs, median of {len(same['rounds']['Prefloop'])} "
        "| loops/s | claim p50/p95 | submit p50/p95 | pairs annotated twice or more | Prefloop is faster by |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in same["rounds"].items():
        row = sorted(rows, key=lambda item: item["loops_per_s"])[len(rows) // 2]
        times = same["ratios"].get(name)
        said = f"{times['median']} ({times['least']} to {times['most']})" if times else ""
        lines.append(
            f"| {name} | {row['loops_per_s']} | {_two(row['claim_ms'])} | {_two(row['submit_ms'])} "
            f"| {', '.join(str(item['pairs_twice_or_more']) for item in rows)} | {said} |"
        )
    lines += [f"{name}: not measured. {why}" for name, why in same["missing"].items()]
    return "\n".join(lines)


def _three(times: dict[str, float]) -> str:
    return " / ".join(str(times.get(key, "–")) for key in ("p50", "p95", "p99")) + " ms"


def _two(times: dict[str, float]) -> str:
    return " / ".join(str(times.get(key, "–")) for key in ("p50", "p95")) + " ms"


def wrong(result: dict[str, Any]) -> list[str]:
    found = []
    for key in ("lost", "twice_by_one_annotator", "over_the_cap"):
        if result["large"]["checked"][key]:
            found.append(f"{key}: {result['large']['checked'][key]}")
    for name, least in WANTED.items():
        times = result["same_work"]["ratios"].get(name)
        if times and times["median"] < least:
            found.append(f"{times['median']} times {name}, not {least}")
    rows = result["same_work"]["rounds"]["Prefloop"]
    for step in ("claim_ms", "submit_ms"):
        if statistics.median(row[step]["p95"] for row in rows) >= WITHIN_MS:
            found.append(f"p95 of {step} is {WITHIN_MS} ms or more")
    return found


if __name__ == "__main__":
    main()
