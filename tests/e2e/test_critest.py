"""Kubernetes' own conformance tests of a runtime, run on the mock.

Every spec passes, is skipped by critest itself for what this host lacks, or stands in critest_excluded.toml with the
reason why it cannot pass.
"""

import faulthandler
import json
import os
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from criadapt.testing import loopback
from criadapt.testing.server import RunningServer, running_server

EXCLUDED = Path(__file__).with_name("critest_excluded.toml")
SECONDS = 600
CAP_SYS_ADMIN = 21


@dataclass(frozen=True)
class Spec:
    """What critest reports about one of its tests."""

    name: str
    state: str
    message: str
    place: str


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    options = {"reachable": "true", "subnet": loopback.subnet()}
    with running_server(*(f"--set=backend.mock.{name}={value}" for name, value in options.items())) as server:
        yield server


@pytest.mark.timeout(SECONDS + 60)
def test_critest_passes(critest_program: Path, server: RunningServer, tmp_path: Path, note: Callable[[str], None]):
    specs = run(critest_program, server, tmp_path, ["-ginkgo.seed=1"])
    stale = [name for name in required_exclusions() if not any(spec.name.startswith(name) for spec in specs)]
    assert not stale, "critest has no such specs, remove them from critest_excluded.toml"
    note(f"critest, one spec after the other: {summary(specs)}")
    demand_success(specs)


@pytest.mark.timeout(SECONDS + 60)
def test_critest_passes_in_parallel(
    critest_program: Path, ginkgo_program: Path, server: RunningServer, tmp_path: Path, note: Callable[[str], None]
):
    specs = run(critest_program, server, tmp_path, ["-parallel=4"], str(ginkgo_program.parent))
    note(f"critest, four specs at a time: {summary(specs)}")
    demand_success(specs)


@pytest.mark.timeout(SECONDS + 60)
def test_critest_passes_over_websocket(critest_program: Path, server: RunningServer, tmp_path: Path):
    options = [f"-websocket-{what}" for what in ("exec", "attach", "portforward")]
    specs = run(critest_program, server, tmp_path, ["-ginkgo.focus=Streaming", *options])
    demand_success(specs)
    passed = [spec.name for spec in specs if spec.state == "passed" and "Streaming" in spec.name]
    assert len(passed) == 5 - sum("Streaming" in name for name in excluded())


def groups() -> list[dict[str, Any]]:
    """What is excluded on this host."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    privileged = bool(int(status["CapEff"], 16) >> CAP_SYS_ADMIN & 1)
    met = {"unless_privileged": privileged, "unless_port_80": loopback.can_listen(80)}
    found = tomllib.loads(EXCLUDED.read_text())["excluded"]
    return [group for group in found if not any(group.get(name) and fits for name, fits in met.items())]


def excluded() -> list[str]:
    return [name for group in groups() for name in group["specs"]]


def required_exclusions() -> list[str]:
    return [name for group in groups() if not group.get("only_some_hosts") for name in group["specs"]]


def run(program: Path, server: RunningServer, folder: Path, options: list[str], path: str = "") -> list[Spec]:
    """Run critest to its end, without the excluded specs."""
    # pytest would print where all threads are after 50 s, which is no news here.
    faulthandler.cancel_dump_traceback_later()
    report, output = folder / "report.json", folder / "output.txt"
    command = [str(program), "-ginkgo.no-color", f"-ginkgo.json-report={report}"]
    command += [f"-runtime-endpoint={server.endpoint}", f"-image-endpoint={server.endpoint}", *options]
    command += [f"-ginkgo.skip={quoted(name)}" for name in excluded()]
    env = {**os.environ, "TMPDIR": str(folder), "PATH": f"{path}{os.pathsep}{os.environ['PATH']}".strip(os.pathsep)}
    with output.open("wb") as file, leaving_nothing(folder):
        done = subprocess.run(command, cwd=folder, env=env, stdout=file, stderr=subprocess.STDOUT, timeout=SECONDS)
    assert report.exists(), f"critest ended with {done.returncode} and no report:\n{output.read_text()[-4000:]}"
    specs = list(read(json.loads(report.read_text())))
    if done.returncode and not any(spec.state not in ("passed", "skipped") for spec in specs):
        pytest.fail(f"critest ended with {done.returncode}:\n{output.read_text()[-4000:]}")
    return specs


@contextmanager
def leaving_nothing(folder: Path) -> Iterator[None]:
    """Remove what critest itself forgets: shared memory of two specs, and the mounts of specs that fail."""
    before = shared_memory()
    try:
        yield
    finally:
        for segment in shared_memory() - before:
            subprocess.run(["ipcrm", "--shmem-id", segment], check=False)
        points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for point in sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", point], check=False)


def shared_memory() -> set[str]:
    """Ids of the segments that look like critest's: of a MiB, ours, and in nobody's use."""
    _, *rows = (line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines())
    return {row[1] for row in rows if (row[3], row[6], row[7]) == (str(1 << 20), "0", str(os.geteuid()))}


def read(report: list[dict[str, Any]]) -> Iterable[Spec]:
    for suite in report:
        for entry in suite["SpecReports"] or []:
            failure = entry.get("Failure") or {}
            location = failure.get("Location") or {}
            words = [*(entry["ContainerHierarchyTexts"] or []), entry["LeafNodeText"]]
            name = " ".join(words) if entry["LeafNodeType"] == "It" else entry["LeafNodeType"]
            place = f"{Path(location.get('FileName', '')).name}:{location.get('LineNumber', '')}"
            yield Spec(name, entry["State"], failure.get("Message", ""), place)


def summary(specs: list[Spec]) -> str:
    """Counts, and critest's own reasons for what it left out."""
    specs = [spec for spec in specs if spec.name.startswith("[k8s.io]")]
    left_out = [spec for spec in specs if spec.name.startswith(tuple(excluded()))]
    benchmarks = [spec for spec in specs if "benchmark" in spec.name]
    skipped = [spec for spec in specs if spec.state == "skipped" and spec not in left_out and spec not in benchmarks]
    states = Counter(spec.state for spec in specs)
    states["skipped"] = len(skipped)
    reasons = Counter(spec.message for spec in skipped)
    why = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{counts}{f' ({why})' if why else ''}, {len(left_out)} excluded, {len(benchmarks)} benchmarks not run"


def demand_success(specs: list[Spec]) -> None:
    failed = [spec for spec in specs if spec.state not in ("passed", "skipped")]
    text = "\n\n".join(f"{spec.name}\n  {spec.state} at {spec.place}: {beginning(spec.message)}" for spec in failed)
    assert not failed, f"{len(failed)} specs of critest failed:\n\n{text}"


def beginning(message: str) -> str:
    """Without the inside of Go's error values, which Gomega prints at length."""
    return "\n  ".join(message.splitlines()[:12])


def quoted(text: str) -> str:
    """As a regular expression of Go, which knows no ``\\ ``."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)
