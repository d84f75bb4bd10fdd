"""Kill -9 of the whole server at random moments while annotators vote, a hundred times.

Annotators claim and vote over HTTP without think time. At a random moment the server is killed,
and started again on the same data. A vote whose answer did not come is sent again with the same
lease, as the annotate page does. In the end: every acknowledged vote is stored, none is stored
twice, and no pair has a vote too many.

    python benchmarks/kill_under_load.py [--kills 100] [--annotators 16] [--votes 200000]

Writes benchmarks/results/kill_under_load.json.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.load.drive import Refused  # noqa: E402
from benchmarks.load.ours import Annotator, UnderLoad, fill_large  # noqa: E402


class Stubborn:
    """An annotator who keeps a vote until it is answered. `again`: votes sent more than once."""

    def __init__(self, annotator: Annotator) -> None:
        self.annotator = annotator
        self.again = 0
        self.refused: list[str] = []

    async def work(self, over: asyncio.Event) -> None:
        number = 0
        while not over.is_set():
            try:
                task = await self.annotator.claim()
                if task is not None:
                    number += 1
                    await self.vote(task, "left" if number % 3 else "right")
                    continue
            except (OSError, asyncio.IncompleteReadError):
                pass  # the server is away
            except Refused as refused:
                self.refused.append(str(refused))
            await asyncio.sleep(0.05)

    async def vote(self, task: str, choice: str) -> None:
        while True:
            try:
                return await self.annotator.submit(task, choice)
            except (OSError, asyncio.IncompleteReadError):
                self.again += 1
                await asyncio.sleep(0.05)


def run(kills: int, annotators: int, votes: int, seed: int, folder: Path) -> dict[str, object]:
    chance = random.Random(seed)
    load = UnderLoad(folder, annotators, fill_large(votes), PREFLOOP_LEASE_MINUTES="30").start()
    people = [Stubborn(session) for session in load.sessions(annotators)]
    outages: list[float] = []

    async def all_of_it() -> None:
        over = asyncio.Event()
        at_work = [asyncio.create_task(person.work(over)) for person in people]
        for number in range(kills):
            await asyncio.sleep(chance.uniform(0.05, 1.5))
            load.server.kill()
            begin = time.perf_counter()
            await asyncio.to_thread(load.start)
            outages.append(time.perf_counter() - begin)
            if (number + 1) % 10 == 0:
                done = sum(len(person.annotator.voted) for person in people)
                print(f"{number + 1} kills, {done} votes acknowledged", flush=True)
        await asyncio.sleep(1)
        over.set()
        await asyncio.gather(*at_work)

    try:
        asyncio.run(all_of_it())
    finally:
        load.stop()
    found = load.check([vote for person in people for vote in person.annotator.voted])
    return {
        "kills": kills,
        "annotators": annotators,
        **found,
        "votes_sent_again": sum(person.again for person in people),
        "refused": sum(len(person.refused) for person in people),
        "first_refusals": [text for person in people for text in person.refused][:3],
        "seconds_to_start_again": round(sum(outages) / max(1, len(outages)), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--annotators", type=int, default=16)
    parser.add_argument("--votes", type=int, default=200_000, help="stored before; one slot for 20 waits")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = run(options.kills, options.annotators, options.votes, options.seed, Path(name) / "data")
    result |= {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "measured": datetime.now(UTC).date().isoformat(),
    }
    print(json.dumps(result, indent=2))
    target = ROOT / "benchmarks" / "results" / "kill_under_load.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    if any(result[key] for key in ("lost", "twice_by_one_annotator", "over_the_cap", "refused")):
        raise SystemExit("a vote was lost, doubled or refused")


if __name__ == "__main__":
    main()
