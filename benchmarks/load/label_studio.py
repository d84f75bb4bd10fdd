"""Label Studio, as `label-studio start` serves it: Django's threaded server on SQLite, debugging
off, its log at the default level.

Chosen, and why:
- A claim is what its own page sends when a person labels the stream: the data manager's action
  `next_task`, which picks a task, locks it for the person and answers with its data. A submit is
  the annotation that its editor posts. The page, drafts and the label stream's history are left
  out; so are analytics and the look for a newer version, which would leave the machine.
- Each person has an account and an API token (the static kind, checked by one look-up).
- `sampling`: "Sequential sampling" is its default. "Uniform sampling" lets people meet less often
  at the same task.
- The cap is its setting for annotations per task; without a cap that is the number of annotators.
- The labelling configuration is its template for pairwise classification, with the question added.
"""

import json
import secrets
import shutil
import subprocess
from pathlib import Path

import httpx

from benchmarks.load.drive import Refused
from benchmarks.load.lean_http import Client
from benchmarks.load.peer import PASSWORD, Peer, Session, Unavailable, annotator_names, free_port, run

CONFIG = """<View>
  <Header>Which answer is better?</Header>
  <Text name="question" value="$input" />
  <Pairwise name="pw" toName="a,b" />
  <Text name="a" value="$response_a" />
  <Text name="b" value="$response_b" />
</View>"""
# Nothing leaves the machine.
QUIET = {
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LATEST_VERSION_CHECK": "false",
}
ADMIN = "lead@example.com"


class LabelStudio(Peer):
    name, package, version = "Label Studio", "label-studio", "1.23.2"

    def __init__(self, sampling: str = "Sequential sampling") -> None:
        self.sampling = sampling
        self.tokens: dict[str, str] = {}  # by annotator
        self.project = 0

    def install(self, folder: Path) -> None:
        """Beside the environment it leaves `<package>-data`, an empty database: its some hundred
        migrations take longer than everything else of a start."""
        super().install(folder)
        self._empty = folder.absolute() / f"{self.package}-data"
        if (self._empty / "ready").exists():
            return
        command = [str(self._python), "-m", "label_studio.server", "version", "--data-dir", str(self._empty)]
        try:
            run(command, 900, QUIET)
        except subprocess.SubprocessError as error:
            raise Unavailable(f"{self.name} could not make its database: {error}") from error
        (self._empty / "ready").touch()

    def start(self, folder: Path, pairs: list[dict], annotators: int, cap: int | None) -> None:
        shutil.copytree(self._empty, folder / "data")
        port, token = free_port(), secrets.token_hex(20)
        command = ["-m", "label_studio.server", "start", "--no-browser", "--enable-legacy-api-token"]
        command += ["--port", str(port), "--internal-host", "127.0.0.1", "--data-dir", str(folder / "data")]
        command += ["--username", ADMIN, "--password", PASSWORD, "--user-token", token]
        self._serve(command, folder, port, "/health", QUIET)
        try:
            with httpx.Client(
                base_url=self.url, headers={"Authorization": f"Token {token}"}, timeout=300
            ) as lead:
                self._lead_token = token
                self.tokens = {name: self._account(name) for name in annotator_names(annotators)}
                settings = {
                    "title": "Comparisons",
                    "label_config": CONFIG,
                    "sampling": self.sampling,
                    "maximum_annotations": cap or annotators,
                }
                made = lead.post("/api/projects/", json=settings).raise_for_status()
                self.project = int(made.json()["id"])
                for first in range(0, len(pairs), 500):
                    tasks = [{"data": pair} for pair in pairs[first : first + 500]]
                    lead.post(f"/api/projects/{self.project}/import", json=tasks).raise_for_status()
                count = lead.get(f"/api/projects/{self.project}/").raise_for_status().json()["task_number"]
                if count != len(pairs):
                    raise Unavailable(f"Label Studio has {count} tasks of {len(pairs)} after the import.")
        except (httpx.HTTPError, Unavailable) as error:
            self.stop()
            raise Unavailable(f"Label Studio could not be set up: {error}; {self._said()}") from error

    def _account(self, email: str) -> str:
        """Signs a person up as its page does; their token."""
        with httpx.Client(base_url=self.url, timeout=120) as browser:
            browser.get("/user/signup/").raise_for_status()
            form = {"email": email, "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
            done = browser.post("/user/signup/", data=form, headers={"Referer": f"{self.url}/user/signup/"})
            if done.status_code != 302:
                raise Unavailable(f"Label Studio did not sign {email} up: {done.status_code}.")
            return str(browser.get("/api/current-user/token").raise_for_status().json()["token"])

    def sessions(self, keep_alive: bool = True) -> list[Session]:
        return [
            LabelStudioSession(
                name,
                self.project,
                Client(self.url, headers={"Authorization": f"Token {token}"}, keep_alive=keep_alive),
            )
            for name, token in self.tokens.items()
        ]

    def results(self) -> list[tuple[str, str]]:
        headers = {"Authorization": f"Token {self._lead_token}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=300) as lead:
            people = {user["id"]: user["email"] for user in lead.get("/api/users/").raise_for_status().json()}
            export = lead.get(f"/api/projects/{self.project}/export", params={"exportType": "JSON"})
            return [
                (people[annotation["completed_by"]], str(task["data"]["id"]))
                for task in export.raise_for_status().json()
                for annotation in task["annotations"]
            ]


class LabelStudioSession(Session):
    def __init__(self, annotator: str, project: int, client: Client) -> None:
        self.annotator, self._client, self._project = annotator, client, project
        self._task = 0  # Label Studio's id of the task claimed last

    async def claim(self) -> str | None:
        path = f"/api/dm/actions?id=next_task&project={self._project}"
        answer = await self._client.request("POST", path, b"{}")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise Refused(f"claim: {answer.status} {answer.body[:200]!r}")
        task = json.loads(answer.body)
        self._task = task["id"]
        return str(task["data"]["id"])

    async def submit(self, task: str, choice: str) -> None:
        selected = {"from_name": "pw", "to_name": "pw", "type": "pairwise", "id": secrets.token_hex(5)}
        result = [selected | {"value": {"selected": choice}}]
        body = json.dumps({"result": result, "lead_time": 1.0, "project": self._project}).encode()
        answer = await self._client.request("POST", f"/api/tasks/{self._task}/annotations/", body)
        if answer.status != 201:
            raise Refused(f"submit: {answer.status} {answer.body[:200]!r}")
