"""``criadapt port-forward``: ports of a pod on this machine."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from criadapt.cli.commands import Transport
from criadapt.cli.runtime import complete_pod, connected, transport_option

if TYPE_CHECKING:
    from criadapt.client import Client


@click.command("port-forward")
@click.argument("pod", shell_complete=complete_pod)
@click.argument("ports", nargs=-1, required=True)
@click.option("--address", default="127.0.0.1", show_default=True, help="Address of this machine to listen on.")
@transport_option
@connected
def port_forward(cri: Client, pod: str, ports: Sequence[str], address: str, transport: Transport) -> None:
    """Make ports of a pod reachable on this machine, until Ctrl-C.

    PORTS are 80 for the same port on both sides, 8080:80, or :80 for a free one, which is then told.
    """
    from criadapt.cli.terminal import ending_well

    logging.getLogger("criadapt.client").addHandler(_Told())
    with cri.port_forward(cri.pod(pod).id, *ports, address=address, transport=transport) as forward:
        host = f"[{address}]" if ":" in address else address
        for remote, local in forward.ports.items():
            click.echo(f"Forwarding from {host}:{local} -> {remote}")
        with suppress(KeyboardInterrupt), ending_well(signal.SIGTERM):
            threading.Event().wait()


class _Told(logging.Handler):
    """Tells of connections that failed."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        port, error = getattr(record, "port", ""), getattr(record, "error", "")
        click.echo(f"criadapt: port {port}: {error or record.getMessage()}", err=True)
