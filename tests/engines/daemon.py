"""Programs that a test starts and ends."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

SECONDS = 30.0


class Daemon:
    """A program in the background that writes to a log file; in a session of its own, so that Ctrl-C passes it by."""

    def __init__(self, command: Sequence[str | Path], log: Path, serves: Callable[[], bool]) -> None:
        self._command = command
        self._log = log
        self._serves = serves
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; returns once it serves."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + SECONDS
        while not self._serves():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop(signal.SIGKILL)
                raise AssertionError(f"{self._command[0]} does not serve; it wrote:\n{self.log()[-4000:]}")
            time.sleep(0.02)

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it; nothing to do when it has ended."""
        if self._process is not None:
            self._process.send_signal(by)
            try:
                self._process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(SECONDS)
                raise

    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(errors="replace")


def accepts(address: Path | tuple[str, int]) -> bool:
    """Whether somebody listens on a unix socket, or on a TCP port."""
    family, to = (socket.AF_UNIX, str(address)) if isinstance(address, Path) else (socket.AF_INET, address)
    with socket.socket(family) as probe:
        return probe.connect_ex(to) == 0


def lives(pid: int) -> bool:
    """Whether a process has not ended, which one that nobody has reaped yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
