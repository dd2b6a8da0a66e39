from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from criadapt import __version__, log
from criadapt.cli import main
from criadapt.cli.reference import default_toml, reference_markdown, toml_value
from criadapt.config import Config, Loaded, keys, load
from criadapt.errors import FailedPrecondition

FAKE = """
from dataclasses import dataclass, field
from criadapt.backends.base import Backend

@dataclass(frozen=True, slots=True, kw_only=True)
class FakeOptions:
    subnet: str = field(default="10.0.0.0/8", metadata={"doc": "network of the pods"})
    token: str = field(default="", metadata={"doc": "password", "secret": True})
    limit: int | None = field(default=None, metadata={"doc": "most of it"})

class FakeBackend(Backend):
    '''An engine of the tests.

    More about it.
    '''
    name = "fake"
    Options = FakeOptions

FakeBackend.__abstractmethods__ = frozenset()
"""

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with a fake and a broken backend installed, nothing configured."""
    site = tmp_path / "site"
    info = site / "fakes-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fakes\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[criadapt.backends]\nfake = criadapt_test_fake:FakeBackend\nsick = criadapt_test_sick:Sick\n"
    )
    (site / "criadapt_test_fake.py").write_text(FAKE)
    (site / "criadapt_test_sick.py").write_text("import no_such_library_anywhere")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for name in [name for name in os.environ if name.startswith(("CRIADAPT", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CRIADAPT_BACKEND", "fake")
    return lambda *args: CliRunner().invoke(main.cli, list(args))


def test_help_lists_the_commands(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(f"\n  {name} " in result.output for name in main.COMMANDS)


def test_an_unknown_command_is_refused(run: Run) -> None:
    assert run("sevre").exit_code == 2


# ------------------------------------------------------------------ version


def test_version_names_criadapt_and_the_libraries(run: Run) -> None:
    assert re.search(rf"^criadapt +{re.escape(__version__)}\npython +3\.\d+\.\d+\ngrpcio +\d", run("version").output)


def test_version_as_json(run: Run) -> None:
    found = json.loads(run("version", "--json").output)
    assert list(found) == ["criadapt", "python", "grpcio", "protobuf"]


def test_version_imports_nothing_heavy() -> None:
    code = """
