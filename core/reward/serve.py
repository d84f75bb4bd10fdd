"""The resident scorer: `python -m core.reward.serve IDLE_SECONDS`, a child of a web process.

It answers JSON lines from standard input on standard output, and nobody else can reach it.

    ask     {"id": 7, "model": "…", "folder": "/…/model", "inputs": […], "responses": […]}
    answer  {"id": 7, "score": […], "spread": […], "logit": […], "cut": […], "members": 1,
             "loaded_s": 0.0, "seconds": 0.02}
    or      {"id": 7, "error": "…", "hint": "…"}
    drop    {"drop": 7}     nobody waits for it any more

One model is in memory at a time: the one that was asked for last. Requests that wait for the
same model are scored together, up to TOGETHER responses, and each gets its own answer. It ends
when its parent is gone (the input ends), or when nobody asked for IDLE_SECONDS.
"""

import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

# Before torch is loaded: waiting threads sleep, beside a web process that has work to do.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

TOGETHER = 512  # responses scored in one go
NICENESS = 5  # people at the pages come first
Request = dict[str, Any]


class Scorer:
    """The model in memory, and how requests are answered with it."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.model: Any = None

    def load(self, folder: str) -> float:
        """Seconds it took; 0 when it is in memory already."""
        if folder == self.folder:
            return 0.0
        from core.reward.score import RewardScorer

        began = time.monotonic()
        self.folder = self.model = None  # never two at once
        self.model = RewardScorer(Path(folder))
        self.folder = folder
        return time.monotonic() - began

    def answer(self, requests: list[Request]) -> list[dict[str, Any]]:
        """One answer for each of some requests for one model."""
        try:
            loaded = self.load(requests[0]["folder"])
            return self._scored(requests, loaded)
        except Exception as error:  # also of a damaged model: the next request may name another
            from core.runs.failures import explain

            message, hint = explain(error)
            return [{"id": request["id"], "error": message, "hint": hint} for request in requests]

    def _scored(self, requests: list[Request], loaded: float) -> list[dict[str, Any]]:
        import numpy as np

        from core.reward.scored import cut_flags, scored
        from core.runs.context import WorkError

        began = time.monotonic()
        inputs = [text for request in requests for text in request["inputs"]]
        responses = [text for request in requests for text in request["responses"]]
        made = scored(self.model, inputs, responses)
        cut = cut_flags(self.model, inputs, responses)
        if not np.isfinite(made.score).all():
            raise WorkError("The model's scores are not numbers.", "Activate another one, or train anew.")
        seconds = time.monotonic() - began
        answers, start = [], 0
        for request in requests:
            mine = slice(start, start + len(request["inputs"]))
            start = mine.stop
            answers.append(
                {
                    "id": request["id"],
                    "score": made.score[mine].tolist(),
                    "spread": made.spread[mine].tolist() if made.members > 1 else None,
                    "logit": made.logit[mine].tolist(),
                    "cut": cut[mine].tolist(),
                    "members": made.members,
                    "loaded_s": round(loaded, 4),
                    "seconds": round(seconds, 4),
                }
            )
        return answers


def together(
    first: Request, waiting: "queue.Queue[Request | None]", dropped: set[int]
) -> tuple[list[Request], list[Request]]:
    """(those to score now, those for later): what waits for the same model, up to TOGETHER
    responses. Sees the end of the input as a request without an id."""
    now: list[Request] = [first]
    later: list[Request] = []
    count = len(first["inputs"])
    while True:
        try:
            request = waiting.get_nowait()
        except queue.Empty:
            return [one for one in now if one["id"] not in dropped], later
        if request is None:
            waiting.put(None)
            return [one for one in now if one["id"] not in dropped], later
        if request["folder"] == first["folder"] and count + len(request["inputs"]) <= TOGETHER:
            now.append(request)
            count += len(request["inputs"])
        else:
            later.append(request)


def read(source: IO[str], waiting: "queue.Queue[Request | None]", dropped: set[int]) -> None:
    for line in source:
        asked = json.loads(line)
        if "drop" in asked:
            dropped.add(asked["drop"])
        else:
            waiting.put(asked)
    waiting.put(None)


def serve(source: IO[str], sink: IO[str], idle_s: float) -> None:
    waiting: queue.Queue[Request | None] = queue.Queue()
    dropped: set[int] = set()
    threading.Thread(target=read, args=(source, waiting, dropped), daemon=True).start()
    scorer = Scorer()
    later: list[Request] = []
    while True:
        try:
            first = later.pop(0) if later else waiting.get(timeout=idle_s)
        except queue.Empty:
            return
        if first is None:
            return
        now, more = together(first, waiting, dropped)
        later += more
        for answer in scorer.answer(now) if now else []:
            sink.write(json.dumps(answer, allow_nan=False) + "\n")
        sink.flush()
        dropped -= {request["id"] for request in now} | {first["id"]}


def main(argv: list[str]) -> int:
    # What libraries print must not get between the answers.
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.nice(NICENESS)
    serve(sys.stdin, sink, float(argv[0]))
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # a thread that a library left behind must not keep it
