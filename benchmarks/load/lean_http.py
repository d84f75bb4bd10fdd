"""As little of an HTTP/1.1 client as a load generator needs: on two cores, what the client
costs is taken from the server it measures."""

import asyncio
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case; of several of a name, the last
    cookies: list[str]  # the Set-Cookie headers
    body: bytes


@dataclass
class Client:
    """One simulated person's connection. `keep_alive=False`: a new one for each request."""

    base: str
    headers: dict[str, str] = field(default_factory=dict)
    keep_alive: bool = True
    cookies: dict[str, str] = field(default_factory=dict)
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def request(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> Answer:
        """Sends a request and reads its answer. A kept connection that the server has closed
        meanwhile is opened anew, once; OSError when that does not help either."""
        fresh = self._writer is None
        try:
            return await self._once(method, path, body, kind)
        except (OSError, asyncio.IncompleteReadError):
            await self.close()
            if fresh:
                raise
            return await self._once(method, path, body, kind)

    async def _once(self, method: str, path: str, body: bytes, kind: str) -> Answer:
        parts = urlsplit(self.base)
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(parts.hostname, parts.port)
        reader, writer = self._reader, self._writer
        assert reader is not None
        lines = [f"{method} {path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
        if body:
            lines.append(f"Content-Type: {kind}")
        if not self.keep_alive:
            lines.append("Connection: close")
        if self.cookies:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        headers: dict[str, str] = {}
        cookies: list[str] = []
        for line in filter(None, head[1:]):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
            if name.lower() == "set-cookie":
                cookies.append(value.strip())
        content = await _body(reader, status, headers)
        for cookie in cookies:
            name, _, value = cookie.split(";", 1)[0].partition("=")
            self.cookies[name] = value
        if not self.keep_alive or headers.get("connection", "").lower() == "close":
            await self.close()
        return Answer(status, headers, cookies, content)

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def _body(reader: asyncio.StreamReader, status: int, headers: dict[str, str]) -> bytes:
    if status in (204, 304):
        return b""
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    if headers.get("transfer-encoding", "").lower() == "chunked":
        content = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            content += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return content
    return await reader.read()
