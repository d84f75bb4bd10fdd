"""One model, judged: the order of the work, and what is written.

The test split was not trained on and is asked once, here. Cheap figures come first; what needs
the model or the backbone again (embeddings, edits, the learning curve) comes after, says how
far it is, and is left out, with the reason, where somebody asks to stop.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.reward.judgement import clusters
from core.reward.judgement.baselines import Embed, baselines, position
from core.reward.judgement.calibration import calibration
from core.reward.judgement.curve import Fit, Predict, learning_curve
from core.reward.judgement.figures import rate
from core.reward.judgement.formatting import differences, formatting, length
from core.reward.judgement.leaks import leaks
from core.reward.judgement.logistic import Logistic, choose_ridge
from core.reward.judgement.mistakes import mistakes
from core.reward.judgement.origin import TRAINED, Origin
from core.reward.judgement.pairs import Judged, Row, Scorer
from core.reward.judgement.people import people
from core.reward.judgement.sensitivity import sensitivity
from core.reward.judgement.slices import slices
from core.reward.judgement.votes import Ballot, ballots_of
from core.reward.judgement.warnings import warnings
from core.runs.folder import write_json

JUDGEMENT, PAIRS = "judgement.json", "test_pairs.parquet"
DEV_PAIRS = 300
TOPICS_FROM = 400  # inputs at most that topics are made of


@dataclass(frozen=True)
class Plan:
    """How much is looked at. `embedded`: training pairs for the embeddings baseline and the
    learning curve; `edited`: test pairs whose responses are edited; `curve_s`: no further
    order of the curve is begun after so many seconds."""

    name: str
    resamples: int
    embedded: int
    edited: int
    sizes: int
    orders: int
    curve_s: float


PLANS = {
    plan.name: plan
    for plan in (
        Plan("quick", 500, embedded=300, edited=25, sizes=4, orders=4, curve_s=10.0),
        Plan("standard", 1_000, embedded=800, edited=40, sizes=5, orders=6, curve_s=20.0),
        Plan("thorough", 2_000, embedded=5_000, edited=200, sizes=7, orders=10, curve_s=180.0),
    )
}


def judge_model(
    artifacts: Path,
    scorer: Scorer,
    train: Sequence[Row],
    dev: Sequence[Row],
    test: Sequence[Row],
    votes: Sequence[Row] = (),
    *,
    embed: Embed | None = None,
    origin: Origin = TRAINED,
    fit: Fit | None = None,
    learner: str = "",
    embedder: str = "",
    plan: str = "standard",
    seed: int = 0,
    tell: Callable[[float, str], None] = lambda share, message: None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Writes judgement.json and test_pairs.parquet into `artifacts`; answers what the first
    holds (see `core.reward.judgement`).

    embed     texts -> (n, dimensions), the frozen backbone: for topics, a baseline, and the
              learning curve where no `fit` is given; without it these are skipped
    embedder  the backbone's name in words
    origin    where the model comes from; of one that was not trained on `train` nothing is said of
              leaks, and there is no learning curve
    fit       the learner of the learning curve, `learner` its name in words; where it turns out
              too slow, logistic regression on the embeddings
    plan      quick, standard or thorough; any other name is taken as standard
    tell      share done (0 to 1) and what is being done
    stop      whether to leave out what is still to come
    """
    chosen = PLANS.get(plan, PLANS["standard"])
    work = _Work(
        scorer, train, dev, test, votes, embed, embedder, origin, fit, learner, chosen, seed, tell, stop
    )
    found = work.judge()
    artifacts.mkdir(parents=True, exist_ok=True)
    _write_pairs(artifacts / PAIRS, work)
    write_json(artifacts / JUDGEMENT, found)
    return json.loads((artifacts / JUDGEMENT).read_text(encoding="utf-8"))


