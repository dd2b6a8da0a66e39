"""What the commands are made of: what they print, what they understand, what they load."""

import hashlib
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from criadapt.cli import main, show, terminal
from criadapt.cli.runtime import seconds_of
from criadapt.client.sync.process import Input
from criadapt.model.container import ContainerStatus, KeyValue, Mount
from criadapt.model.image import AuthConfig
from criadapt.model.linux import IDMapping
from criadapt.model.sandbox import PodSandbox, PodSandboxState

CLIENT_COMMANDS = [
    name for name, place in main.COMMANDS.items() if name not in ("serve", "config", "backends", "version")
]


# ---------------------------------------------------------------------------------------------- what they print


def test_models_are_plain_with_cris_names():
    mount = show.plain(Mount(container_path="/x", uid_mappings=(IDMapping(length=5),)))
    assert mount["uidMappings"] == [{"host_id": 0, "container_id": 0, "length": 5}]
    assert mount["propagation"] == "PRIVATE"
    assert show.plain(PodSandbox(state=PodSandboxState.NOTREADY, labels={"b": "1", "a": "2"}))["state"] == "NOTREADY"
    assert list(show.plain(PodSandbox(labels={"b": "1", "a": "2"}))["labels"]) == ["a", "b"]
    assert show.plain(ContainerStatus())["resources"] is None


def test_bytes_are_text_where_they_are():
    assert show.plain(KeyValue(key="a", value="ä".encode()))["value"] == "ä"
    assert show.plain(KeyValue(key="a", value=b"\xff"))["value"] == "base64:/w=="


def test_secrets_are_never_plain():
    shown = show.plain(AuthConfig(username="me", password="pw", identity_token="token"))
    assert shown["username"] == "me"
    assert (shown["password"], shown["identity_token"], shown["registry_token"]) == ("***", "***", "")


def test_a_table_is_as_wide_as_it_is(capsys: pytest.CaptureFixture[str]):
    show.table(("NAME", "ID"), [("x" * 300, "1"), ("y", "")])
    assert capsys.readouterr().out == f"NAME{' ' * 296}   ID\n{'x' * 300}   1\ny\n"
    show.table(("NAME", "ID"), [])
    assert capsys.readouterr().out == "NAME   ID\n"


@pytest.mark.parametrize(
    ("size", "shown"),
    [(None, "-"), (0, "0B"), (999, "999B"), (1000, "1KB"), (4_349_999, "4.35MB"), (10**9, "1GB"), (10**18, "1e+03PB")],
)
def test_amounts(size: int | None, shown: str):
    assert show.amount(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (10**6, "11d")]
)
def test_ages(seconds: int, shown: str, monkeypatch: pytest.MonkeyPatch):
    now = 1_800_000_000_000_000_000
    monkeypatch.setattr("time.time_ns", lambda: now)
    assert show.age(now - seconds * 10**9) == shown
    assert show.age(0) == "-"


def test_ids_are_short_unless_wanted():
    assert show.short("sha256:" + "a" * 64) == "a" * 13
    assert show.short("b" * 64) == "b" * 13
    assert show.short("sha256:c", full=True) == "sha256:c"


# ---------------------------------------------------------------------------------------------- what they understand


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("1.5s", 1.5), ("250ms", 0.25), ("5m", 300), ("1h30m", 5400), ("2d", 172800)],
)
def test_durations(text: str, seconds: float):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "-5", "5x", "m", "1h 30m", "٣", ".", "nan"])
def test_what_is_no_duration(text: str):
    with pytest.raises(ValueError):
        seconds_of(text)


@pytest.mark.parametrize("name", CLIENT_COMMANDS)
def test_every_command_helps_without_a_runtime(name: str):
    result = CliRunner().invoke(main.cli, [name, "--help"])
    assert result.exit_code == 0
    if name != "completion":
        assert "--endpoint" in result.output
        assert "--timeout" in result.output


def test_loading_commands_loads_no_client():
    code = """
import sys
from criadapt.cli import main
context = __import__("click").Context(main.cli)
assert all(main.cli.get_command(context, name) for name in sys.argv[1:])
heavy = ("grpc", "google.protobuf", "msgspec", "rich", "yaml", "asyncio", "criadapt.client", "criadapt.model", "docker")
print(sorted(set(heavy) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code, *CLIENT_COMMANDS], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str):
    result = CliRunner().invoke(main.cli, ["completion", shell])
    assert result.exit_code == 0
    assert f"_CRIADAPT_COMPLETE={shell}_complete" in result.output


# ---------------------------------------------------------------------------------------------- streams


class Noted(Input):
    """An input that remembers."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.parts.append(bytes(data))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is pressed, to be filled by the test."""
    pressed: list[bytes] = []
    monkeypatch.setattr(os, "read", lambda descriptor, size: pressed.pop(0) if pressed else b"")
    return pressed


@pytest.mark.parametrize(
    ("pressed", "passed", "detached"),
    [
        ([b"ab\x10\x11cd"], b"ab", True),
        ([b"ab\x10", b"\x11cd"], b"ab", True),
        ([b"\x10", b"\x10", b"\x11"], b"\x10", True),
        ([b"\x10", b"x", b"\x11"], b"\x10x\x11", False),
        ([b"ab\x10"], b"ab\x10", False),
    ],
)
def test_detach_keys_wherever_reads_end(keys: list[bytes], pressed: list[bytes], passed: bytes, detached: bool):
    keys += pressed
    stdin, news = Noted(), terminal._Queue()
    terminal.feed(stdin, terminal.DETACH_KEYS, news)
    assert b"".join(stdin.parts) == passed
    assert news.empty() is not detached
    assert stdin.closed is not detached


def test_all_is_written_whatever_the_pipe_takes():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = os.urandom(1 << 20)
    with subprocess.Popen(["md5sum"], stdin=reader, stdout=subprocess.PIPE) as process:
        os.close(reader)
        terminal.write_all(writer, data)
        os.close(writer)
        assert process.communicate()[0].split()[0].decode() == hashlib.md5(data).hexdigest()
