"""A small real HTTP server that a webhook is sent to."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Answers each request with the next of `statuses`, then with 200. `answer_headers` go
    with every answer; `hold`, while set, keeps answers back."""

    statuses: list[int] = field(default_factory=list)
    answer_headers: dict[str, str] = field(default_factory=dict)
    got: list[Received] = field(default_factory=list)
    hold: threading.Event | None = None

    def __enter__(self) -> "Receiver":
        receiver, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with lock:
                    status = receiver.statuses.pop(0) if receiver.statuses else 200
                    receiver.got.append(
                        Received(
                            self.path,
                            {key.lower(): value for key, value in self.headers.items()},
                            body,
                            status,
                        )
                    )
                if receiver.hold is not None:
                    receiver.hold.wait(20)
                self.send_response(status)
                for name, value in receiver.answer_headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def do_GET(self) -> None:  # where a followed redirect would arrive
                receiver.got.append(Received(self.path, {}, b"{}", 0))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.hold is not None:
            self.hold.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hooks?from=prefloop"

    @property
    def events(self) -> list[tuple[str, str]]:
        """(type, webhook-id) of what was answered with success."""
        return [
            (item.event["type"], item.headers["webhook-id"]) for item in self.got if 200 <= item.status < 300
        ]
