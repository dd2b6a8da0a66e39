"""What a type checker makes of programs that use the client: right ones pass, mistakes are found where they are."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
FOUND = re.compile(r"^(?P<file>[^:]+\.py):(?P<line>\d+): error: .*\[(?P<code>[\w-]+)\]$")
WANTED = re.compile(r"# error: ([\w-]+)$")

pytestmark = pytest.mark.timeout(300)  # the checker reads gRPC's and protobuf's stubs first


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[int, str]]]:
    """Line and kind of each error that mypy --strict finds, by program."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("no mypy here: it is among the development tools (make venv)")
    cache = tmp_path_factory.mktemp("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", "--no-pretty"]
    # Not where the project's own settings are, nor its modules beside the programs: as somebody else's project.
    done = subprocess.run(
        [*command, f"--cache-dir={cache}", *sorted(path.name for path in PROGRAMS.glob("*.py"))],
        cwd=PROGRAMS,
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, list[tuple[int, str]]] = {}
    for line in done.stdout.splitlines():
        if match := FOUND.match(line):
            found.setdefault(match["file"], []).append((int(match["line"]), match["code"]))
        else:
            assert " note: " in line, f"{line}\n{done.stderr}"
    assert found, done.stdout + done.stderr
    return found


@pytest.mark.parametrize("program", ["blocking.py", "asynchronous.py"])
def test_a_right_program_passes(errors: dict[str, list[tuple[int, str]]], program: str) -> None:
    assert errors.get(program, []) == []


def test_every_mistake_is_found_and_nothing_else(errors: dict[str, list[tuple[int, str]]]) -> None:
    lines = (PROGRAMS / "mistaken.py").read_text(encoding="utf-8").splitlines()
    wanted = [(number, match[1]) for number, line in enumerate(lines, 1) if (match := WANTED.search(line))]
    assert sorted(set(errors["mistaken.py"])) == wanted


def test_errors_are_in_the_programs_only(errors: dict[str, list[tuple[int, str]]]) -> None:
    assert set(errors) == {"mistaken.py"}
