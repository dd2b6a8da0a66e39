"""pytest's plugin, tried in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import pytest

pytest_plugins = ["pytester"]

SETTINGS = """
[pytest]
asyncio_default_fixture_loop_scope = function
filterwarnings = error
strict_markers = true
"""
HEAD = """
import pytest
import criadapt
from criadapt.config import FaultRule
from criadapt.model.sandbox import PodSandboxConfig, PodSandboxMetadata
"""


class Run(Protocol):
    """Runs tests that are given as text."""

    def __call__(self, text: str, *options: str, settings: str = SETTINGS) -> pytest.RunResult: ...


@pytest.fixture
def outcome(pytester: pytest.Pytester) -> Run:
    """A pytest with the plugin, in a folder of its own."""

    def run(text: str, *options: str, settings: str = SETTINGS) -> pytest.RunResult:
        pytester.makeini(settings)
        pytester.makepyfile(HEAD + text)
        found = entry_points(group="pytest11", name="criadapt")
        load = ["-p", "criadapt" if found else "criadapt.testing.plugin"]
        return pytester.runpytest_subprocess(*load, *options)

    return run


def test_a_test_gets_a_server_and_clients(outcome: Run) -> None:
    result = outcome(
        """
def test_blocking(cri_server, cri):
    with cri.run_pod(image="busybox", command=["echo", "hello"]) as pod:
        assert pod.wait() == {"app": 0}
        assert [line.text for line in cri.logs(pod.containers["app"])] == ["hello"]
    assert cri.endpoint == cri_server.endpoint

@pytest.mark.asyncio
async def test_asynchronous(acri, cri_server):
    assert (await acri.version()).runtime_name == "criadapt"
    assert acri.endpoint == cri_server.endpoint
"""
    )
    result.assert_outcomes(passed=2)


def test_each_test_has_a_server_of_its_own(outcome: Run) -> None:
    result = outcome(
        """
@pytest.mark.parametrize("number", [1, 2])
def test_alone(cri, number):
    assert cri.pods() == ()
    cri.run_pod_sandbox(PodSandboxConfig(metadata=PodSandboxMetadata(name="web", uid="1")))  # and left there

seen = []

@pytest.mark.parametrize("number", [1, 2])
def test_together(cri_server_session, number):
    seen.append(cri_server_session)
    assert seen[0] is cri_server_session
    with criadapt.connect(cri_server_session.endpoint) as cri:
        assert cri.runtime.runtime_name == "criadapt"
"""
    )
    result.assert_outcomes(passed=4)


def test_markers_set_the_server_up(outcome: Run) -> None:
    result = outcome(
        """
pytestmark = pytest.mark.criadapt(options={"preload": ["quay.io/me/tool:1"], "handlers": ["", "fast"]})

@pytest.mark.criadapt(
    faults=[{"call": "start", "error": "Unavailable", "message": 'no "start"', "match": {"id": "*"}, "nth": 1}],
    config={"streaming.max_pending": 7},
    options={"handlers": ["", "slow"]},
)
def test_all(cri):
    assert cri.image_status("quay.io/me/tool:1").image is not None
    assert "slow" in [handler.name for handler in cri.status().runtime_handlers]
    with pytest.raises(criadapt.errors.Unavailable, match='no "start"'), cri.run_pod(image="busybox"):
        pass

@pytest.mark.criadapt(faults=[FaultRule(call="pull", error="RegistryUnavailable")])
def test_rules(cri):
    with pytest.raises(criadapt.errors.RegistryUnavailable):
        cri.pull("quay.io/me/other:1")
"""
    )
    result.assert_outcomes(passed=2)


def test_a_failing_test_shows_the_end_of_the_server_s_log(outcome: Run) -> None:
    result = outcome("def test_it(cri):\n    cri.pods()\n    assert False\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*log of cri_server*", "*listening*"])


def test_what_is_wrong_with_a_marker_is_told(outcome: Run) -> None:
    result = outcome(
        """
@pytest.mark.criadapt(fault=[])
def test_argument(cri_server): pass

@pytest.mark.criadapt([])
def test_position(cri_server): pass

@pytest.mark.criadapt(options={"cpu": 1})
def test_option(cri_server): pass
"""
    )
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(
        [
            "*test_argument: 'fault'; it takes faults, options, config*",
            "*test_position: an argument without a name; it takes*",
            "*backend.mock.cpu: unknown key, did you mean 'cpus'?*",
        ]
    )


def test_without_pytest_asyncio_the_asynchronous_client_says_so(outcome: Run) -> None:
    result = outcome("def test_it(acri): pass\n", "-p", "no:asyncio", settings="[pytest]\nfilterwarnings = error\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*needs pytest-asyncio: pip install pytest-asyncio*"])


def test_those_who_need_no_runtime_pay_nothing() -> None:
    """Every pytest of the environment imports the plugin."""
    heavy = ("grpc", "google.protobuf", "msgspec", "criadapt.client", "criadapt.backends", "pytest_asyncio", "yaml")
    script = f"import sys, criadapt.testing.plugin; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout == "[]\n"


def test_the_contract_is_where_it_was() -> None:
    from criadapt import testing
    from criadapt.testing.contract import BackendContract

    assert testing.BackendContract is BackendContract
    with pytest.raises(AttributeError, match="no attribute 'Contract'"):
        testing.Contract  # type: ignore[attr-defined]  # noqa: B018


def test_pytest_finds_the_plugin() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '[project.entry-points.pytest11]\ncriadapt = "criadapt.testing.plugin"\n' in text
