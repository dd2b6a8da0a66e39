"""``criadapt logs``: what a container has written."""

from __future__ import annotations

import re
import sys
import time
from typing import IO, TYPE_CHECKING

import click

from criadapt.cli.runtime import complete_container, connected, seconds_of

if TYPE_CHECKING:
    from criadapt.client import Client
    from criadapt.logs.lines import LogLine
    from criadapt.model.container import Container

_ZONE = re.compile(r"T.*(Z|[+-]\d\d:?\d\d)$")


def _moment(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """A callback for a time, or how long ago it was: nanoseconds since the epoch."""
    if value is None:
        return None
    from criadapt.logs.format import parse_timestamp

    try:
        return time.time_ns() - int(seconds_of(value) * 1e9)
    except ValueError:
        pass
    try:
        if not _ZONE.search(value):
            raise ValueError("it has no time zone")
        return parse_timestamp(value)
    except ValueError as error:
        message = f"expected such as 5m or 2026-01-31T12:00:00Z, got {value!r}"
        raise click.BadParameter(message, ctx, parameter) from error


@click.command()
@click.argument("container", shell_complete=complete_container)
@click.option("-f", "--follow", is_flag=True, help="Go on until the container has ended.")
@click.option("--since", metavar="WHEN", callback=_moment, help="Only lines since then: 5m, or 2026-01-31T12:00:00Z.")
@click.option("--until", metavar="WHEN", callback=_moment, help="Only lines until then.")
@click.option("--tail", metavar="N", type=click.IntRange(min=0), help="Only the last N lines.")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written.")
@click.option("-p", "--previous", is_flag=True, help="Of the container that this one has replaced.")
@click.option("--rotated", is_flag=True, help="Begin with the oldest file that is still there.")
@connected
def logs(
    cri: Client,
    container: str,
    follow: bool,
    since: int | None,
    until: int | None,
    tail: int | None,
    timestamps: bool,
    previous: bool,
    rotated: bool,
) -> None:
    """Show what a container has written: stdout to stdout, stderr to stderr.

    CONTAINER is an id, the beginning of an id, or a name, which may have its pod or namespace before it: pod/app.
    """
    found = cri.container(container)
    if previous:
        found = _previous(cri, found)
    lines = cri.logs(found.id, follow=follow, since=since, until=until, tail=tail, rotated=rotated)
    for line in lines:
        write(line, flush=follow, timestamps=timestamps)
    sys.stdout.flush()


def write(line: LogLine, *, flush: bool, timestamps: bool = False, prefix: bytes = b"") -> None:
    """Write a line to where the container wrote it."""
    if line.problem:
        click.echo(f"criadapt: the log has something that is no entry, {line.problem}: {line.text}", err=True)
        return
    from criadapt.logs.format import timestamp

    stamp = timestamp(line.time_ns).encode() + b" " if timestamps else b""
    end = b"" if line.partial and not prefix else b"\n"
    file: IO[bytes] = sys.stdout.buffer
    if line.stream == "stderr":
        sys.stdout.flush()  # so that a terminal has them in their order
        file, flush = sys.stderr.buffer, True
    file.write(b"".join((prefix, stamp, line.data, end)))
    if flush:
        file.flush()


def _previous(cri: Client, this: Container) -> Container:
    """The attempt before this one of the same container. Raises NotFound."""
    from criadapt.errors import NotFound
    from criadapt.model.container import ContainerFilter

    def attempt(one: Container) -> tuple[str, int]:
        return (one.metadata.name, one.metadata.attempt) if one.metadata else ("", 0)

    name, number = attempt(this)
    same = [
        one
        for one in cri.list_containers(ContainerFilter(pod_sandbox_id=this.pod_sandbox_id))
        if attempt(one)[0] == name and attempt(one)[1] < number
    ]
    if not same:
        raise NotFound(f"container {this.id[:13]!r} has replaced none that is still there")
    return max(same, key=attempt)
