"""Real clients against a real server: `crictl` and `critest` are found or their tests skipped, with the reason."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import criadapt
from criadapt import Client
from criadapt.testing.server import RunningServer, running_server

from .cli import Cli
from .tools import build

RPC_TIMEOUT = "20s"  # crictl's own is 2 s, too short for a busy machine


class Crictl:
    """The crictl command on one server. It sees no configuration but ours."""

    def __init__(self, program: Path, endpoint: str, folder: Path) -> None:
        self._program = program
        self.config = folder / "crictl.yaml"
        self.config.write_text("")
        self.env = {**os.environ, "CRI_CONFIG_FILE": str(self.config), "CONTAINER_RUNTIME_ENDPOINT": endpoint}
        self._folder = folder

    def run(self, *args: str | Path, timeout: float = 40) -> subprocess.CompletedProcess[str]:
        """Run it to its end, successful or not."""
        return subprocess.run(self.command(args), env=self.env, capture_output=True, text=True, timeout=timeout)

    @contextmanager
    def running(self, *args: str | Path) -> Iterator[Path]:
        """Run it in the background for as long as the block lasts; yields the file that gets its output."""
        output = self._folder / "output.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(self.command(args), env=self.env, stdout=file)
        try:
            yield output
        finally:
            process.terminate()
            process.wait(10)

    def __call__(self, *args: str | Path) -> str:
        """What it prints; it must succeed."""
        done = self.run(*args)
        assert done.returncode == 0, f"crictl {' '.join(map(str, args))}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def json(self, command: str, *args: str | Path) -> Any:
        """The same as data, of a command that knows ``-o json``."""
        return json.loads(self(command, "-o", "json", *args))

    def error(self, *args: str | Path) -> str:
        """What it says on stderr; it must fail."""
        done = self.run(*args)
        assert done.returncode != 0, f"crictl {' '.join(map(str, args))} succeeded: {done.stdout}"
        return done.stderr

    def file(self, name: str, content: dict[str, Any]) -> Path:
        """A JSON file to pass to it."""
        path = self._folder / f"{name}.json"
        path.write_text(json.dumps(content))
        return path

    def command(self, args: tuple[str | Path, ...]) -> list[str]:
        """The words to run it with; `env` belongs to them."""
        return [str(self._program), "--timeout", RPC_TIMEOUT, *map(str, args)]


def program(name: str) -> Path:
    """The client, or else the test is skipped."""
    tool = build.find(name)
    if not tool.path:
        pytest.skip(str(tool))
    return tool.path


@pytest.fixture(scope="session")
def crictl_program() -> Path:
    return program("crictl")


@pytest.fixture(scope="session")
def critest_program() -> Path:
    return program("critest")


@pytest.fixture(scope="session")
def ginkgo_program() -> Path:
    return program("ginkgo")


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """The mock on a socket, one for the tests of a module."""
    with running_server() as server:
        yield server


@pytest.fixture
def crictl(crictl_program: Path, server: RunningServer, tmp_path: Path) -> Iterator[Crictl]:
    """crictl on the module's server; all pods are removed afterwards."""
    crictl = Crictl(crictl_program, server.endpoint, tmp_path)
    written = len(server.output())
    yield crictl
    print(server.output()[written:])  # pytest shows it when the test fails
    crictl("rmp", "--all", "--force")


@pytest.fixture
def cri(server: RunningServer) -> Iterator[Client]:
    """Our own client on the module's server; all pods are removed afterwards."""
    with criadapt.connect(server.endpoint) as cri:
        yield cri
        for pod in cri.list_pod_sandbox():
            cri.stop_pod_sandbox(pod.id)
            cri.remove_pod_sandbox(pod.id)


@pytest.fixture
def cli(server: RunningServer, cri: Client, tmp_path: Path) -> Cli:
    """Our own command on the module's server."""
    return Cli(server.endpoint, tmp_path)


@pytest.fixture
def app(cli: Cli, cri: Client) -> str:
    """The id of a container ``app`` in a pod ``web`` that sleeps."""
    cli("run", "-d", "--pod-name", "web", "busybox:1.36", "sleep", "100000")
    return cri.container("web/app").id
