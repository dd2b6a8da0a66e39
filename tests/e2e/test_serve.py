"""The life of the process: how it starts, what it refuses, how it ends."""

import re
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from criadapt.testing.server import ServerFailed, running_server


@pytest.fixture
def folder() -> Iterator[Path]:
    """Shorter than tmp_path: a socket's path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="criadapt-") as name:
        yield Path(name)


def test_it_says_how_to_reach_it_and_leaves_nothing():
    with running_server() as server:
        assert re.match(r"criadapt \S+ serves mock on unix:///", ready_line(server.output()))
        assert f"crictl --runtime-endpoint {server.endpoint} version" in server.output()
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o660
        server.stop()
        assert not server.socket.exists()
        assert "Traceback" not in server.output()


def ready_line(output: str) -> str:
    return next(line for line in output.splitlines() if line.startswith("criadapt "))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_exits_with_0_on(number: signal.Signals):
    with running_server() as server:
        server.process.send_signal(number)
        assert server.process.wait(20) == 0


def test_a_second_server_on_the_state_directory_is_refused():
    with running_server() as first:
        with pytest.raises(ServerFailed) as failure, running_server(state_dir=first.state_dir):
            pass
        assert "ended with 1 " in str(failure.value)
        assert f"{first.state_dir} is in use by another criadapt (pid {first.process.pid})" in str(failure.value)
        assert "Traceback" not in str(failure.value)


def test_a_second_server_on_the_socket_is_refused():
    with running_server() as first:
        with pytest.raises(ServerFailed) as failure, running_server(socket=first.socket):
            pass
        assert f"another server listens on {first.socket}" in str(failure.value)
        assert "choose another --listen" in str(failure.value)
        assert first.socket.exists()


def test_a_stale_socket_is_replaced(folder: Path):
    path = folder / "stale.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with running_server(socket=path) as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        assert "replacing a stale socket" in server.output()


def test_a_file_in_the_way_is_left_alone(folder: Path):
    path = folder / "precious"
    path.write_text("data")

    with pytest.raises(ServerFailed, match="exists and is not a socket"), running_server(socket=path):
        pass
    assert path.read_text() == "data"


def test_the_socket_of_a_killed_server_is_taken_over(folder: Path):
    path = folder / "criadapt.sock"
    with running_server(socket=path, state_dir=folder / "state") as first:
        first.kill()
    assert path.exists()
    with running_server(socket=path, state_dir=folder / "state"):
        pass
    assert not path.exists()


def test_an_unknown_backend_is_named():
    with pytest.raises(ServerFailed, match="ended with 2 ") as failure, running_server(backend="mok"):
        pass
    assert "backend 'mok' is not installed, did you mean 'mock'" in str(failure.value)
