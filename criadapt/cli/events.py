"""``criadapt events``: what happens, as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from criadapt.cli.runtime import connected
from criadapt.cli.show import emit_line, format_option, metadata_name, namespace_of, short

if TYPE_CHECKING:
    from criadapt.client import Client
    from criadapt.model.runtime import ContainerEventResponse


@click.command()
@click.option("--existing", is_flag=True, help="Begin with what there is, as if it had just happened.")
@click.option("--no-trunc", "full", is_flag=True, help="Show whole ids.")
@format_option("table", "json", "yaml")
@connected
def events(cri: Client, existing: bool, full: bool, output: str) -> None:
    """Show what happens to containers and pods, each thing once, until Ctrl-C.

    A runtime that restarts is waited for, and what was missed is told. -o json prints an object a line.
    """
    for event in cri.events(existing=existing):
        if output == "table":
            click.echo(_line(event, full))
        else:
            emit_line(event, output)


def _line(event: ContainerEventResponse, full: bool) -> str:
    """Time, what happened, to what, its id and its name, below each other."""
    from criadapt.logs.format import timestamp

    pod = event.pod_sandbox_status
    is_pod = pod is not None and pod.id == event.container_id
    name = f"{namespace_of(pod)}/{metadata_name(pod)}" if pod is not None else ""
    status = next((one for one in event.containers_statuses if one.id == event.container_id), None)
    if status is not None:
        name += f"/{metadata_name(status)}"
    what = event.container_event_type.name.lower()
    kind = "pod" if is_pod else "container"
    return f"{timestamp(event.created_at)}  {what:<7}  {kind:<9}  {short(event.container_id, full)}  {name}".rstrip()
