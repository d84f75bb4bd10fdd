"""A request's body, piece by piece, for code that works in a thread."""

from collections.abc import Iterator

import anyio.from_thread
from fastapi import Request


def in_thread(request: Request) -> Iterator[bytes]:
    """To be read in a thread that `anyio.to_thread` started; the body is never in memory whole."""
    body = request.stream()

    async def piece() -> bytes | None:
        return await anext(body, None)

    while (some := anyio.from_thread.run(piece)) is not None:
        yield some
