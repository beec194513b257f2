"""A proxy in front of PostgreSQL that now and then delays an answer."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys

CHANCE = 0.25  # of an answer to be delayed
LONGEST = 0.03  # seconds


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delayed: bool
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            if delayed and random.random() < CHANCE:
                await asyncio.sleep(random.uniform(0, LONGEST))
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def serve(port: int, socket: str) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_unix_connection(socket)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            _pass(reader, to_server, delayed=False), _pass(from_server, writer, delayed=True)
        )

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
