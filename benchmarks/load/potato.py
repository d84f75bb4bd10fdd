"""Potato, as `potato start` serves it: Werkzeug's threaded server in one process (it refuses more),
debugging off; it closes the connection after each answer, whatever is asked of it.

Chosen, and why:
- A submit is the save that its page sends (`/updateinstance`): it is answered when the person's
  file is written. A claim is what its page does after that: `/annotate` with "next", answered in
  short, and then the page with the next pair. What a browser further loads (scripts, styles) and
  reports (times, key presses) is left out. `page=False` reads the next pair as JSON instead of
  the page, which most of its time goes to: what a program could do that annotates through it,
  though no browser does.
- Assignment in the order of the file, one pair at a time (no quota per person). Its default quota,
  all pairs, would give the first annotator every pair; its random order would walk all pairs
  at each claim.
- The cap is `num_annotators_per_item`; without a cap it is left out.
- People register with a password; it keeps them signed in by a cookie.
"""

import html
import json
import re
from pathlib import Path

import httpx

from benchmarks.load.drive import Refused
from benchmarks.load.lean_http import Answer, Client
from benchmarks.load.peer import PASSWORD, Peer, Session, Unavailable, annotator_names, free_port

SCHEME = "better"
TILE = {"left": "A", "right": "B"}
SHOWN = re.compile(rb'<input[^>]*\bid="instance_id"[^>]*\bvalue="([^"]+)"')


class Potato(Peer):
    name, package, version = "Potato", "potato-annotation", "2.12.1"

    def __init__(self, page: bool = True) -> None:
        self.page = page
        self.cookies: dict[str, dict[str, str]] = {}  # by annotator

    def start(self, folder: Path, pairs: list[dict], annotators: int, cap: int | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port, self._folder = free_port(), folder
        (folder / "pairs.json").write_text(
            json.dumps(
                [
                    {
                        "id": pair["id"],
                        "text": pair["input"],
                        "answers": [pair["response_a"], pair["response_b"]],
                    }
                    for pair in pairs
                ]
            )
        )
        config = {
            "annotation_task_name": "Comparisons",
            "task_dir": ".",
            "data_files": ["pairs.json"],
            "output_annotation_dir": "annotations",
            "item_properties": {"id_key": "id", "text_key": "text"},
            "annotation_schemes": [
                {
                    "annotation_type": "pairwise",
                    "name": SCHEME,
                    "description": "Which answer is better?",
                    "items_key": "answers",
                }
            ],
            "user_config": {"allow_all_users": True, "users": []},
            "require_password": True,
            "assignment_strategy": "fixed_order",
            "max_annotations_per_user": -1,
            "host": "127.0.0.1",
        }
        if cap is not None:
            config["num_annotators_per_item"] = cap
        (folder / "config.yaml").write_text(json.dumps(config, indent=1))  # JSON is YAML
        self._serve(["-m", "potato", "start", "config.yaml", "-p", str(port)], folder, port, "/health", {})
        try:
            self.cookies = {name: self._account(name) for name in annotator_names(annotators)}
        except (httpx.HTTPError, Unavailable) as error:
            self.stop()
            raise Unavailable(f"Potato could not be set up: {error}; {self._said()}") from error

    def _account(self, name: str) -> dict[str, str]:
        with httpx.Client(base_url=self.url, timeout=120) as browser:
            done = browser.post("/register", data={"email": name, "pass": PASSWORD, "action": "signup"})
            if done.status_code != 302:
                raise Unavailable(f"Potato did not register {name}: {done.status_code}.")
            return dict(browser.cookies)

    def sessions(self, keep_alive: bool = True) -> list[Session]:
        return [
            PotatoSession(name, Client(self.url, keep_alive=keep_alive, cookies=dict(cookies)), self.page)
            for name, cookies in self.cookies.items()
        ]

    def results(self) -> list[tuple[str, str]]:
        stored = []
        for path in sorted((self._folder / "annotations").glob("*/user_state.json")):
            state = json.loads(path.read_text())
            stored += [
                (state["user_id"], str(pair))
                for pair, labels in state["instance_id_to_label_to_value"].items()
                if labels
            ]
        return stored


class PotatoSession(Session):
    def __init__(self, annotator: str, client: Client, page: bool) -> None:
        self.annotator, self._client, self._page = annotator, client, page
        self._done: str | None = None  # the pair that was submitted and is still on the screen

    async def claim(self) -> str | None:
        if self._done is not None:
            step = json.dumps({"action": "next_instance", "instance_id": self._done}).encode()
            self._client.headers["X-Potato-Navigation"] = "1"
            moved = await self._client.request("POST", "/annotate", step)
            del self._client.headers["X-Potato-Navigation"]
            if moved.status == 302:  # to the end of the study
                return None
            if _json(moved, "claim")["instance_id"] == self._done:
                return None
            self._done = None
        if not self._page:
            shown = await self._client.request("GET", "/api/current_instance")
            return None if shown.status == 404 else str(_json(shown, "claim")["instance_id"])
        shown = await self._client.request("GET", "/annotate")
        if shown.status not in (200, 302):
            raise Refused(f"claim: {shown.status} {shown.body[:200]!r}")
        found = SHOWN.search(shown.body)  # not on the pages that say that nothing is left
        return html.unescape(found.group(1).decode()) if found else None

    async def submit(self, task: str, choice: str) -> None:
        save = {
            "instance_id": task,
            "annotations": {f"{SCHEME}:selection": TILE[choice]},
            "cleared_schemas": [],
            "span_annotations": [],
        }
        answer = await self._client.request("POST", "/updateinstance", json.dumps(save).encode())
        if _json(answer, "submit").get("status") != "success":
            raise Refused(f"submit: {answer.status} {answer.body[:200]!r}")
        self._done = task


def _json(answer: Answer, what: str) -> dict:
    if answer.status != 200 or "json" not in answer.headers.get("content-type", ""):
        raise Refused(f"{what}: {answer.status} {answer.body[:200]!r}")
    return json.loads(answer.body)
