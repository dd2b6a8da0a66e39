from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from criadapt.log import MAX_VALUE, JSONFormatter, TextFormatter, facts, request_facts, setup


class Colour(str, Enum):  # noqa: UP042  # the kind whose str() is not its value
    RED = "red"


def record(message: str = "hello", *args: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("criadapt.test").makeRecord(
        "criadapt.test", level, __file__, 1, message, args, None, extra=extra
    )
    made.created = 1795435267.412
    return made


def text(*args: Any, **extra: Any) -> str:
    return TextFormatter().format(record(*args, **extra))


def values(**extra: Any) -> str:
    return text(**extra).partition("hello ")[2]


def parsed(made: logging.LogRecord) -> dict[str, Any]:
    line = JSONFormatter().format(made)
    assert "\n" not in line
    assert line.isascii()
    found: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return found


def failed(message: str) -> logging.LogRecord:
    made = record()
    try:
        raise RuntimeError(message)
    except RuntimeError:
        made.exc_info = sys.exc_info()
    return made


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    yield root
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    logging.captureWarnings(False)
    for name in ("asyncio", "docker", "grpc", "urllib3", "websockets"):
        logging.getLogger(name).setLevel(logging.NOTSET)


# ------------------------------------------------------------------ text


def test_a_line_has_time_level_message_and_facts() -> None:
    assert text("sandbox running", sandbox="ab12", took=0.41) == (
        "2026-11-23T12:01:07.412Z INFO  sandbox running sandbox=ab12 took=0.41"
    )


def test_arguments_of_others_messages_are_filled_in() -> None:
    assert text("a %s b", 1, level=logging.WARNING) == "2026-11-23T12:01:07.412Z WARN  a 1 b"


def test_request_facts_come_last_and_own_facts_win() -> None:
    with facts(rpc="RunPodSandbox", req="7f3c"):
        assert values(sandbox="ab") == "sandbox=ab rpc=RunPodSandbox req=7f3c"
        assert values(rpc="mine") == "rpc=mine req=7f3c"
        with facts(req="9"):
            assert values() == "rpc=RunPodSandbox req=9"
        assert values() == "rpc=RunPodSandbox req=7f3c"
    assert request_facts.get() == {}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("registry.k8s.io/pause:3.10@sha256:ab", "registry.k8s.io/pause:3.10@sha256:ab"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("-", '"-"'),
        ("größe", "größe"),
        ("a\nb", '"a\\nb"'),
        ("\x1b[31m", '"\\x1b[31m"'),
        ("\u2028\u202e", '"\\u2028\\u202e"'),
        ("\ud800", '"\\ud800"'),
        (b"a\xff", '"a\\\\xff"'),
        (True, "true"),
        (None, "null"),
        (7, "7"),
        (0.1 + 0.2, "0.3"),
        (float("nan"), "nan"),
        (Colour.RED, "red"),
        (Path("/a b"), '"/a b"'),
        ([1, "x"], '"[1, \\"x\\"]"'),
        (ValueError(), "ValueError"),
        (ValueError("no"), "no"),
    ],
)
def test_a_value_is_quoted_where_it_is_not_one_word(value: object, shown: str) -> None:
    assert values(v=value) == f"v={shown}"


def test_a_long_value_is_cut_and_the_rest_counted() -> None:
    assert values(v="x" * (MAX_VALUE + 5)) == "v=" + "x" * MAX_VALUE + "...(+5)"


def test_a_hostile_message_cannot_forge_a_line() -> None:
    assert text("bad\n2026-11-23T12:01:07.412Z INFO  forged\r\x85").splitlines() == [
        "2026-11-23T12:01:07.412Z INFO  bad\\n2026-11-23T12:01:07.412Z INFO  forged\\r\\x85"
    ]


def test_a_traceback_follows_indented() -> None:
    first, *trace = TextFormatter().format(failed("boom\n2026 INFO  forged\u2028x")).splitlines()
    assert first == "2026-11-23T12:01:07.412Z INFO  hello"
    assert trace[0] == "    Traceback (most recent call last):"
    assert "    RuntimeError: boom" in trace
    assert all(line.startswith("    ") for line in trace)


def test_a_stack_follows_too() -> None:
    made = record()
    made.stack_info = "Stack (most recent call last):\n  here"
    assert TextFormatter().format(made).splitlines()[1:] == ["    Stack (most recent call last):", "      here"]


# ------------------------------------------------------------------ JSON


def test_json_has_one_object_per_line() -> None:
    with facts(rpc="Version"):
        assert parsed(record(took=0.41, id="a\nb", odd=float("inf"), many=[1, 2], none=None, yes=True)) == {
            "ts": "2026-11-23T12:01:07.412Z",
            "level": "info",
            "msg": "hello",
            "logger": "criadapt.test",
            "took": 0.41,
            "id": "a\nb",
            "odd": "inf",
            "many": [1, 2],
            "none": None,
            "yes": True,
            "rpc": "Version",
        }


def test_json_keeps_its_own_keys() -> None:
    found = parsed(record(level_="kept", ts="mine", logger="mine", exception="mine"))
    assert (found["ts"], found["ts_"]) == ("2026-11-23T12:01:07.412Z", "mine")
    assert (found["logger_"], found["exception_"]) == ("mine", "mine")


def test_json_carries_the_traceback() -> None:
    assert parsed(failed("boom"))["exception"].endswith("RuntimeError: boom")


def test_json_survives_what_it_cannot_express() -> None:
    found = parsed(record(odd={"nan": float("nan"), (1, 2): 3}, bad="\ud800", what=object(), long="x" * 2000))
    assert found["odd"] == {"nan": "NaN"}
    assert found["bad"] == "\ud800"
    assert found["what"].startswith("<object")
    assert len(found["long"]) < 1020


# ------------------------------------------------------------------ setting up


def test_setup_writes_to_the_stream_from_the_level_on(root: logging.Logger) -> None:
    stream = io.StringIO()
    setup("info", "text", stream)
    logging.getLogger("criadapt.x").debug("not this")
    logging.getLogger("criadapt.x").info("this")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO  this\n", stream.getvalue())


def test_setup_twice_replaces_only_its_own_handler(root: logging.Logger) -> None:
    others = root.handlers[:]
    first, second = io.StringIO(), io.StringIO()
    setup("info", "text", first)
    setup("info", "json", second)
    logging.getLogger("criadapt.x").info("once")
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["msg"] == "once"
    assert [handler for handler in root.handlers if handler in others] == others


def test_chatty_libraries_stay_quiet_at_debug(root: logging.Logger) -> None:
    stream = io.StringIO()
    setup("debug", "text", stream)
    logging.getLogger("urllib3.connectionpool").debug("noise")
    logging.getLogger("criadapt.x").debug("news")
    assert "noise" not in stream.getvalue()
    assert "news" in stream.getvalue()


def test_timestamps_are_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert text().startswith("2026-11-23T12:01:07.412Z")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("name", "message", "is_told"),
    [
        ("grpc._cython.cygrpc", "ExecuteBatchError raised in core by servicer method [/x]", False),
        ("grpc._cython.cygrpc", "Unexpected [ValueError] raised by servicer method [/x]", True),
        ("criadapt.server", "ExecuteBatchError raised in core", True),
    ],
)
def test_a_caller_who_leaves_is_no_error(name: str, message: str, is_told: bool) -> None:
    stream = io.StringIO()
    setup("info", "text", stream)
    logging.getLogger(name).error(message)
    assert bool(stream.getvalue()) is is_told
