"""How long an import takes: as many votes, annotators and pairs as the llmfao crowd gave
(8,931 by 124 on 2,139 pairs), with texts of like length, made up on the spot.

Through the page's functions (read the file, preview, import), and through the REST API in
batches of 1,000 over real HTTP. On DuckDB, each with a database of its own.
"""

import json
import os
import random
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core import data  # noqa: E402
from core.access import Principal, Role  # noqa: E402
from core.projects import create_project  # noqa: E402
from storage.database import Database  # noqa: E402
from storage.ids import now  # noqa: E402
from tests.server import Prefloop  # noqa: E402

VOTES, ANNOTATORS, PAIRS, PROMPTS, INPUTS = 8_931, 124, 2_139, 59, 13
TEXT = (
    "pan salt water heat stir then slowly add the onion until it is soft and golden leave it to rest a minute"
)
WORDS = TEXT.split()


def rows(seed: int = 0) -> list[dict]:
    rng = random.Random(seed)
    text = lambda: " ".join(rng.choices(WORDS, k=rng.randint(20, 300)))  # noqa: E731
    answers = {(i, p): text() for i in range(INPUTS) for p in range(PROMPTS)}
    pairs = set()
    while len(pairs) < PAIRS:
        pairs.add((rng.randrange(INPUTS), *sorted(rng.sample(range(PROMPTS), 2))))
    votes = [(pair, who) for pair in pairs for who in rng.sample(range(ANNOTATORS), 5)]
    rng.shuffle(votes)
    return [
        {
            "input": f"Question {i}: " + " ".join(WORDS[: 10 + i]),
            "response_a": answers[i, a],
            "response_b": answers[i, b],
            "prompt_a": f"model {a}",
            "prompt_b": f"model {b}",
            "annotator": f"worker {who}",
            "choice": rng.choice(["a", "b", "tie"]),
            "left": rng.choice("ab"),
            "created_at": (now() - timedelta(minutes=place)).isoformat(),
        }
        for place, ((i, a, b), who) in enumerate(votes[:VOTES])
    ]


def through_functions(content: list[dict], folder: Path) -> float:
    db = Database(f"duckdb:///{folder / 'page.duckdb'}")
    db.migrate()
    who = Principal("bench", "bench", Role.ADMIN)
    project = create_project(db, who, name="import")
    file = "\n".join(json.dumps(row) for row in content).encode()
    start = time.perf_counter()
    table = data.read_upload("votes.jsonl", file)
    data.import_comparisons(db, who, project.id, table.rows, dry_run=True)
    report = data.import_comparisons(db, who, project.id, table.rows)
    seconds = time.perf_counter() - start
    assert report.imported == VOTES, report
    return seconds


def through_api(content: list[dict], folder: Path) -> float:
    server = Prefloop(folder / "api", PREFLOOP_DEMO="false").start()
    try:
        with server.api() as api:
            project = api.post("/projects", json={"name": "import"}).json()["id"]
            start = time.perf_counter()
            taken = sum(
                api.post(f"/projects/{project}/comparisons", json=content[first : first + 1000]).json()[
                    "imported"
                ]
                for first in range(0, len(content), 1000)
            )
            seconds = time.perf_counter() - start
            assert taken == VOTES, taken
            return seconds
    finally:
        server.stop()


def main() -> None:
    content = rows()
    figures: dict[str, list[float]] = {"page": [], "api": []}
    for _ in range(3):
        with tempfile.TemporaryDirectory() as name:
            figures["page"].append(through_functions(content, Path(name)))
            figures["api"].append(through_api(content, Path(name)))
    result = {
        "votes": VOTES,
        **{f"{name}_s": sorted(round(value, 2) for value in values) for name, values in figures.items()},
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
    }
    for name, values in figures.items():
        low, middle, high = sorted(values)
        print(f"{name}: {middle:.1f} s ({low:.1f} to {high:.1f}) for {VOTES:,} votes")
    out = ROOT / "benchmarks" / "results" / "import_comparisons.json"
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
