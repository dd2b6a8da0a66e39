"""crictl's exec, attach and port-forward, over both of its transports."""

import hashlib
import os
import pty
import re
import select
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from .conftest import Crictl

T = TypeVar("T")

TRANSPORTS = ("spdy", "websocket")
BUSYBOX, NGINX = "busybox:latest", "nginx:latest"
SECONDS = 30.0
GIB = 1 << 30
PIECE = bytes(range(256)) * 4096


@pytest.fixture
def pod(crictl: Crictl, tmp_path: Path) -> str:
    crictl("pull", BUSYBOX)
    crictl("pull", NGINX)
    config = {"metadata": {"name": "web", "namespace": "default", "uid": "u1"}, "linux": {}}
    return crictl("runp", crictl.file("pod", {**config, "log_directory": str(tmp_path)}))


@pytest.fixture
def start(crictl: Crictl, pod: str, tmp_path: Path):
    def start(name: str, *command: str, image: str = BUSYBOX, **fields: bool) -> str:
        config = {"metadata": {"name": name}, "image": {"image": image}, "command": command, "linux": {}, **fields}
        id = crictl("create", pod, crictl.file(name, config), tmp_path / "pod.json")
        crictl("start", id)
        return id

    return start


@pytest.fixture
def app(start) -> str:
    return str(start("app", "sleep", "100000"))


class Terminal:
    """A program on a terminal, with a person before it."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execvpe(command[0], command, env)
        self.seen = b""

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def expect(self, pattern: bytes) -> re.Match[bytes]:
        """Wait for something on the screen."""
        end = time.monotonic() + SECONDS
        while True:
            if found := re.search(pattern, self.seen):
                return found
            ready, _, _ = select.select([self._fd], [], [], max(0.0, end - time.monotonic()))
            data = b""
            with suppress(OSError):
                data = os.read(self._fd, 65536) if ready else b""
            assert data, f"{pattern!r} is not in {self.seen!r}"
            self.seen += data

    def end(self) -> int:
        """Wait for its end; its exit code."""
        with suppress(OSError):
            while data := os.read(self._fd, 65536):
                self.seen += data
        _, status = os.waitpid(self._pid, 0)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status)


def wait_for(condition: Callable[[], T]) -> T:
    """Ask until the answer is true, or for too long."""
    end = time.monotonic() + SECONDS
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return answer


@contextmanager
def process(crictl: Crictl, *args: str, stdin: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(
        crictl.command(args), env=crictl.env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_exec(crictl: Crictl, app: str, transport: str) -> None:
    assert crictl("exec", "-r", transport, app, "echo", "hello") == "hello"
    done = crictl.run("exec", "-r", transport, app, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert done.returncode == 1  # crictl's own, whatever the command's
    assert done.stdout == "out\n"
    assert done.stderr.startswith("err\n")
    assert "exit code 7" in done.stderr
    assert "no-such-program" in crictl.error("exec", "-r", transport, app, "no-such-program")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_exec_with_a_terminal(crictl: Crictl, app: str, transport: str) -> None:
    terminal = Terminal(crictl.command(("exec", "-it", "-r", transport, app, "sh")), crictl.env)
    terminal.expect(rb"/ # ")
    terminal.type(b"echo $((6*7)); tty\r")
    terminal.expect(rb"42\r\n/dev/pts/\d+\r\n/ # ")
    terminal.type(b"sleep 4321\r")
    assert wait_for(lambda: crictl.run("exec", "-s", app, "pgrep", "-f", "sleep 4321").stdout.strip())
    terminal.type(b"\x03")
    terminal.expect(rb"\^C\r\n/ # ")
    assert crictl.run("exec", "-s", app, "pgrep", "-f", "sleep 4321").stdout.strip() == ""
    terminal.type(b"exit 0\r")
    assert terminal.end() == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.timeout(180)
def test_a_gibibyte_comes_through_both_ways(crictl: Crictl, app: str, transport: str) -> None:
    zeros = hashlib.md5()
    with process(crictl, "exec", "-r", transport, app, "head", "-c", str(GIB), "/dev/zero") as running:
        assert running.stdout is not None
        size = 0
        while data := running.stdout.read(1 << 20):
            zeros.update(data)
            size += len(data)
        assert running.wait() == 0
    assert (size, zeros.hexdigest()) == (GIB, hashlib.md5(bytes(GIB)).hexdigest())
    sent = hashlib.md5()
    with process(crictl, "exec", "-i", "-r", transport, app, "md5sum", stdin=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for _ in range(GIB // len(PIECE)):
            running.stdin.write(PIECE)
            sent.update(PIECE)
        running.stdin.close()
        assert running.stdout.read().split()[0].decode() == sent.hexdigest()
        assert running.wait() == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_attach(crictl: Crictl, start, transport: str) -> None:
    shell = start("shell", "sh", stdin=True, stdin_once=True)
    with process(crictl, "attach", "-i", "-r", transport, shell, stdin=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"echo attached\n")
        running.stdin.flush()
        assert running.stdout.readline() == b"attached\n"
        running.stdin.close()  # ends the container's stdin, and so the shell
        assert running.wait(SECONDS) == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_port_forward(crictl: Crictl, start, pod: str, transport: str) -> None:
    start("nginx", "nginx", "-g", "daemon off;", image=NGINX)
    with process(crictl, "port-forward", "-r", transport, pod, ":80") as running:
        assert running.stdout is not None
        port = int(re.search(rb"127.0.0.1:(\d+) -> 80", running.stdout.readline())[1])
        for _ in range(20):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=SECONDS) as page:
                assert page.status == 200
        running.send_signal(signal.SIGINT)
        running.wait(SECONDS)
