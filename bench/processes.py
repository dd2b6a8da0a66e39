"""The processes of a benchmark: servers on unix sockets, and the load beside them on another core."""

from __future__ import annotations

import base64
import itertools
import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).resolve().parent
START_SECONDS = 30.0

_CORES = sorted(os.sched_getaffinity(0))
PINNED = len(_CORES) > 1
SERVER_CORE, CLIENT_CORE = (_CORES[0], _CORES[1]) if PINNED else (_CORES[0], _CORES[0])


class BenchError(Exception):
    """Nothing can be measured; the message is for the person at the terminal."""


def environment() -> dict[str, str]:
    """The environment without settings of criadapt, and with its package where the bench is run from a checkout."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("CRIADAPT")}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE.parent), env.get("PYTHONPATH", ""))))
    return env


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes started inside run on that core only."""
    if PINNED:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, _CORES)


class Server:
    """A server process that is answering."""

    def __init__(self, command: Sequence[str | Path], path: Path, log: Path) -> None:
        self.target = str(path)
        self._log = log
        began = time.perf_counter()
        with log.open("ab") as out, on_core(SERVER_CORE):
            self._process = subprocess.Popen(
                [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment()
            )
        self.pid = self._process.pid
        self._wait_until_listening(path)
        self.started_in = time.perf_counter() - began

    def _wait_until_listening(self, path: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(path))
                    return
                except OSError:
                    pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])
                raise BenchError(f"{path.name} does not answer; its last words:\n{tail}")
            time.sleep(0.002)

    def resident(self) -> int:
        """Bytes of resident memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise BenchError(f"process {self.pid} has no memory")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it; how it ends is no matter here."""
        self._process.kill()
        self._process.wait()


_numbers = itertools.count(1)


def criadapt(folder: Path, backend: str) -> Server:
    """A criadapt with default settings, its state in `folder`."""
    name = f"criadapt-{next(_numbers)}"
    path, settings = folder / f"{name}.sock", folder / "empty.toml"
    settings.touch()
    command = ("-m", "criadapt", "serve", "--backend", backend, "--config", settings, "--listen", f"unix://{path}")
    return Server((*command, "--state-dir", folder / f"{name}-state"), path, folder / f"{name}.log")


def bare(folder: Path, answers: Mapping[str, bytes]) -> Server:
    """A server that gives these answers and does nothing else."""
    name = f"bare-{next(_numbers)}"
    path, constants = folder / f"{name}.sock", folder / f"{name}.pickle"
    constants.write_bytes(pickle.dumps(dict(answers)))
    return Server((HERE / "bare.py", path, constants), path, folder / f"{name}.log")


def pipe(folder: Path) -> Server:
    """A server that carries bytes and does nothing else."""
    name = f"pipe-{next(_numbers)}"
    path = folder / f"{name}.sock"
    return Server((HERE / "pipe.py", path), path, folder / f"{name}.log")


class Client:
    """The load generator's process."""

    def __init__(self, folder: Path) -> None:
        self._errors = (folder / "load.log").open("ab")
        with on_core(CLIENT_CORE):
            self._process = subprocess.Popen(
                [sys.executable, HERE / "load.py"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env=environment(),
            )

    def do(self, what: str, **order: Any) -> dict[str, Any]:
        """Have it do one thing and wait for the figures."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **order}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"the load generator ended during {what!r}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BenchError(f"{what}: {answer['error']}")
        return answer

    def capture(self, server: Server, method: str, request: bytes = b"") -> bytes:
        """The bytes of one answer."""
        order = {"target": server.target, "method": method, "request": base64.b64encode(request).decode()}
        return base64.b64decode(self.do("capture", **order)["answer"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def seconds_of(*command: str | Path) -> float:
    """Wall time of a Python process from start to end, on the servers' core."""
    with on_core(SERVER_CORE):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *command], stdin=subprocess.DEVNULL, capture_output=True, env=environment(), check=False
        )
        took = time.perf_counter() - began
    if done.returncode:
        raise BenchError(f"{command} failed: {done.stderr.decode(errors='replace').strip()}")
    return took
