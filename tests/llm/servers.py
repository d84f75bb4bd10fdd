"""A small HTTP server that behaves as a test says: what an OpenAI-compatible server may do
wrong, without the network."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, Any] | str] | tuple[int, dict[str, Any] | str, dict[str, str]]


def completion(text: str = "fine") -> dict[str, Any]:
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


class Recorder:
    """What was asked: (path, headers, body), in order; and how many at once at most."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = ""

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for path, _, body in self.requests if path.endswith("/chat/completions")]


@contextmanager
def serving(behave: Callable[[int, str, dict[str, str], dict[str, Any]], Answer]) -> Iterator[Recorder]:
    """`behave(n, path, headers, body) -> (status, body, headers?)` for the nth request."""
    seen = Recorder()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            headers = {key.lower(): value for key, value in self.headers.items()}
            with seen.lock:
                seen.requests.append((self.path, headers, body))
                n = len(seen.requests)
                seen.at_once += 1
                seen.most_at_once = max(seen.most_at_once, seen.at_once)
            try:
                status, said, *more = behave(n, self.path, headers, body)
            finally:
                with seen.lock:
                    seen.at_once -= 1
            block = (said if isinstance(said, str) else json.dumps(said)).encode()
            try:
                self.send_response(status)
                kind = "text/html" if isinstance(said, str) else "application/json"
                for key, value in {"content-type": kind, **(more[0] if more else {})}.items():
                    self.send_header(key, value)
                self.send_header("content-length", str(len(block)))
                self.end_headers()
                self.wfile.write(block)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client has given up

        do_GET = do_POST = _handle

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    seen.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def slowly(seconds: float) -> Answer:
    time.sleep(seconds)
    return 200, completion()
