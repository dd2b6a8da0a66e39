"""The criadapt command as people and scripts use it: a process of its own, on a pipe or on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

SECONDS = 40
"""Within which anything has to happen."""


class Cli:
    """The command on one runtime. It sees no configuration but ours."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CRI", "CONTAINER_RUNTIME"))}
        self.env = {**kept, "CRIADAPT_ENDPOINT": endpoint, "HOME": str(folder), "TERM": "xterm", "TMPDIR": str(folder)}
        self.folder = folder

    def run(self, *args: str | Path, input: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end, successful or not."""
        return subprocess.run(
            self.command(args), input=input, env={**self.env, **env}, capture_output=True, timeout=SECONDS
        )

    def __call__(self, *args: str | Path, input: bytes = b"") -> str:
        """What it prints; it must succeed and say nothing else."""
        done = self.run(*args, input=input)
        assert (done.returncode, done.stderr) == (0, b""), f"{args}: {done.returncode} {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def json(self, *args: str | Path) -> Any:
        """The same as data."""
        return json.loads(self(*args, "-o", "json"))

    def error(self, *args: str | Path, code: int = 1) -> str:
        """What it says on stderr, in one line; it must fail so."""
        done = self.run(*args)
        assert (done.returncode, done.stdout) == (code, b""), f"{args}: {done.returncode} {done.stdout.decode()}"
        said = done.stderr.decode()
        assert "Traceback" not in said
        return said

    @contextmanager
    def running(self, *args: str | Path) -> Iterator[Running]:
        """Run it for as long as the block lasts."""
        with subprocess.Popen(
            self.command(args),
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # what is read ahead would not be waited for
        ) as process:
            try:
                yield Running(process)
            finally:
                process.kill()

    @contextmanager
    def on_terminal(self, *args: str | Path, width: int = 100, height: int = 30) -> Iterator[Terminal]:
        """Run it on a terminal of that size."""
        master, slave = os.openpty()
        with suppress(OSError), os.fdopen(master, "r+b", buffering=0):
            terminal = Terminal(master, slave)
            terminal.resize(width, height)
            terminal.process = subprocess.Popen(
                self.command(args),
                env=self.env,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
            try:
                yield terminal
            finally:
                terminal.process.kill()
                terminal.process.wait()
                os.close(slave)

    def command(self, args: Sequence[str | Path]) -> list[str]:
        return [sys.executable, "-m", "criadapt", *map(str, args)]


class Running:
    """One that runs, with what it has printed so far."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def line(self, *, of: Literal["stdout", "stderr"] = "stdout") -> str:
        """The next line that it prints."""
        pipe: IO[bytes] = getattr(self.process, of)
        ready, _, _ = select.select([pipe], [], [], SECONDS)
        assert ready, "it printed nothing more"
        return pipe.readline().decode().rstrip("\n")

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
        """Ctrl-C; its exit code, and what it wrote to its end."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, str, str]:
        """Exit code, and what it wrote to its end."""
        stdout, stderr = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, stdout.decode(), stderr.decode()


class Terminal:
    """A terminal with one process on it."""

    process: subprocess.Popen[bytes]

    def __init__(self, master: int, slave: int) -> None:
        self._master = master
        self._slave = slave
        self.screen = ""
        """All that was shown."""

    def settings(self) -> list[Any]:
        """How it treats keys."""
        return termios.tcgetattr(self._slave)

    def resize(self, width: int, height: int) -> None:
        """Make its window that large; whoever runs on it gets a signal."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def see(self, text: str) -> str:
        """Wait until it shows a text behind what was seen before; returns all up to there."""
        end = time.monotonic() + SECONDS
        while text not in self.screen:
            ready, _, _ = select.select([self._master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{text!r} is not in {self.screen!r}"
            self.screen += os.read(self._master, 65536).decode(errors="replace")
        seen, found, self.screen = self.screen.partition(text)
        return seen + found

    def end(self) -> int:
        """The exit code; what is shown to the end goes to the screen."""
        end = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it goes on; the screen ends with {self.screen[-500:]!r}"
            self._show(0.01)
        while self._show(0.0):
            pass
        return self.process.returncode

    def _show(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], seconds)
        if ready:
            self.screen += os.read(self._master, 65536).decode(errors="replace")
        return bool(ready)
