"""Network namespaces, for real; and connections into them."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from criadapt.backends.dialing import dial
from criadapt.errors import Unavailable
from criadapt.host import netns

Make = Callable[[str], Awaitable[str]]
BOUND = 5.0


def inside(path: str, *args: str) -> str:
    return subprocess.run(["nsenter", f"--net={path}", *args], check=True, capture_output=True, text=True).stdout


async def listening(path: str, address: str = "127.0.0.1", port: int = 80, backlog: int = 8) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    (server,) = await netns.sockets(path, family)
    if family is socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind((address, port))
    server.listen(backlog)
    return server


# ------------------------------------------------------------------ namespaces


async def test_a_new_namespace_has_nothing_but_its_loopback_which_is_up(make: Make) -> None:
    path = await make("a")
    assert inside(path, "ip", "-o", "link").count("\n") == 1
    assert "<LOOPBACK,UP,LOWER_UP>" in inside(path, "ip", "-o", "link")
    assert netns.is_netns(path)
    assert netns.identity(path) != netns.identity("/proc/self/ns/net")


async def test_the_thread_that_was_inside_is_gone_and_nobody_else_moved(make: Make) -> None:
    before = netns.identity("/proc/thread-self/ns/net")
    path = await make("a")
    await netns.loopback_up(path)
    assert netns.identity("/proc/thread-self/ns/net") == before
    assert netns.identity("/proc/self/ns/net") == before
    assert await asyncio.to_thread(netns.identity, "/proc/thread-self/ns/net") == before
    for thread in threading.enumerate():
        if thread.name == "netns":
            thread.join(BOUND)
            assert not thread.is_alive()


async def test_a_namespace_is_not_made_over_another(make: Make) -> None:
    path = await make("a")
    with pytest.raises(FileExistsError):
        await netns.make(path)
    assert netns.is_netns(path)


async def test_what_an_interrupted_making_left_is_taken_over(make: Make, tmp_path: Path) -> None:
    (tmp_path / "pods").mkdir()
    (tmp_path / "pods" / "a").touch()
    assert netns.is_netns(await make("a"))


async def test_removing_leaves_no_mount_and_no_file_and_may_be_repeated(make: Make, tmp_path: Path) -> None:
    path = await make("a")
    assert netns.pinned(str(tmp_path / "pods")) == ["a"]
    netns.remove(path)
    assert netns.pinned(str(tmp_path / "pods")) == []
    assert path not in Path("/proc/self/mountinfo").read_text()
    netns.remove(path)


async def test_a_folder_that_is_not_there_has_no_pins(tmp_path: Path) -> None:
    assert netns.pinned(str(tmp_path / "none")) == []
    netns.remove(str(tmp_path / "none" / "a"))


async def test_removing_is_not_held_up_by_somebody_inside(make: Make) -> None:
    path = await make("a")
    server = await listening(path)
    netns.remove(path)
    assert not netns.is_netns(path)
    server.close()


async def test_a_pin_outlives_the_process_whose_namespace_it_holds(make: Make, tmp_path: Path) -> None:
    source = await make("a")
    process = subprocess.Popen(["nsenter", f"--net={source}", "sleep", "60"])
    deadline = time.monotonic() + BOUND
    while netns.identity(netns.path_of(process.pid)) != netns.identity(source):
        assert time.monotonic() < deadline
    pin = str(tmp_path / "pods" / "b")
    netns.pin(netns.path_of(process.pid), pin)
    number = netns.identity(source)
    process.kill()
    process.wait()
    netns.remove(source)
    assert netns.identity(pin) == number


async def test_pinning_again_replaces_the_pin(make: Make, tmp_path: Path) -> None:
    one, two = await make("a"), await make("b")
    pin = str(tmp_path / "pods" / "c")
    netns.pin(one, pin)
    netns.pin(two, pin)
    assert netns.identity(pin) == netns.identity(two)
    netns.remove(pin)
    assert not os.path.exists(pin)


async def test_only_a_network_namespace_can_be_pinned(namespaces: None, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    with pytest.raises(FileNotFoundError):
        netns.pin("/proc/1/ns/no-such", str(pin))
    with pytest.raises(OSError, match="not a network namespace"):
        netns.pin("/proc/self/ns/uts", str(pin))
    assert not pin.exists()


def test_a_file_and_nothing_are_no_namespaces(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    assert not netns.is_netns(str(tmp_path / "file"))
    assert not netns.is_netns(str(tmp_path / "fifo"))  # and does not wait for a writer
    assert not netns.is_netns(str(tmp_path / "none"))
    assert not netns.is_netns("/proc/self/ns/uts")
    assert netns.is_netns("/proc/self/ns/net")


async def test_making_that_is_cancelled_leaves_nothing(make: Make, tmp_path: Path) -> None:
    folder = str(tmp_path / "pods")
    for turns in range(4):
        task = asyncio.get_running_loop().create_task(make(f"x{turns}"))  # type: ignore[arg-type]
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():  # it was quicker
            netns.remove(task.result())
    deadline = time.monotonic() + BOUND
    while [t for t in threading.enumerate() if t.name == "netns"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert netns.pinned(folder) == []


# ------------------------------------------------------------------ dialling


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back all of it, once the other side has ended."""
    data = await reader.read()
    writer.write(b"got " + data)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_the_server_hears_the_end_and_its_answer_comes_back(make: Make, address: str) -> None:
    path = await make("a")
    async with asyncio.timeout(BOUND), await asyncio.start_server(echo, sock=await listening(path, address)):
        connection = await dial(path, 80)
        await connection.write(b"hel")
        await connection.write(b"lo")
        await connection.end()
        assert await connection.read() == b"got hello"
        assert await connection.read() == b""
        assert await connection.read() == b""
        await connection.close()
        await connection.close()


