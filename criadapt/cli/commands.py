"""``criadapt exec`` and ``attach``: a process in a container, from here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import click

from criadapt.cli.runtime import complete_container, connected, transport_option

if TYPE_CHECKING:
    from criadapt.client import Client

Transport = Literal["spdy", "websocket"]


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("container", shell_complete=complete_container)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-i", "--stdin", is_flag=True, help="Pass stdin on to the command.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@transport_option
@connected
def exec_command(
    cri: Client, container: str, command: Sequence[str], stdin: bool, tty: bool, transport: Transport
) -> None:
    """Run a command in a running container, and end with its exit code: 128+n for a death by signal n.

    Options go before CONTAINER; what follows it is the command's. Ctrl-C cuts the connection, upon which most runtimes
    end the command; with -it it is a key like any other.
    """
    from criadapt.cli.terminal import carry, end_with

    words = command[1:] if command[0] == "--" else command
    if not words:
        raise click.UsageError("Missing argument 'COMMAND...'.")
    found = cri.container(container)
    with cri.exec(found.id, words, stdin=stdin, tty=tty, transport=transport) as process:
        code = carry(process, terminal=tty)
    end_with(code)


@click.command()
@click.argument("container", shell_complete=complete_container)
@click.option("-i", "--stdin", is_flag=True, help="Pass stdin on to the container.")
@click.option(
    "-t/-T",
    "--tty/--no-tty",
    default=None,
    help="Whether the container has a terminal; without it the runtime is asked, which not all can tell.",
)
@transport_option
@connected
def attach(cri: Client, container: str, stdin: bool, tty: bool | None, transport: Transport) -> None:
    """See what a running container writes from now on, and with -i talk to it.

    Ends with 0 when the container ends, or with Ctrl-P Ctrl-Q where it has a terminal.
    """
    attached(cri, cri.container(container).id, stdin=stdin, tty=tty, transport=transport)


def attached(
    cri: Client, id: str, *, stdin: bool, tty: bool | None, transport: Transport = "spdy", detach: bool = True
) -> None:
    """Be attached until the container has ended, or its user has pressed the detach keys if there are any."""
    from criadapt.cli.terminal import carry

    terminal = _has_terminal(cri, id) if tty is None else tty
    with cri.attach(id, stdin=stdin, tty=terminal, transport=transport) as process:
        carry(process, terminal=terminal, detach=detach and terminal and stdin)


def _has_terminal(cri: Client, id: str) -> bool:
    """Whether a container has a terminal, as far as the runtime tells."""
    details = cri.details(id)
    process = details.spec.get("process")
    inner = details.info.get("info")
    config = inner.get("config") if isinstance(inner, dict) else None
    return any(
        isinstance(part, dict) and part.get(name) is True for part, name in ((process, "terminal"), (config, "tty"))
    )
