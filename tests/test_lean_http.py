"""The load generator's HTTP client, against a server that answers by a script."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from benchmarks.load.lean_http import Answer, Client

DROP = b""  # the server closes without an answer


class Scripted:
    """Answers request after request with what is next in `answers`; closes after one that ends
    with the word CLOSE. `seen`: (number of the connection, head, body) of each request."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.seen: list[tuple[int, str, bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                self.seen.append((number, head, await reader.readexactly(length)))
                answer = self.answers.pop(0)
                writer.write(answer.removesuffix(b"CLOSE"))
                await writer.drain()
                if answer == DROP or answer.endswith(b"CLOSE"):
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def played(server: Scripted, play: Callable[[Client], Awaitable[list[Answer]]], **options) -> list[Answer]:
    async def run() -> list[Answer]:
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            client = Client(f"http://127.0.0.1:{port}", **options)
            answers = await asyncio.wait_for(play(client), 5)
            await client.close()
            return answers

    return asyncio.run(run())


def three(method: str = "POST") -> Callable[[Client], Awaitable[list[Answer]]]:
    async def play(client: Client) -> list[Answer]:
        return [await client.request(method, f"/{n}", b"{}" * n) for n in range(3)]

    return play


def plain(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def test_a_kept_connection_serves_all_requests() -> None:
    server = Scripted(plain(b"a"), plain(b""), plain(b"c\r\n\r\n"))
    answers = played(server, three(), headers={"Authorization": "Token t"})
    assert [answer.body for answer in answers] == [b"a", b"", b"c\r\n\r\n"]
    assert [number for number, _, _ in server.seen] == [1, 1, 1]
    assert [body for _, _, body in server.seen] == [b"", b"{}", b"{}{}"]
    heads = [head for _, head, _ in server.seen]
    assert [head.split("\r\n")[0] for head in heads] == [f"POST /{n} HTTP/1.1" for n in range(3)]
    assert all("Authorization: Token t\r\n" in head and "Connection:" not in head for head in heads)
    assert "Content-Type" not in heads[0] and "Content-Type: application/json" in heads[1]


def test_without_keep_alive_each_request_has_a_connection() -> None:
    server = Scripted(plain(b"a"), plain(b"b"), plain(b"c"))
    assert [answer.body for answer in played(server, three(), keep_alive=False)] == [b"a", b"b", b"c"]
    assert [number for number, _, _ in server.seen] == [1, 2, 3]
    assert all("Connection: close\r\n" in head for _, head, _ in server.seen)


def test_bodies_in_chunks_without_content_and_until_the_end() -> None:
    chunks = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\na\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n"
    nothing = b"HTTP/1.1 204 No Content\r\nServer: s\r\n\r\n"
    to_the_end = b"HTTP/1.0 404 Not Found\r\n\r\nall of it" + b"CLOSE"
    server = Scripted(chunks, nothing, to_the_end)
    answers = played(server, three())
    assert [(answer.status, answer.body) for answer in answers] == [
        (201, b"a\r\n0123456789"),
        (204, b""),
        (404, b"all of it"),
    ]
    assert server.connections == 1


def test_a_connection_that_the_server_closes_is_opened_anew() -> None:
    said = plain(b"said", b"Connection: close") + b"CLOSE"
    unsaid = plain(b"unsaid") + b"CLOSE"
    server = Scripted(said, unsaid, plain(b"third"))
    assert [answer.body for answer in played(server, three())] == [b"said", b"unsaid", b"third"]
    assert [number for number, _, _ in server.seen] == [1, 2, 3]


def test_a_server_that_drops_requests_is_an_error_and_not_asked_for_ever() -> None:
    server = Scripted(plain(b"a"), DROP, DROP, plain(b"never"))
    with pytest.raises(asyncio.IncompleteReadError):
        played(server, three())
    assert [number for number, _, _ in server.seen] == [1, 1, 2]


def test_cookies_are_sent_back_as_last_set() -> None:
    server = Scripted(
        plain(b"", b"Set-Cookie: session=one; Path=/; HttpOnly", b"Set-Cookie: x=1"),
        plain(b"", b"set-cookie: session=t=wo"),
        plain(b""),
    )
    answers = played(server, three("GET"))
    assert answers[0].cookies == ["session=one; Path=/; HttpOnly", "x=1"]
    assert "Cookie:" not in server.seen[0][1]
    assert "Cookie: session=one; x=1\r\n" in server.seen[1][1]
    assert "Cookie: session=t=wo; x=1\r\n" in server.seen[2][1]
