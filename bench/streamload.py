"""The load's part that has connections of its own: exec and port-forward, through criadapt's blocking client."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import criadapt
from criadapt.client.sync.client import Client
from criadapt.client.sync.streams import Transport

Answer = dict[str, Any]
MIB = 1 << 20
PIECE = bytes(64 * 1024)
STALL_SECONDS = 1.0
STALL_STEP = 0.02


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used, to the nanosecond: Linux has a clock for every process."""
    return time.clock_gettime((~pid << 3) | 2)


def resident(pid: int) -> int:
    """Bytes of resident memory of a process."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


class StreamLoad:
    """What can be done over streaming connections; all figures are of the server."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}

    def serve_web(self, target: str) -> Answer:
        """A pod with a web server; tells the ids of both."""
        with self._client(target).run_pod(image="bench.example/nginx:1", keep=True) as pod:
            return {"sandbox": pod.id, "container": next(iter(pod.containers.values()))}

    def stdout(self, target: str, pid: int, container: str, transport: Transport, mib: int) -> Answer:
        """A command that writes so much."""
        with self._client(target).exec(
            container, ["head", "-c", str(mib * MIB), "/dev/zero"], stderr=False, transport=transport
        ) as process:
            assert process.stdout is not None
            began, used = time.perf_counter(), cpu_of(pid)
            read = sum(len(data) for data in process.stdout.chunks())
            return _carried(read, mib, began, cpu_of(pid) - used, process.wait())

    def stdin(self, target: str, pid: int, container: str, transport: Transport, mib: int) -> Answer:
        """A command that reads so much."""
        with self._client(target).exec(
            container, ["sh", "-c", "cat > /dev/null"], stdin=True, transport=transport
        ) as process:
            assert process.stdin is not None
            began, used = time.perf_counter(), cpu_of(pid)
            for _ in range(mib * MIB // len(PIECE)):
                process.stdin.write(PIECE)
            process.stdin.close()
            code = process.wait()
            return _carried(mib * MIB, mib, began, cpu_of(pid) - used, code)

    def bare_bytes(self, target: str, pid: int, direction: str, mib: int) -> Answer:
        """The same over a bare connection."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(target)
            port = int(asking.recv(16))
        with socket.create_connection(("127.0.0.1", port)) as carrying:
            carrying.sendall(direction[0].encode())
            began, used, left = time.perf_counter(), cpu_of(pid), mib * MIB
            buffer = bytearray(256 * 1024)
            while left > 0:
                if direction == "out":
                    left -= carrying.recv_into(buffer)
                else:
                    carrying.sendall(PIECE)
                    left -= len(PIECE)
            return _carried(mib * MIB, mib, began, cpu_of(pid) - used, 0)

    def sessions(self, target: str, container: str, transport: Transport, times: int) -> Answer:
        """How long until a command runs and can be talked to, and until a short one has ended."""
        client, connected, whole = self._client(target), list[float](), list[float]()
        for _ in range(times):
            began = time.perf_counter()
            with client.exec(container, ["true"], transport=transport) as process:
                connected.append(time.perf_counter() - began)
                process.wait()
                whole.append(time.perf_counter() - began)
        return {"connected": sorted(connected)[times // 2], "whole": sorted(whole)[times // 2]}

    def forwards(self, target: str, pod: str, port: int, connections: int) -> Answer:
        """So many connections into a pod that are open at the same time; each asks a web server for its page."""
        got: list[int] = []
        with self._client(target).port_forward(pod, port) as forward, ExitStack() as stack:
            local, all_open = forward.ports[port], threading.Barrier(connections)

            def fetch() -> None:
                with socket.create_connection(("127.0.0.1", local)) as connection:
                    all_open.wait(30)
                    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    answer = b""
                    while data := connection.recv(65536):
                        answer += data
                    got.append(answer.startswith(b"HTTP/1.1 200"))

            threads = [threading.Thread(target=fetch) for _ in range(connections)]
            began = time.perf_counter()
            for thread in threads:
                thread.start()
                stack.callback(thread.join)
        if sum(got) != connections:
            raise RuntimeError(f"{sum(got)} of {connections} connections got the page")
        return {"seconds": time.perf_counter() - began}

    def stalled_reader(self, target: str, pid: int, container: str, transport: Transport, mib: int) -> Answer:
        """How much memory the server needs while the client of a talkative command reads nothing."""
        with self._client(target).exec(
            container, ["head", "-c", str(mib * MIB), "/dev/zero"], stderr=False, transport=transport
        ) as process:
            assert process.stdout is not None
            before, most = resident(pid), 0
            read = len(process.stdout.read(1))
            end = time.perf_counter() + STALL_SECONDS
            while time.perf_counter() < end:
                most = max(most, resident(pid))
                time.sleep(STALL_STEP)
            read += sum(len(data) for data in process.stdout.chunks())
            if read != mib * MIB or process.wait():
                raise RuntimeError(f"{read} bytes came, not {mib * MIB}")
        return {"growth": max(0, most - before)}

    def stalled_command(self, target: str, pid: int, container: str, transport: Transport, mib: int) -> Answer:
        """How much memory the server needs while a command does not read its input for a while."""
        with self._client(target).exec(
            container, ["sh", "-c", f"sleep {STALL_SECONDS}; wc -c"], stdin=True, transport=transport
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            stdin = process.stdin

            def feed() -> None:
                for _ in range(mib * MIB // len(PIECE)):
                    stdin.write(PIECE)
                stdin.close()

            before, most = resident(pid), 0
            feeding = threading.Thread(target=feed)
            feeding.start()
            while feeding.is_alive():
                most = max(most, resident(pid))
                feeding.join(STALL_STEP)
            if int(process.stdout.read()) != mib * MIB or process.wait():
                raise RuntimeError("not all input came")
        return {"growth": max(0, most - before)}

    def _client(self, target: str) -> Client:
        if target not in self._clients:
            self._clients[target] = criadapt.connect(target)
        return self._clients[target]


def _carried(read: int, mib: int, began: float, used: float, code: int) -> Answer:
    if read != mib * MIB or code:
        raise RuntimeError(f"{read} bytes were carried, not {mib * MIB}, and the command ended with {code}")
    return {"rate": mib / (time.perf_counter() - began), "cpu": used * 1024 / mib}
