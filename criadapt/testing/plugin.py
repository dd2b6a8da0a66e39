"""pytest's plugin: a CRI runtime for each test, pretended by the mock and real to whoever talks to it.

    def test_my_agent_sees_a_pod(cri_server, cri):
        with cri.run_pod(image="nginx", name="web"):
            assert my_agent(cri_server.endpoint).pods() == ["web"]

    @pytest.mark.criadapt(faults=[{"call": "start", "error": "Unavailable", "nth": 1}], options={"cpus": 64})
    def test_my_agent_tries_again(cri_server): ...

It is there wherever criadapt is installed; ``-p no:criadapt`` leaves it out.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # none of it for those whose tests need no runtime
    from criadapt.client import Client
    from criadapt.testing.server import RunningServer

MARKER = "criadapt(faults=[...], options={...}, config={...}): how the mock behind cri_server is set up"
ARGUMENTS = ("faults", "options", "config")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; add the asynchronous client as pytest-asyncio gives it."""
    config.addinivalue_line("markers", MARKER)
    if config.pluginmanager.hasplugin("asyncio"):
        from criadapt.testing import plugin_asyncio

        config.pluginmanager.register(plugin_asyncio, "criadapt-asyncio")
    else:
        config.pluginmanager.register(_WithoutAsyncio(), "criadapt-asyncio")


class _WithoutAsyncio:
    @pytest.fixture
    def acri(self) -> None:
        """Says what is missing."""
        pytest.fail("the fixture 'acri' needs pytest-asyncio: pip install pytest-asyncio", pytrace=False)


@pytest.fixture
def cri_server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """A runtime of the test's own, serving on ``cri_server.endpoint``.

    The marker ``criadapt`` sets it up: `faults` are rules as in ``[[faults]]`` of the configuration, as tables or as
    :class:`~criadapt.config.FaultRule`; `options` are the mock's, as in ``[backend.mock]``; `config` is anything else,
    by its key, ``{"images.pause": "me/pause:1"}``. Markers of the class and the module add to those of the test.
    """
    from criadapt.testing.server import running_server

    with running_server(*_settings(request.node)) as server:
        yield server


@pytest.fixture
def cri(cri_server: RunningServer) -> Iterator[Client]:
    """A blocking client of :func:`cri_server`."""
    import criadapt

    with criadapt.connect(cri_server.endpoint) as client:
        yield client


@pytest.fixture(scope="session")
def cri_server_session() -> Iterator[RunningServer]:
    """One runtime for all tests, which have to keep out of each other's way; half a second less for each of them."""
    from criadapt.testing.server import running_server

    with running_server() as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the server's log with a test that failed."""
    report = yield
    if report.failed:
        values: Mapping[str, object] = getattr(item, "funcargs", {})
        for name in ("cri_server", "cri_server_session"):
            if (server := values.get(name)) is not None:
                tail: str = getattr(server, "tail")()  # noqa: B009 - its class is not imported here
                report.sections.append((f"log of {name}", tail))
    return report


def _settings(node: pytest.Item) -> list[str]:
    """What the markers say, as options of ``criadapt serve``."""
    faults: list[object] = []
    settings: dict[str, object] = {}
    for marker in reversed(list(node.iter_markers("criadapt"))):  # the nearest comes last, and wins
        unknown = [name for name in marker.kwargs if name not in ARGUMENTS]
        if marker.args or unknown:
            given = repr(unknown[0]) if unknown else "an argument without a name"
            raise pytest.UsageError(f"marker criadapt of {node.nodeid}: {given}; it takes {', '.join(ARGUMENTS)}")
        faults += marker.kwargs.get("faults", ())
        settings.update({f"backend.mock.{key}": value for key, value in marker.kwargs.get("options", {}).items()})
        settings.update(marker.kwargs.get("config", {}))
    if faults:
        settings["faults"] = faults
    return [word for key, value in settings.items() for word in ("--set", f"{key}={_toml(value)}")]


def _toml(value: object) -> str:
    """A value as TOML has it."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(element)}" for key, element in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value if isinstance(value, (bool, int, float)) else str(value))
