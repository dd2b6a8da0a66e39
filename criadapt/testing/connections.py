"""Connections into a pod's network."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from criadapt.backends.base import Connection
from criadapt.errors import CriadaptError, NotFound, Unavailable
from criadapt.testing.harness import Bench
from criadapt.testing.terms import UNKNOWN, ContractBase

PORT = 8080


class ConnectionContract(ContractBase):
    """Connections into a pod's network."""

    @pytest.fixture
    def dialling(self, bench: Bench) -> Bench:
        """A bench whose backend can."""
        if not bench.backend.can("dial"):
            pytest.skip(f"backend {bench.backend.name!r} cannot connect to a port of a pod")
        return bench

    async def connected(self, bench: Bench, id: str) -> Connection:
        """A connection, once somebody listens."""
        async with asyncio.timeout(self.timeout):
            while True:
                try:
                    return await bench.backend.dial(id, PORT)
                except Unavailable:
                    await asyncio.sleep(0.01)

    async def all_of(self, connection: Connection) -> bytes:
        """What comes, to the end."""
        parts = []
        async with asyncio.timeout(self.timeout):
            while data := await connection.read():
                parts.append(data)
        return b"".join(parts)

    async def end_of(self, connection: Connection) -> None:
        """It ends, one way or the other, and nothing comes before."""
        async with asyncio.timeout(self.timeout):
            with suppress(ConnectionError):
                assert await connection.read() == b""

    async def test_bytes_go_both_ways_and_the_answer_outlives_the_question(self, dialling: Bench) -> None:
        connection = await self.connected(dialling, await dialling.run(self.echo))
        data = bytes(range(256)) * 4096

        async def send() -> None:
            await connection.write(b"hello")
            await connection.write(data)
            await connection.end()

        sending = asyncio.ensure_future(send())
        assert await self.all_of(connection) == b"hello" + data
        await sending
        assert await connection.read() == b""
        await connection.end()
        await connection.close()

    async def test_the_end_reaches_whoever_listens(self, dialling: Bench) -> None:
        id = await dialling.run(self.sink)
        connection = await self.connected(dialling, id)
        await connection.write(b"for the log")
        await connection.end()
        assert (await dialling.ended(id)).exit_code == 0
        assert await self.all_of(connection) == b""
        await connection.close()

    async def test_connections_do_not_get_in_each_other_s_way(self, dialling: Bench) -> None:
        id = await dialling.run(self.echo)
        connections = [await self.connected(dialling, id) for _ in range(20)]
        await connections[0].close()
        for number, connection in enumerate(connections[1:]):
            await connection.write(b"%d" % number)
            await connection.end()
        for number, connection in enumerate(connections[1:]):
            assert await self.all_of(connection) == b"%d" % number
            await connection.close()

    async def test_not_reading_holds_the_other_side_back(self, dialling: Bench) -> None:
        connection = await self.connected(dialling, await dialling.run(self.echo))
        sending = asyncio.ensure_future(connection.write(bytes(32 << 20)))
        assert not (await asyncio.wait([sending], timeout=0.3))[0]
        size = 0
        async with asyncio.timeout(self.timeout):
            while size < 32 << 20:
                size += len(await connection.read())
            await sending
        await connection.close()

    async def test_where_nobody_listens_it_is_unavailable(self, dialling: Bench) -> None:
        id = await dialling.run(self.sleep)
        with pytest.raises(Unavailable):
            await dialling.backend.dial(id, PORT)

    async def test_a_closed_connection_is_over(self, dialling: Bench) -> None:
        connection = await self.connected(dialling, await dialling.run(self.echo))
        reading = asyncio.ensure_future(self.end_of(connection))
        await asyncio.sleep(0)
        await connection.close()
        await reading
        await connection.close()

    async def test_a_connection_ends_with_the_container(self, dialling: Bench) -> None:
        id = await dialling.run(self.echo)
        connection = await self.connected(dialling, id)
        await dialling.kill(id)
        await self.end_of(connection)
        await connection.close()

    async def test_only_a_running_container_can_be_dialled(self, dialling: Bench) -> None:
        with pytest.raises(NotFound):
            await dialling.backend.dial(UNKNOWN, PORT)
        id = await dialling.run(self.echo)
        await dialling.kill(id)
        with pytest.raises(CriadaptError):
            await dialling.backend.dial(id, PORT)
