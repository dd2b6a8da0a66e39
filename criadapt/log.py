"""criadapt's log: stdlib logging, one line per fact, ``key=value`` for people or JSON for machines.

A message is constant, what varies goes into ``extra``::

    log.info("sandbox running", extra={"sandbox": id, "took": 0.41})
    2026-11-23T12:01:07.412Z INFO  sandbox running sandbox=ab12 took=0.41 rpc=RunPodSandbox req=7f3c

The facts of the request being served ride on a context variable and are added to every line written on its behalf.
Whatever a client sends may end up in a log: nothing that is not printable gets through, so nobody can forge a line.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar, Token
from enum import Enum
from types import TracebackType
from typing import Any, Final, TextIO

request_facts: ContextVar[Mapping[str, object]] = ContextVar("request_facts", default={})  # noqa: B039  # never changed
"""Facts of the request that is being served; see :class:`facts`."""

MAX_VALUE: Final = 1000
"""Characters of a value that are shown; the rest is counted."""
MAX_MESSAGE: Final = 4000
"""Characters of a message that are shown."""

_CHATTY: Final = ("asyncio", "docker", "grpc", "urllib3", "websockets")  # at debug they drown everything else
_LEVELS: Final = {"CRITICAL": "CRIT ", "ERROR": "ERROR", "WARNING": "WARN ", "INFO": "INFO ", "DEBUG": "DEBUG"}
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_BARE: Final = str.maketrans("", "", "-_.,:;/@+%*~!?#&()[]<>{}|$^")  # punctuation that needs no quotes


class facts:  # noqa: N801  # read as a word: with facts(rpc="ListPods", req="7f3c")
    """Add facts to every line logged inside the ``with``."""

    __slots__ = ("_facts", "_token")

    def __init__(self, **facts: object) -> None:
        self._facts = facts
        self._token: Token[Mapping[str, object]] | None = None

    def __enter__(self) -> None:
        self._token = request_facts.set({**request_facts.get(), **self._facts})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None
        request_facts.reset(self._token)


def setup(level: str = "info", format: str = "text", stream: TextIO | None = None) -> None:
    """Send the log of the whole process to `stream` (stderr); may be called again to change one's mind."""
    handler = _Handler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JSONFormatter() if format == "json" else TextFormatter())
    number = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    handler.addFilter(tells)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.INFO))
    logging.captureWarnings(True)


def tells(record: logging.LogRecord) -> bool:
    """Whether a record tells anybody anything.

    gRPC reports a caller who leaves just as his answer is being sent as an error of ours, with a traceback.
    """
    return not (record.name.startswith("grpc.") and str(record.msg).startswith("ExecuteBatchError raised in core"))


class _Handler(logging.StreamHandler[TextIO]):
    """The one that :func:`setup` put there; those of others are left alone."""


class TextFormatter(logging.Formatter):
    """``time LEVEL message key=value …``; a traceback follows, indented, so that none of its lines looks like one."""

    def format(self, record: logging.LogRecord) -> str:
        level = _LEVELS.get(record.levelname, record.levelname)
        parts = [f"{timestamp(record)} {level} {printable(cut(record.getMessage(), MAX_MESSAGE))}"]
        parts += [f"{key}={text(value)}" for key, value in _facts_of(record).items()]
        return " ".join(parts) + "".join(f"\n    {printable(line)}" for line in _trace(self, record).splitlines())


class JSONFormatter(logging.Formatter):
    """One JSON object per line: ts, level, msg, logger, the facts, and exception. All ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "ts": timestamp(record),
            "level": record.levelname.lower(),
            "msg": cut(record.getMessage(), MAX_MESSAGE),
            "logger": record.name,
        }
        for key, value in _facts_of(record).items():
            entry[f"{key}_" if key in entry or key == "exception" else key] = _jsonable(value)
        if trace := _trace(self, record):
            entry["exception"] = trace
        return json.dumps(entry)


def timestamp(record: logging.LogRecord) -> str:
    """When it happened, in UTC: ``2026-11-23T12:01:07.412Z``."""
    seconds, millis = divmod(int(record.created * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{millis:03d}Z"


def text(value: object) -> str:
    """A value as it stands behind ``key=``: quoted where it would not be one word, cut where it is long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(round(value, 6))
    word = cut(_string(value), MAX_VALUE)
    if word.isalnum() or word.translate(_BARE).isalnum():
        return word
    return '"' + printable(word.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def printable(line: str) -> str:
    """`line` with everything escaped that a terminal or a reader of lines would take for more than a character."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else _escape(char) for char in line)


def cut(long: str, limit: int) -> str:
    """The first `limit` characters, and how many there were behind them."""
    return long if len(long) <= limit else f"{long[:limit]}...(+{len(long) - limit})"


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")  # \n, \x1b, \u2028; lone surrogates too


def _string(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, default=str, skipkeys=True, ensure_ascii=False)
    if isinstance(value, BaseException):
        return str(value) or type(value).__name__
    return str(value)


def _jsonable(value: object) -> object:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else str(value)  # JSON has no NaN
    if isinstance(value, (list, tuple, dict)) and len(short := _string(value)) <= MAX_VALUE:
        return json.loads(short, parse_constant=str)
    return cut(_string(value), MAX_VALUE)


def _facts_of(record: logging.LogRecord) -> dict[str, object]:
    own = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    everything = own | {key: value for key, value in request_facts.get().items() if key not in own}
    return {key: value.value if isinstance(value, Enum) else value for key, value in everything.items()}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[0]:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)
