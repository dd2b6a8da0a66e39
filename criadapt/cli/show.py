"""How commands show what they found: tables for people, JSON and YAML for programs, ids for xargs."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import click

Command = Callable[..., Any]

SHORT_ID = 13
"""Characters of an id in tables, as crictl has it."""

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_AGES = ((86400 * 2, 86400, "d"), (3600 * 2, 3600, "h"), (60 * 2, 60, "m"), (0, 1, "s"))


def format_option(*formats: str) -> Callable[[Command], Command]:
    """``-o``, as `output`; the first of `formats` is the default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="json and yaml have CRI's own field names.",
    )


def list_options(command: Command) -> Command:
    """``-o``, ``-q`` and ``--no-trunc`` of lists, as `output`, `quiet` and `full`."""
    command = click.option("--no-trunc", "full", is_flag=True, help="Show whole ids.")(command)
    command = click.option("-q", "--quiet", is_flag=True, help="Show ids only, whole ones, one a line.")(command)
    return format_option("table", "json", "yaml")(command)


# ------------------------------------------------------------------ for programs


def plain(value: object) -> Any:
    """A model as JSON has it: CRI's names for fields, names for enum values, text for bytes, nothing for secrets."""
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.metadata.get("proto", field.name): _field(getattr(value, field.name), field.repr)
            for field in fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): plain(element) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(element) for element in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return "base64:" + base64.b64encode(value).decode()
    return value


def _field(value: object, public: bool) -> Any:
    if value and not public:
        return "***"
    # The wire has pairs in no order, and a program may compare what it got today with yesterday's.
    return plain(dict(sorted(value.items())) if isinstance(value, Mapping) else value)


def emit(value: object, output: str) -> None:
    """Print a value as ``json`` or ``yaml``."""
    if output == "json":
        click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))
        return
    import yaml

    click.echo(yaml.safe_dump(plain(value), sort_keys=False, allow_unicode=True, width=10_000), nl=False)


def emit_line(value: object, output: str) -> None:
    """Print a value of which more will come: a line of JSON, or a YAML document."""
    if output == "json":
        click.echo(json.dumps(plain(value), ensure_ascii=False))
        return
    click.echo("---")
    emit(value, output)


# ------------------------------------------------------------------ for people


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: within the width of a terminal, elsewhere as wide as it is, without colours or trailing blanks."""
    if not sys.stdout.isatty():
        for line in aligned([header, *rows]):
            click.echo(line)
        return
    from rich.console import Console

    Console(highlight=False).print(rich_table(header, rows))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines whose columns begin below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["   ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def rich_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Any:
    """The same for rich to print."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for name in header:
        # An id that is cut is of no use; a name is.
        made.add_column(name, no_wrap=True, min_width=SHORT_ID if name.endswith("ID") else None)
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def short(id: str, full: bool = False) -> str:
    """An id as tables show it."""
    return id if full else id.removeprefix("sha256:")[:SHORT_ID]


def age(time_ns: int) -> str:
    """How long ago something was, ``5m``."""
    if not time_ns:
        return "-"
    seconds = max(0, time.time_ns() - time_ns) // 1_000_000_000
    return next(f"{seconds // unit}{letter}" for least, unit, letter in _AGES if seconds >= least)


def amount(size: int | None) -> str:
    """Bytes as people read them, ``4.5MB``."""
    if size is None:
        return "-"
    value, unit = float(size), 0
    while value >= 1000 and unit + 1 < len(_UNITS):
        value, unit = value / 1000, unit + 1
    return f"{size}B" if not unit else f"{value:.3g}{_UNITS[unit]}"


def metadata_name(thing: Any) -> str:
    """What a pod or container is called, empty if nothing is known."""
    return thing.metadata.name if thing is not None and thing.metadata is not None else ""


def namespace_of(pod: Any) -> str:
    """A pod's namespace, empty if nothing is known."""
    return pod.metadata.namespace if pod is not None and pod.metadata is not None else ""
