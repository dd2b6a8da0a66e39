from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from criadapt import backends
from criadapt.errors import FailedPrecondition, InvalidArgument

Install = Callable[..., None]

WHOLE = """
from dataclasses import dataclass
from criadapt.backends.base import Backend

@dataclass(frozen=True)
class Options:
    pass

class Whole(Backend):
    '''An engine of the tests.'''
    name = "{name}"
    Options = Options

Whole.__abstractmethods__ = frozenset()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a distribution with one backend; `source` becomes its module."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = 0

    def install(name: str, source: str = "", *, value: str = "", dist: str = "plugin") -> None:
        nonlocal made
        made += 1
        module = f"criadapt_test_{tmp_path.name}_{made}".replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{dist}-1.{made}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.{made}\n")
        target = (value or "{module}:Whole").format(module=module)
        (info / "entry_points.txt").write_text(f"[criadapt.backends]\n{name} = {target}\n")

    return install


def trouble(name: str) -> str:
    with pytest.raises(FailedPrecondition) as error:
        backends.load(name)
    return str(error.value)


def test_a_backend_is_found_by_its_entry_point(install: Install) -> None:
    install("fake", WHOLE.format(name="fake"))
    assert backends.available()["fake"].distribution == "plugin 1.1"
    assert backends.load("fake").name == "fake"


def test_only_the_named_one_is_imported(install: Install) -> None:
    install("broken", "raise SystemExit", dist="other")
    install("fake", WHOLE.format(name="fake"))
    assert backends.load("fake").__doc__ == "An engine of the tests."


def test_an_unknown_name_is_refused_with_the_near_one(install: Install) -> None:
    install("fake", WHOLE.format(name="fake"))
    with pytest.raises(
        InvalidArgument, match=r"backend 'fakee' is not installed, did you mean 'fake'\? installed: .*fake"
    ):
        backends.load("fakee")


def test_with_nothing_installed_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(InvalidArgument, match="none is, so criadapt itself is not properly installed"):
        backends.load("mock")


def test_a_missing_library_is_told_with_what_to_install(install: Install) -> None:
    install("fake", "import no_such_library_anywhere")
    assert trouble("fake") == (
        "backend 'fake' of plugin 1.1 cannot be imported: No module named 'no_such_library_anywhere'; "
        "try: pip install --upgrade plugin"
    )


def test_a_missing_library_of_an_extra_names_the_extra(install: Install) -> None:
    install("fake", "import no_such_library_anywhere", value="{module}:Whole [fast]")
    assert trouble("fake").endswith("try: pip install 'plugin[fast]'")


def test_an_entry_point_to_nowhere_is_told(install: Install) -> None:
    install("fake", "")
    assert "backend 'fake' of plugin 1.1 is broken: there is no criadapt_test_" in trouble("fake")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("Whole = dict", "is not a subclass of criadapt.backends.base.Backend"),
        ("Whole = 7", "is not a subclass of criadapt.backends.base.Backend"),
        (WHOLE.format(name="other"), "name must be 'fake', the name of its entry point"),
        (WHOLE.format(name="fake") + "\nWhole.Options = dict", "Options must be a dataclass"),
        (WHOLE.format(name="fake").replace("frozenset()", "frozenset({'kill'})"), "does not implement kill"),
    ],
)
def test_what_is_no_backend_is_refused(install: Install, source: str, message: str) -> None:
    install("fake", source)
    assert trouble("fake").endswith(message)


def test_two_backends_of_one_name_are_refused_when_used(install: Install) -> None:
    install("fake", WHOLE.format(name="fake"), dist="one")
    install("fake", WHOLE.format(name="fake"), dist="two")
    install("fine", WHOLE.format(name="fine"), dist="three")
    message = trouble("fake")
    assert "is offered by both" in message
    assert "one 1.1" in message
    assert "two 1.2" in message
    assert backends.load("fine").name == "fine"


def test_looking_does_not_import_the_world() -> None:
    code = "import sys, criadapt.backends; print({'grpc', 'msgspec', 'docker', 'asyncio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
