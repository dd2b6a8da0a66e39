"""A real server in a process of its own, for tests of whatever talks CRI.

    with running_server() as server:
        subprocess.run(["crictl", "--runtime-endpoint", server.endpoint, "version"], check=True)

Nothing is left behind: not the process, and not the files either, unless a state directory is passed. With one, a
test may kill the server and start another, which finds the containers of the first.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.01
_TAIL_LINES = 40


class ServerFailed(AssertionError):
    """The server did not start, or did not end as it should; the message ends with the last lines of its log."""


class RunningServer:
    """``criadapt serve`` with its socket and its files. Made by :func:`running_server`."""

    def __init__(
        self, command: Sequence[str], socket: Path, state_dir: Path, log: Path, env: Mapping[str, str]
    ) -> None:
        self.socket = socket
        self.endpoint = f"unix://{socket}"
        """What clients connect to."""
        self.state_dir = state_dir
        self.log = log
        """What it writes to stdout and stderr."""
        self._command = shlex.join(command)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **env}
            )

    def output(self) -> str:
        """All that it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def tail(self) -> str:
        """The last lines of that."""
        return "\n".join(self.output().splitlines()[-_TAIL_LINES:]) or "(nothing)"

    def wait_ready(self, timeout: float) -> None:
        """Wait for the line that says it serves; raises ServerFailed if there is none after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while f" on {self.endpoint}\n" not in self.output():
            if self.process.poll() is not None:
                raise self._failed(f"ended with {self.process.returncode} instead of serving")
            if time.monotonic() > deadline:
                self.kill()
                raise self._failed(f"was not ready after {timeout:g} s")
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End it as a crash would, with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout: float = 30) -> None:
        """End it with SIGTERM; raises ServerFailed unless it then exits with 0. Harmless when it has ended."""
        if self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._failed(f"did not end within {timeout:g} s of SIGTERM") from None
        if code:
            raise self._failed(f"ended with {code} after SIGTERM")

    def _failed(self, what: str) -> ServerFailed:
        return ServerFailed(f"`{self._command}` {what}; it wrote:\n{self.tail()}")


@contextmanager
def running_server(
    *options: str,
    backend: str = "mock",
    state_dir: Path | None = None,
    socket: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 30,
) -> Iterator[RunningServer]:
    """Serve `backend` for as long as the block lasts, with more `options` of ``criadapt serve`` and variables `env`.

    It must be ready within `timeout` seconds and end with exit code 0, unless the test has killed it. `state_dir` and
    `socket` are temporary unless passed.
    """
    # Not in a test's own folder, whose path may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="criadapt-") as name:
        folder = Path(name)
        state = state_dir or folder / "state"
        socket = socket or folder / "criadapt.sock"
        command = [sys.executable, "-m", "criadapt", "serve", "--backend", backend]
        command += ["--listen", f"unix://{socket}", "--state-dir", str(state), *options]
        server = RunningServer(command, socket, state, folder / "server.log", env or {})
        try:
            server.wait_ready(timeout)
            yield server
        except BaseException:
            server.kill()
            raise
        server.stop()