class _Work:
    def __init__(
        self, scorer: Scorer, train: Sequence[Row], dev: Sequence[Row], test: Sequence[Row], votes: Sequence[Row],
        embed: Embed | None, embedder: str, origin: Origin, fit: Fit | None, learner: str, plan: Plan, seed: int,
        tell: Callable[[float, str], None], stop: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.scorer, self.train_rows, self.plan, self.seed = scorer, train, plan, seed
        self.origin = origin
        self.embedder = f" of {embedder}" if embedder else ""
        self.embed, self.fit, self.learner, self.tell, self.stop = embed, fit, learner, tell, stop
        self.seconds: dict[str, float] = {}
        self.skipped: list[dict[str, str]] = []
        self.ballots: list[Ballot] = ballots_of(test, votes)
        self.tell(0.0, "scoring the test split")
        with self.timed("scores"):
            self.test = self.scored(test)
            self.dev = self.scored(dev[:DEV_PAIRS])
        self.cluster_names: list[str] = []
        self.leaked = np.zeros(len(test), dtype=bool)

    def scored(self, rows: Sequence[Row]) -> Judged:
        inputs = [row["input"] for row in rows]
        score_a, score_b = (
            np.asarray(self.scorer.score(inputs, [row[f"response_{side}"] for row in rows]), dtype=float)
            for side in ("a", "b")
        )
        return Judged(rows, score_a, score_b, self.scorer.std / self.scorer.temperature)

    def timed(self, part: str) -> "_Timed":
        return _Timed(self.seconds, part)

    def skip(self, part: str, reason: str) -> None:
        self.skipped.append({"part": part, "reason": reason})

    def judge(self) -> dict[str, Any]:
        test, plan = self.test, self.plan
        decided = test.decided
        with self.timed("leaks"):
            found_leaks, self.leaked = leaks(self.train_rows if self.origin.trained_here else (), test)
            if not self.origin.trained_here:
                self.skip(
                    "leaks", "What it was trained on is not known here: some test pairs may be among it."
                )
        with self.timed("embeddings"):
            embedded, topics = self.embeddings()
        with self.timed("baselines"):
            beside = self.beside(embedded)
        with self.timed("people"):
            agreed = people(test, self.ballots, resamples=plan.resamples)
        with self.timed("calibration"):
            calibrated = calibration(
                test, self.dev, self.scorer.std, self.scorer.temperature, plan.resamples, self.origin.fitted
            )
        with self.timed("slices"):
            cut = slices(test, self.ballots, self.cluster_names)
        with self.timed("formatting"):
            laid_out, long = formatting(test, plan.resamples), length(test, plan.resamples)
        with self.timed("sensitivity"):
            edited = self.edited()
        with self.timed("curve"):
            curve = self.curve(embedded)
        found: dict[str, Any] = {
            "format": 1,
            "trained_here": self.origin.trained_here,
            "n": {
                "train": len(self.train_rows), "dev": len(self.dev), "test": len(test),
                "decided": int(decided.sum()), "ties": int((~decided).sum()),
                "examples": test.examples, "votes": int(test.column("n").sum()),
                "simulated": int(test.column("n_simulated").sum()), "machine": int(test.column("n_machine").sum()),
            },
            "accuracy": rate(test.right[decided], test.place[decided]),
            "baselines": beside,
            "people": agreed,
            "calibration": calibrated,
            "slices": cut,
            "clusters": topics,
            "formatting": laid_out,
            "length": long,
            "sensitivity": edited,
            "curve": curve,
            "mistakes": mistakes(test, self.cluster_names),
            "leaks": found_leaks,
            "position": position(test, self.ballots),
        }  # fmt: skip
        found["warnings"] = warnings(found)
        found["skipped"] = self.skipped
        found["plan"] = asdict(plan)
        found["seconds"] = {part: round(s, 2) for part, s in self.seconds.items()}
        self.tell(1.0, "judged")
        return found

    def embeddings(self) -> tuple["_Embedded | None", list[dict[str, Any]]]:
        """Differences of frozen embeddings, and the topics."""
        if self.embed is None:
            self.skip("embeddings", "There was no backbone to embed with.")
            return None, []
        if self.stop():
            self.skip("embeddings", "The run was asked to stop.")
            return None, []
        self.tell(0.05, "embedding with the frozen backbone")
        drawn = np.random.default_rng([self.seed, 5]).permutation(len(self.train_rows))[: self.plan.embedded]
        train = [self.train_rows[i] for i in np.sort(drawn)]
        embedded = _Embedded(self.embed, train, self.dev.rows, self.test.rows)
        self.tell(0.3, "finding topics")
        inputs = list(dict.fromkeys(row["input"] for row in self.test.rows))
        others = dict.fromkeys(row["input"] for row in self.train_rows if row["input"] not in set(inputs))
        inputs += list(others)[: max(0, TOPICS_FROM - len(inputs))]
        if len(inputs) < 2 * clusters.A_CLUSTER:
            self.skip("clusters", f"There are only {len(inputs)} different inputs: too few for topics.")
            return embedded, []
        place = clusters.cluster(self.embed(inputs), self.seed)
        words = clusters.typical_words(inputs, place)
        names = clusters.named(words)
        if len(names) < 2:
            self.skip("clusters", "The inputs do not fall into topics.")
            return embedded, []
        at = dict(zip(inputs, place, strict=True))
        self.cluster_names = [names[at[row["input"]]] for row in self.test.rows]
        return embedded, [
            {
                "name": name,
                "words": of,
                "n": self.cluster_names.count(name),
                "inputs": int((place == i).sum()),
            }
            for i, (name, of) in enumerate(zip(names, words, strict=True))
        ]

    def beside(self, embedded: "_Embedded | None") -> list[dict[str, Any]]:
        self.tell(0.35, "choosing without reading")
        train, dev, test = self.train_rows, self.dev.rows, self.test.rows
        features = {"style": (differences(train), differences(dev), differences(test))}
        labels = None
        if embedded is not None:
            features["embeddings"] = (embedded.x(embedded.train), embedded.x(dev), embedded.x(test))
            labels = (q_of(embedded.train), self.dev.q)
        return baselines(train, self.test, features, q_of(train), self.dev.q, self.ballots, labels)

    def edited(self) -> list[dict[str, Any]]:
        if self.stop():
            self.skip("sensitivity", "The run was asked to stop.")
            return []
        found = sensitivity(
            self.test, self.scorer, pairs=self.plan.edited, seed=self.seed, resamples=self.plan.resamples,
            tell=lambda share: self.tell(0.4 + 0.4 * share, "scoring edited responses"), stop=self.stop,
        )  # fmt: skip
        if self.stop():
            self.skip("sensitivity", "The run was asked to stop; some edits were not tried.")
        return found

    def curve(self, embedded: "_Embedded | None") -> dict[str, Any] | None:
        """By the learner given, where it can be refitted in time; else on frozen embeddings."""
        if not self.origin.trained_here:
            self.skip("curve", "It was not trained here, so what more votes would bring it is not known.")
            return None
        found = None
        if self.fit is not None:
            found = self.refitted(self.train_rows, self.fit, self.learner, give_up=True)
        if found is None and embedded is not None:
            found = self.refitted(
                embedded.train, embedded.fit, f"logistic regression on frozen embeddings{self.embedder}"
            )
        if found is None:
            if self.stop():
                self.skip("curve", "The run was asked to stop.")
            elif self.fit is None and embedded is None:
                self.skip("curve", "There is no learner that could be refitted in time.")
            else:
                self.skip(
                    "curve", "There are too few pairs for a learning curve, or no learner is fast enough."
                )
        return found

    def refitted(
        self, rows: Sequence[Row], fit: Fit, learner: str, give_up: bool = False
    ) -> dict[str, Any] | None:
        return learning_curve(
            rows, self.test, fit, learner=learner, sizes=self.plan.sizes, orders=self.plan.orders, seed=self.seed,
            n_train=len(self.train_rows), budget_s=self.plan.curve_s, give_up=give_up,
            tell=lambda share: self.tell(0.8 + 0.19 * share, "refitting on parts of the data"), stop=self.stop,
        )  # fmt: skip


class _Embedded:
    """Differences of embeddings of the two responses of pairs, each text embedded once."""

    def __init__(self, embed: Embed, train: Sequence[Row], dev: Sequence[Row], test: Sequence[Row]) -> None:
        self.train, self.dev = train, dev
        texts = list(
            dict.fromkeys(
                row[side]
                for rows in (train, dev, test)
                for row in rows
                for side in ("response_a", "response_b")
            )
        )
        self.vectors = np.asarray(embed(texts), dtype=float)
        self.at = {text: i for i, text in enumerate(texts)}
        self.dev_x, self.dev_q = self.x(dev), q_of(dev)
        self.ridges: dict[int, float] = {}

    def x(self, rows: Sequence[Row]) -> np.ndarray:
        a = [self.at[row["response_a"]] for row in rows]
        b = [self.at[row["response_b"]] for row in rows]
        return self.vectors[a] - self.vectors[b]

    def fit(self, rows: Sequence[Row], seed: int) -> Predict:
        x, q = self.x(rows), q_of(rows)
        if len(rows) not in self.ridges:  # chosen by the first order of this size
            self.ridges[len(rows)] = choose_ridge(x, q, self.dev_x, self.dev_q)
        model = Logistic(x, q, self.ridges[len(rows)])
        return lambda asked: model.predict(self.x(asked))


class _Timed:
    def __init__(self, seconds: dict[str, float], part: str) -> None:
        self.seconds, self.part = seconds, part

    def __enter__(self) -> None:
        self.started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.seconds[self.part] = time.monotonic() - self.started


def q_of(rows: Sequence[Row]) -> np.ndarray:
    return np.array([float(row["q"]) for row in rows])


def _write_pairs(path: Path, work: _Work) -> None:
    test = work.test
    decided, right = test.decided, test.right
    rows = [
        {
            "pair_id": row.get("pair_id"),
            "example_id": row.get("example_id"),
            "d": float(test.d[i]),
            "p": float(test.p[i]),
            "q": float(test.q[i]),
            "n": int(row.get("n") or 0),
            "n_people": int(test.n_people[i]),
            "right": float(right[i]) if decided[i] else None,
            "margin": float(abs(2 * test.q[i] - 1)),
            "strength": None if row.get("strength") is None else float(row["strength"]),
            "length_difference": int(test.length_a[i] - test.length_b[i]),
            "cluster": work.cluster_names[i] if work.cluster_names else None,
            "prompt_a": row.get("prompt_a"),
            "prompt_b": row.get("prompt_b"),
            "week": row.get("week"),
            "leaked": bool(work.leaked[i]),
        }
        for i, row in enumerate(test.rows)
    ]
    part = path.with_suffix(".part")
    pq.write_table(pa.Table.from_pylist(rows, schema=PAIRS_SCHEMA), part, compression="zstd")
    part.replace(path)


PAIRS_SCHEMA = pa.schema(
    [
        ("pair_id", pa.string()), ("example_id", pa.string()), ("d", pa.float64()), ("p", pa.float64()),
        ("q", pa.float64()), ("n", pa.int64()), ("n_people", pa.int64()), ("right", pa.float64()),
        ("margin", pa.float64()), ("strength", pa.float64()), ("length_difference", pa.int64()),
        ("cluster", pa.string()), ("prompt_a", pa.string()), ("prompt_b", pa.string()), ("week", pa.string()),
        ("leaked", pa.bool_()),
    ]
)  # fmt: skip
