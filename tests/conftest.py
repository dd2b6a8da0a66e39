"""What a test run says about itself: which engines and clients it found, and what the tests noted down."""

import signal
from collections.abc import Callable, Iterator
from importlib.metadata import version

import pytest

from criadapt.backends import available

from .e2e.tools import build
from .engines import containerd, docker, registry

NOTES = pytest.StashKey[list[str]]()
REAL_ENGINES = ("docker", "containerd")


def pytest_configure() -> None:
    """A client that somebody asked for and that is not there is an error, not a skipped test."""
    # A shell's background job ignores Ctrl-C and would pass that on to the programs that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in build.RECIPES:
        try:
            build.find(name)
        except FileNotFoundError as error:
            raise pytest.UsageError(str(error)) from error


def pytest_report_header() -> list[str]:
    """The versions that matter, and what is there to be tested or to test with."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("criadapt", "grpcio", "protobuf"))
    found = list(available())
    missing = [f"no {name} (criadapt has no such backend yet)" for name in REAL_ENGINES if name not in found]
    return [
        packages,
        f"engines: {', '.join([*found, *missing])}",
        f"Docker Engine: {docker.missing() or 'will be started'}",
        f"registry: {registry.missing() or 'will be started'}",
        f"other runtimes: containerd's own CRI ({containerd.missing() or 'will be started'})",
        *(f"client: {build.find(name)}" for name in build.RECIPES),
    ]


@pytest.fixture(scope="session")
def note(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Write a line that appears at the end of the run, whatever its outcome."""
    return pytestconfig.stash.setdefault(NOTES, []).append


@pytest.fixture(scope="session")
def dockerd() -> Iterator[str]:
    """Path of the socket of a Docker Engine of our own, with a busybox image. What tests leave in it is an error."""
    if lack := docker.missing():
        pytest.skip(f"no Docker Engine: {lack} (make engines)")
    with docker.running() as engine:
        yield engine.socket


@pytest.fixture(scope="session")
def images_registry() -> Iterator[registry.Registry]:
    """A registry with the busybox image."""
    if lack := registry.missing():
        pytest.skip(f"no registry: {lack} (make engines)")
    with registry.running() as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the notes."""
    if notes := config.stash.get(NOTES, []):
        terminalreporter.section("notes")
        for line in notes:
            terminalreporter.line(line)