async def test_a_dead_port_is_refused_in_the_words_of_the_mock(make: Make) -> None:
    path = await make("a")
    with pytest.raises(Unavailable, match=r"^nobody listens on port 81 in the pod: connection refused$"):
        await dial(path, 81)


async def test_the_port_of_another_network_is_not_found(make: Make) -> None:
    here, there = await make("a"), await make("b")
    server = await listening(there)
    with pytest.raises(Unavailable, match="connection refused"):
        await dial(here, 80)
    server.close()


async def test_a_namespace_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="port 80 in the pod cannot be reached: No such file"):
        await dial(str(tmp_path / "gone"), 80)


async def test_a_server_that_accepts_nothing_is_given_up(make: Make) -> None:
    path = await make("a")
    server = await listening(path, backlog=0)
    first = await dial(path, 80)  # fills the queue
    with pytest.raises(Unavailable, match=r"port 80 in the pod did not accept a connection within 0.2 s"):
        await dial(path, 80, timeout=0.2)
    await first.close()
    server.close()


async def test_a_dial_that_is_given_up_leaves_no_descriptor(make: Make) -> None:
    path = await make("a")
    server = await listening(path, backlog=0)
    first = await dial(path, 80)
    before = len(os.listdir("/proc/self/fd"))
    for turns in (0, 1, 2, 50):
        task = asyncio.get_running_loop().create_task(dial(path, 80))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        task.cancel()
        await asyncio.wait([task])
    deadline = time.monotonic() + BOUND
    while len(os.listdir("/proc/self/fd")) > before:
        assert time.monotonic() < deadline
        await asyncio.sleep(0)
    await first.close()
    server.close()


async def test_a_reset_is_an_oserror_for_reader_and_writer(make: Make) -> None:
    path = await make("a")
    server = await listening(path)
    connection = await dial(path, 80)
    accepted, _ = await asyncio.get_running_loop().sock_accept(server)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    accepted.close()
    async with asyncio.timeout(BOUND):
        with pytest.raises(ConnectionResetError):
            await connection.read()
        with pytest.raises(OSError):
            await connection.write(b"x")
    await connection.close()
    server.close()


async def test_closing_wakes_a_reader_with_the_end(make: Make) -> None:
    path = await make("a")
    server = await listening(path)
    connection = await dial(path, 80)
    reading = asyncio.get_running_loop().create_task(connection.read())
    await asyncio.sleep(0)
    await connection.close()
    async with asyncio.timeout(BOUND):
        assert await reading == b""
    server.close()


async def test_a_server_that_does_not_read_holds_the_writer_back(make: Make) -> None:
    path = await make("a")
    server = await listening(path)
    connection = await dial(path, 80)
    accepted, _ = await asyncio.get_running_loop().sock_accept(server)
    sent = 0

    async def pour() -> None:
        nonlocal sent
        while True:
            await connection.write(b"x" * 65536)
            sent += 65536

    pouring = asyncio.get_running_loop().create_task(pour())
    _, waiting = await asyncio.wait([pouring], timeout=0.5)
    assert waiting  # it waits, and what it sent is what kernel and buffer hold
    assert sent < 16 << 20
    pouring.cancel()
    await asyncio.wait([pouring])
    await connection.close()
    accepted.close()
    server.close()


async def test_a_reader_that_does_not_read_holds_the_server_back(make: Make) -> None:
    path = await make("a")
    server = await listening(path)
    connection = await dial(path, 80)
    accepted, _ = await asyncio.get_running_loop().sock_accept(server)
    pouring = asyncio.get_running_loop().create_task(
        asyncio.get_running_loop().sock_sendall(accepted, b"y" * (64 << 20))
    )
    _, waiting = await asyncio.wait([pouring], timeout=0.5)
    assert waiting
    got = 0
    async with asyncio.timeout(30):
        while got < 64 << 20:
            got += len(await connection.read())
        await pouring
    await connection.close()
    accepted.close()
    server.close()


async def test_how_fast_it_is(make: Make, note: Callable[[str], None]) -> None:
    """A gibibyte each way, for the notes at the end of the run; judged by nobody."""
    path, size, figures = await make("a"), 1 << 30, []
    server = await listening(path)
    server.setblocking(True)

    def peer(sending: bool) -> None:
        accepted, _ = server.accept()
        buffer = bytearray(1 << 20)
        with accepted:
            if sending:
                for _ in range(size >> 20):
                    accepted.sendall(buffer)
            else:
                while accepted.recv_into(buffer):
                    pass

    for sending in (True, False):
        thread = threading.Thread(target=peer, args=(sending,))
        thread.start()
        connection = await dial(path, 80)
        begin = time.perf_counter()
        if sending:
            while await connection.read():
                pass
        else:
            piece = bytes(65536)
            for _ in range(size // len(piece)):
                await connection.write(piece)
            await connection.end()
            await connection.read()
        figures.append(size / (time.perf_counter() - begin) / 2**20)
        await connection.close()
        thread.join()
    server.close()
    note(f"port in a pod's namespace: {figures[0]:.0f} MiB/s read, {figures[1]:.0f} MiB/s written")