import sys
from criadapt.cli.main import cli
cli(["version"], standalone_mode=False)
heavy = {"grpc", "google.protobuf", "msgspec", "rich", "prometheus_client", "asyncio", "docker", "criadapt.config"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_package_can_be_run_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "criadapt", "version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("criadapt ")


# ------------------------------------------------------------------ backends


def test_backends_are_listed_with_what_they_are_or_why_not(run: Run) -> None:
    output = run("backends").output
    assert re.search(r"^fake +fakes 1\.2 +An engine of the tests\.", output, re.MULTILINE)
    assert re.search(r"^sick +fakes 1\.2 +unusable: ", output, re.MULTILINE)


def test_backends_as_json(run: Run) -> None:
    found = {row["name"]: row for row in json.loads(run("backends", "--json").output)}
    assert found["fake"] == {
        "name": "fake",
        "distribution": "fakes 1.2",
        "about": "An engine of the tests.",
        "error": "",
    }
    assert "no_such_library_anywhere" in found["sick"]["error"]


def test_without_any_backend_the_remedy_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("criadapt.backends.available", dict)
    assert "pip install criadapt" in run("backends").output


# ------------------------------------------------------------------ config


def test_config_shows_values_with_their_origin(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[streaming]\nport = 5\n[backend.fake]\ntoken = 'hush'")
    result = run("config", "--config", str(file), "--set", "log.level=debug", "--listen", "/x")
    assert result.exit_code == 0, result.output
    lines = [re.sub(" +#", " #", line) for line in result.output.splitlines()]
    assert 'listen = "unix:///x" # flag --listen' in lines
    assert 'backend.name = "fake" # env CRIADAPT_BACKEND' in lines
    assert f"streaming.port = 5 # {file}" in lines
    assert 'log.level = "debug" # flag --set' in lines
    assert 'backend.fake.subnet = "10.0.0.0/8" # default' in lines
    assert f'backend.fake.token = "***" # {file}' in lines
    assert "hush" not in result.output


def test_config_as_json(run: Run) -> None:
    result = run("config", "--json", "--set", 'faults=[{call = "pull"}]', "--set", "backend.fake.token=hush")
    found = {row["key"]: row for row in json.loads(result.output)}
    assert found["streaming.port"] == {"key": "streaming.port", "value": 0, "origin": "default"}
    assert found["faults"]["value"][0]["call"] == "pull"
    assert found["state_dir"]["value"].endswith("/.local/state/criadapt")
    assert found["backend.fake.token"]["value"] == "***"


def test_bad_configuration_is_one_line_and_exit_2(run: Run) -> None:
    result = run("config", "--set", "streaming.prot=1")
    assert result.exit_code == 2
    assert result.stderr == "criadapt: streaming.prot: unknown key, did you mean 'port'? (flag --set)\n"
    assert result.stdout == ""


def test_an_unknown_or_unusable_backend_is_told(run: Run) -> None:
    result = run("config", "--backend", "fak")
    assert result.exit_code == 2
    assert "backend 'fak' is not installed, did you mean 'fake'?" in result.stderr
    result = run("config", "--backend", "sick")
    assert result.exit_code == 1
    assert "cannot be imported" in result.stderr
    result = run("config", "--set", "backend.fke.subnet=1")
    assert result.stderr == "criadapt: backend.fke: no such backend, did you mean 'fake'? (flag --set)\n"


@pytest.mark.parametrize("assignment", ["streaming.port", "=1", ""])
def test_set_wants_key_and_value(run: Run, assignment: str) -> None:
    result = run("config", "--set", assignment)
    assert result.exit_code == 2
    assert "expected KEY=VALUE" in result.stderr


def test_the_default_file_is_printed_whatever_is_configured(run: Run) -> None:
    result = run("config", "--default", "--set", "nonsense=1")
    assert result.exit_code == 0
    assert "[backend.fake]" in result.stdout
    assert '# subnet = "10.0.0.0/8"' in result.stdout
    assert "# limit is not set" in result.stdout


# ------------------------------------------------------------------ serve


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stands in for criadapt.server: ready at once, and done."""
    module = ModuleType("criadapt.server")

    async def serve(loaded: Loaded, *, on_ready: Callable[[str], None]) -> None:
        on_ready(loaded.config.listen)

    module.serve = serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "criadapt.server", module)
    monkeypatch.setattr("criadapt.server", module, raising=False)
    monkeypatch.setattr(log, "setup", lambda *args: None)
    monkeypatch.delenv("GRPC_ENABLE_FORK_SUPPORT", raising=False)
    return module


def test_serve_tells_where_and_how_to_try(run: Run, server: ModuleType) -> None:
    result = run("serve", "--listen", "/run/a b.sock")
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"criadapt {__version__} serves fake on unix:///run/a b.sock\n"
        "  try:  crictl --runtime-endpoint 'unix:///run/a b.sock' version\n"
        "  or:   export CONTAINER_RUNTIME_ENDPOINT='unix:///run/a b.sock'\n"
    )


def test_serve_turns_grpcs_fork_handlers_off_unless_told(
    run: Run, server: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("serve")
    assert os.environ["GRPC_ENABLE_FORK_SUPPORT"] == "0"
    monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", "1")
    run("serve")
    assert os.environ["GRPC_ENABLE_FORK_SUPPORT"] == "1"


def test_what_stands_in_the_way_is_one_line_and_exit_1(run: Run, server: ModuleType) -> None:
    async def serve(loaded: Loaded, *, on_ready: Callable[[str], None]) -> None:
        raise FailedPrecondition("another server\nlistens")

    server.serve = serve  # type: ignore[attr-defined]
    result = run("serve")
    assert (result.exit_code, result.stderr) == (1, "criadapt: another server listens\n")


def test_a_bug_keeps_its_traceback(run: Run, server: ModuleType) -> None:
    async def serve(loaded: Loaded, *, on_ready: Callable[[str], None]) -> None:
        raise ZeroDivisionError

    server.serve = serve  # type: ignore[attr-defined]
    assert isinstance(run("serve").exception, ZeroDivisionError)


# ------------------------------------------------------------------ written from the declaration


def test_the_default_file_says_what_is_the_case_anyway(run: Run, tmp_path: Path) -> None:
    printed = default_toml()
    assert [word for word, value in tomllib.loads(printed).items() if value] == []
    file = tmp_path / "all.toml"
    file.write_text(re.sub(r"^# (\w+ = )", r"\1", printed, flags=re.MULTILINE))
    loaded, without = load(file, {"HOME": str(tmp_path)}, {}), load(None, {"HOME": str(tmp_path)}, {})
    assert loaded.config == without.config
    written = {each.key for each in loaded.settings() if each.origin == str(file)}
    assert written | {"faults"} == {each.key for each in without.settings()}


def test_the_example_of_a_table_is_one(run: Run, tmp_path: Path) -> None:
    example = default_toml().partition("#   [[faults]]")[2]
    file = tmp_path / "faults.toml"
    file.write_text("[[faults]]\n" + re.sub(r"^#   ", "", example, flags=re.MULTILINE))
    assert load(file, os.environ, {}).config.faults[0].call == "..."


def test_the_page_has_every_key_and_no_trace_of_who_wrote_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/author")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    page = reference_markdown()
    assert all(f"| `{key.name}` |" in page for key in keys(Config))
    assert "/home/author" not in page
    assert '`"unix:///run/criadapt/criadapt.sock"`' in page
    for line in page.splitlines():
        if line.startswith("| `"):
            assert line.replace("\\|", "").count("|") in (4, 5)


@pytest.mark.parametrize(
    "value", ["a", 'q"\\\n\t\x7f\x00é', True, 7, 2.5, 60.0, (), ("a", 1), {"k.x": ["v"]}, {}, float("inf")]
)
def test_values_are_written_as_toml_reads_them(value: object) -> None:
    expected = list(value) if isinstance(value, tuple) else value
    assert tomllib.loads(f"v = {toml_value(value)}")["v"] == expected
