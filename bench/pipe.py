"""A bare asyncio server that sends or swallows bytes over TCP: what carrying bytes costs at the least.

    python pipe.py SOCKET

Whoever connects to the unix socket is told the TCP port. There, ``o`` is answered with zeros without end, and what
follows ``i`` is dropped.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

PIECE = bytes(64 * 1024)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    with suppress(ConnectionError):
        if await reader.readexactly(1) == b"o":
            while True:
                writer.write(PIECE)
                await writer.drain()
        while await reader.read(256 * 1024):
            pass
    writer.close()


async def main(path: str) -> None:
    """Serve for ever."""
    tcp = await asyncio.start_server(carry, "127.0.0.1", 0, limit=256 * 1024)

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(str(tcp.sockets[0].getsockname()[1]).encode())
        writer.close()

    async with tcp, await asyncio.start_unix_server(tell, path) as unix:
        await unix.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
