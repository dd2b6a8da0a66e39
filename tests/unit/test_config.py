# ruff: noqa: E501  # messages are easier to compare in one piece
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from criadapt.config import Config, FaultRule, default_listen, default_state_dir, host_port, keys, load, option
from criadapt.config.keys import LogConfig, socket_url
from criadapt.errors import InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    memory: int = option(0, doc="bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    subnet: str = field(default="10.88.0.0/16", metadata={"doc": "network of the pods"})
    root: Path | None = option(None, doc="directory")
    token: str = option("", doc="password", secret=True)
    retries: int = option(3, doc="attempts", secret=False)
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise InvalidArgument("retries must not be negative")
        if self.retries > 10:
            raise ValueError("more than 10 retries help nobody")


class Engine:
    name: ClassVar[str] = "my-engine"
    Options: ClassVar[type[Any]] = Options


@pytest.fixture(autouse=True)
def _as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/run/user/1000"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def refused(file: Path | None = None, env: dict[str, str] | None = None, **flags: str) -> str:
    with pytest.raises(InvalidArgument) as error:
        load(file, {"HOME": "/home/nobody", **(env or {})}, {key.replace("__", "."): v for key, v in flags.items()})
    return str(error.value)


# ------------------------------------------------------------------ where values come from


def test_without_anything_the_defaults_hold(home: dict[str, str]) -> None:
    loaded = load(None, home, {})
    assert loaded.file is None
    assert loaded.config.backend == "mock"
    assert loaded.config.listen == "unix:///run/user/1000/criadapt/criadapt.sock"
    assert loaded.config.state_dir == Path(home["HOME"], ".local/state/criadapt")
    assert loaded.config.grpc.max_message_bytes == 16 << 20
    assert loaded.origin("listen") == loaded.origin("backend.name") == loaded.origin("backend.mock.x") == "default"


def test_a_file_gives_way_to_the_environment_and_that_to_flags(file: Path, home: dict[str, str]) -> None:
    file.write_text('listen = "/a"\n[streaming]\nport = 1\nmax_pending = 7\n[log]\nlevel = "debug"')
    env = {**home, "CRIADAPT__STREAMING__PORT": "2", "CRIADAPT_LOG_LEVEL": "error", "CRIADAPT_LISTEN": "/b"}
    loaded = load(file, env, {"streaming.port": "3", "--listen": "/c"})
    assert loaded.config.streaming.port == 3
    assert loaded.config.listen == "unix:///c"
    assert {key: loaded.origin(key) for key in ("streaming.port", "listen", "log.level", "streaming.max_pending")} == {
        "streaming.port": "flag --set",
        "listen": "flag --listen",
        "log.level": "env CRIADAPT_LOG_LEVEL",
        "streaming.max_pending": str(file),
    }


def test_the_dedicated_flag_wins_over_set(home: dict[str, str]) -> None:
    assert load(None, home, {"--backend": "docker", "backend.name": "mock"}).config.backend == "docker"


def test_an_empty_short_variable_is_unset(home: dict[str, str]) -> None:
    assert load(None, {**home, "CRIADAPT_BACKEND": ""}, {}).config.backend == "mock"


def test_other_variables_are_nobodys_business(home: dict[str, str]) -> None:
    load(None, {**home, "CRIADAPT_CRICTL": "/usr/bin/crictl"}, {})


def test_the_usual_file_is_read_if_it_exists(tmp_path: Path, home: dict[str, str]) -> None:
    usual = tmp_path / "criadapt" / "config.toml"
    usual.parent.mkdir()
    usual.write_text("[streaming]\nport = 5")
    loaded = load(None, {**home, "XDG_CONFIG_HOME": str(tmp_path)}, {})
    assert (loaded.config.streaming.port, loaded.file) == (5, usual)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.toml") == (f"configuration file '{tmp_path}/none.toml': No such file or directory")


def test_broken_toml_is_told_with_file_and_line(file: Path) -> None:
    file.write_text("listen = \n")
    assert refused(file).startswith(f"{file}: not TOML: Invalid value (at line 1")


def test_a_file_that_is_not_text_is_told(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    assert refused(file).startswith(f"{file}: not TOML: ")


@pytest.mark.parametrize(
    ("env", "root", "listen"),
    [
        ({}, True, "unix:///run/criadapt/criadapt.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, False, "unix:///run/user/7/criadapt/criadapt.sock"),
        ({"XDG_RUNTIME_DIR": "relative"}, False, "unix:///state/run/criadapt.sock"),
        ({}, False, "unix:///state/run/criadapt.sock"),
    ],
)
def test_the_socket_lies_where_its_user_may_write(env: dict[str, str], root: bool, listen: str) -> None:
    assert default_listen(env, root=root, state_dir=Path("/state")) == listen


def test_state_lies_where_its_user_may_write() -> None:
    assert default_state_dir({}, root=True) == Path("/var/lib/criadapt")
    assert default_state_dir({"XDG_STATE_HOME": "/s"}, root=False) == Path("/s/criadapt")
    assert default_state_dir({"HOME": "/h"}, root=False) == Path("/h/.local/state/criadapt")


def test_the_sockets_default_follows_the_state_dir() -> None:
    loaded = load(None, {"HOME": "/h"}, {"--state-dir": "/else"})
    assert loaded.config.listen == "unix:///else/run/criadapt.sock"


def test_a_default_socket_that_is_too_long_is_told() -> None:
    message = refused(state_dir="/" + "x" * 120)
    assert message.startswith("listen: the path has 139 bytes and Unix sockets allow 107; choose a shorter one")
    assert message.endswith("(default)")


def test_config_can_be_made_without_loading() -> None:
    assert Config(listen="unix:///x", state_dir=Path("/s")).streaming.port == 0
    assert Config().listen.startswith("unix:///")


# ------------------------------------------------------------------ how text is read


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("streaming.port", "10010", 10010),
        ("streaming.token_ttl", "5", 5.0),
        ("streaming.token_ttl", "2.5", 2.5),
        ("images.pause", "pause:1", "pause:1"),
        ("images.pause", '"pause:1"', "pause:1"),
        ("images.pause", "1", "1"),
        ("images.pinned", '["a", "b*"]', ("a", "b*")),
        ("runtime.socket_mode", "0660", "0660"),
        ("runtime.socket_mode", "600", "600"),
        ("log.level", "debug", "debug"),
        ("metrics.listen", "127.0.0.1:9100", "127.0.0.1:9100"),
        ("metrics.listen", "", ""),
        ("state_dir", "/a/b", Path("/a/b")),
        ("faults", '[{call = "pull", hang = true}]', (FaultRule(call="pull", hang=True),)),
    ],
)
def test_text_becomes_what_the_key_holds(home: dict[str, str], key: str, text: str, value: object) -> None:
    for loaded in (
        load(None, home, {key: text}),
        load(None, {**home, "CRIADAPT__" + key.upper().replace(".", "__"): text}, {}),
    ):
        found: Any = loaded.config
        for word in key.split("."):
            found = getattr(found, word)
        assert found == value


def test_text_cannot_smuggle_in_another_key(home: dict[str, str]) -> None:
    assert load(None, home, {"images.pause": '1\nlog = "x"'}).config.images.pause == '1\nlog = "x"'


def test_a_whole_section_can_be_set_at_once(home: dict[str, str]) -> None:
    assert load(None, home, {"log": '{level = "debug"}'}).config.log == LogConfig(level="debug")


def test_relative_and_home_directories_become_absolute(home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert load(None, home, {"--state-dir": "~/s"}).config.state_dir == Path("/home/me/s")
    assert load(None, home, {"--state-dir": "s"}).config.state_dir == Path.cwd() / "s"


def test_faults_are_tables_in_the_file(file: Path, home: dict[str, str]) -> None:
    file.write_text('[[faults]]\ncall = "start"\nerror = "Unavailable"\nnth = 2\nmatch = {id = "ab*"}')
    assert load(file, home, {}).config.faults == (
        FaultRule(call="start", error="Unavailable", nth=2, match={"id": "ab*"}),
    )


# ------------------------------------------------------------------ what is refused


def test_an_unknown_key_is_refused_with_the_near_one_and_its_place(file: Path) -> None:
    file.write_text("[streaming]\nprot = 1")
    assert refused(file) == f"streaming.prot: unknown key, did you mean 'port'? ({file})"
    assert refused(env={"CRIADAPT__STREAMING__PROT": "1"}) == (
        "streaming.prot: unknown key, did you mean 'port'? (env CRIADAPT__STREAMING__PROT)"
    )
    assert refused(log__levle="debug") == "log.levle: unknown key, did you mean 'level'? (flag --set)"


def test_an_unknown_key_like_no_other_is_refused_with_all_known_ones() -> None:
    assert refused(log__zzz="1") == "log.zzz: unknown key; known: format, level (flag --set)"


def test_an_unknown_key_inside_a_list_is_refused(file: Path) -> None:
    file.write_text('[[faults]]\ncall = "start"\n[[faults]]\ncall = "start"\neror = "x"')
    assert refused(file) == f"faults[1].eror: unknown key, did you mean 'error'? ({file})"


def test_an_unknown_flag_is_refused(home: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match="--lsten: no such flag, did you mean '--listen'"):
        load(None, home, {"--lsten": "/x"})


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('[streaming]\nport = "80"', "streaming.port: expected int, got '80'"),
        ("[streaming]\nport = true", "streaming.port: expected int, got True"),
        ("[streaming]\nport = 65536", "streaming.port: expected int <= 65535, got 65536"),
        ("[streaming]\nmax_pending = 0", "streaming.max_pending: expected int >= 1, got 0"),
        ("[streaming]\ntoken_ttl = 0", "streaming.token_ttl: expected float > 0.0, got 0"),
        ("[streaming]\ntoken_ttl = nan", "streaming.token_ttl: expected float > 0.0, got nan"),
        ("[streaming]\ntoken_ttl = inf", "streaming.token_ttl: expected a finite number, got inf"),
        ('[streaming]\naddress = "a:1"', "streaming.address: expected a host name or an IP address without port, got 'a:1'"),
        ("[images]\npinned = 'a'", "images.pinned: expected array, got 'a'"),
        ("[images]\npinned = ['a', 1]", "images.pinned[1]: expected str, got int"),
        ("[log]\nlevel = 'loud'", "log.level: expected one of critical, error, warning, info, debug, got 'loud'"),
        ("[log]\nformat = 'JSON'", "log.format: expected one of text, json, got 'JSON', did you mean 'json'?"),
        ("log = 1", "log: expected a table, got 1"),
        ("log.level.x = 1", "log.level: expected one of critical, error, warning, info, debug, got {'x': 1}"),
        ("[runtime]\nsocket_mode = 0o660", "runtime.socket_mode: expected str, got 432"),
        ("[runtime]\nsocket_mode = 'rw'", "runtime.socket_mode: expected a mode in octal such as \"0660\", got 'rw'"),
        ("[metrics]\nlisten = ':9100'", "metrics.listen: expected host:port, got ':9100'; write 0.0.0.0:9100 for every address"),
        ("state_dir = 1", "state_dir: expected path, got 1"),
        ("state_dir = ''", "state_dir: expected path, got ''"),
        ("listen = 'tcp://1.2.3.4:5'", "listen: expected unix:///absolute/path, got 'tcp://1.2.3.4:5'"),
        ("[[faults]]\nerror = 'x'", "faults[0]: object missing required field call"),
        ("backend = 'docker'", "backend: expected a table, got 'docker'; the engine is chosen by backend.name"),
        ("[backend]\nname = ''", "backend.name: must not be empty"),
        ("[backend]\nnam = 'x'", "backend.nam: unknown key, did you mean 'name'?"),
        ("[backend]\nsubnet = 'x'", "backend.subnet: unknown key; options of an engine stand in [backend.<engine>], backend.<engine>.subnet"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_key_and_place(file: Path, toml: str, message: str) -> None:
    file.write_text(toml)
    assert refused(file) == f"{message} ({file})"


def test_wrong_text_is_told_with_key_and_place() -> None:
    assert refused(streaming__port="http") == "streaming.port: expected int, got 'http' (flag --set)"
    assert refused(streaming__port__x="1") == "streaming.port.x: unknown key; streaming.port is a value (flag --set)"
    assert refused(env={"CRIADAPT_LOG_LEVEL": "INFO"}) == (
        "log.level: expected one of critical, error, warning, info, debug, got 'INFO', did you mean 'info'? "
        "(env CRIADAPT_LOG_LEVEL)"
    )


def test_a_long_value_is_cut_in_the_message() -> None:
    assert len(refused(streaming__port="x" * 10_000)) < 160


# ------------------------------------------------------------------ checks


def test_sockets_are_urls_or_absolute_paths() -> None:
    assert socket_url("/run/a.sock") == socket_url("unix:///run/a.sock") == "unix:///run/a.sock"
    assert socket_url("/" + "é" * 53) == "unix:///" + "é" * 53  # 107 bytes
    for wrong in ("unix:relative", "unix://host/x", "relative", "", "/a\nb", "/a\0", "/dir/"):
        with pytest.raises(ValueError, match=r"expected|cannot"):
            socket_url(wrong)
    with pytest.raises(ValueError, match="has 109 bytes"):
        socket_url("/" + "é" * 54)


def test_addresses_are_host_and_port() -> None:
    assert host_port("127.0.0.1:9100") == ("127.0.0.1", 9100)
    assert host_port("[::1]:0") == ("::1", 0)
    assert host_port("localhost:80") == ("localhost", 80)
    for wrong in ("9100", "a", "a:", "a:b", "a:65536", "::1:80", ":80", "a b:80", "[]:80", "a:٣"):
        with pytest.raises(ValueError, match="expected host:port"):
            host_port(wrong)


# ------------------------------------------------------------------ options of an engine


def test_an_engines_options_come_from_its_own_table(file: Path, home: dict[str, str]) -> None:
    file.write_text('[backend]\nname = "my-engine"\n[backend.my-engine]\nsubnet = "a"\nretries = 4\nlimits.memory = 9')
    env = {**home, "CRIADAPT__BACKEND__MY_ENGINE__RETRIES": "5"}
    loaded = load(file, env, {"backend.my-engine.root": "/r", "backend.other.x": "1"})
    assert loaded.backend_options(Engine) == Options(subnet="a", retries=5, root=Path("/r"), limits=Limits(memory=9))
    assert loaded.origin("backend.my-engine.subnet") == str(file)
    assert loaded.origin("backend.my-engine.limits.memory") == str(file)
    assert loaded.origin("backend.my-engine.retries") == "env CRIADAPT__BACKEND__MY_ENGINE__RETRIES"
    assert loaded.origin("backend.my-engine.root") == "flag --set"
    assert loaded.origin("backend.my-engine.token") == "default"


def test_an_engines_unknown_option_is_refused(home: dict[str, str]) -> None:
    loaded = load(None, home, {"backend.my-engine.subnt": "1"})
    with pytest.raises(InvalidArgument) as error:
        loaded.backend_options(Engine)
    assert str(error.value) == "backend.my-engine.subnt: unknown key, did you mean 'subnet'? (flag --set)"


@pytest.mark.parametrize(
    ("retries", "message"), [("11", "more than 10 retries help nobody"), ("-1", "retries must not be negative")]
)
def test_an_engines_own_check_names_its_table(home: dict[str, str], retries: str, message: str) -> None:
    loaded = load(None, home, {"backend.my-engine.retries": retries})
    with pytest.raises(InvalidArgument, match=rf"^backend\.my-engine: {message}$"):
        loaded.backend_options(Engine)


def test_options_of_an_engine_that_is_not_there_are_refused(home: dict[str, str]) -> None:
    loaded = load(None, home, {"backend.mok.subnet": "x"})
    with pytest.raises(InvalidArgument) as error:
        loaded.check_backends(["docker", "mock"])
    assert str(error.value) == "backend.mok: no such backend, did you mean 'mock'? (flag --set)"
    loaded.check_backends(["mok"])


def test_a_secret_is_not_repeated_in_messages(file: Path, home: dict[str, str]) -> None:
    file.write_text("[backend.my-engine]\ntoken = 123456")
    with pytest.raises(InvalidArgument) as error:
        load(file, home, {}).backend_options(Engine)
    assert "123456" not in str(error.value)


def test_settings_list_every_value_with_its_origin(home: dict[str, str]) -> None:
    settings = {each.key: each for each in load(None, home, {"backend.my-engine.token": "s"}).settings(Engine)}
    assert set(settings) == {key.name for key in keys(Config)} | {
        key.name for key in keys(Options, "backend.my-engine.")
    }
    assert settings["backend.my-engine.token"].secret
    assert settings["listen"].value.startswith("unix://")


def test_the_origin_of_an_unknown_key_is_refused(home: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match=r"streaming.prot: unknown key, did you mean 'streaming.port'"):
        load(None, home, {}).origin("streaming.prot")


# ------------------------------------------------------------------ the declaration itself


def test_every_key_has_one_line_of_documentation() -> None:
    for key in [*keys(Config), *keys(FaultRule)]:
        assert key.doc, key.name
        assert "\n" not in key.doc
        assert not key.doc.endswith("."), key.name


def test_every_default_passes_its_own_check(file: Path, home: dict[str, str]) -> None:
    from criadapt.cli.reference import toml_value

    for key in keys(Config):
        loaded = load(None, home, {key.name: toml_value(key.default)})
        setting = next(each for each in loaded.settings() if each.key == key.name)
        assert (setting.value, setting.origin) == (key.default, "flag --set")


def test_the_config_is_frozen() -> None:
    config = Config()
    with pytest.raises(AttributeError):
        config.backend = "x"  # type: ignore[misc]
