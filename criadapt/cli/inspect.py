"""``criadapt inspect``: everything about one thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from criadapt.cli.runtime import complete_any, connected
from criadapt.cli.show import emit, format_option, plain
from criadapt.cli.which import Kind, find, kind_options

if TYPE_CHECKING:
    from criadapt.client import Client


@click.command()
@click.argument("ref", shell_complete=complete_any)
@kind_options("container", "pod", "image")
@click.option("-v", "--verbose", is_flag=True, help="Also the OCI spec, and all that the runtime says of it.")
@format_option("json", "yaml")
@connected
def inspect(cri: Client, ref: str, kind: Kind | None, verbose: bool, output: str) -> None:
    """Show a container, pod or image by its id, the beginning of its id, or its name.

    Of containers and pods that is the status, and pid, netns and cgroup, which all runtimes tell differently; null is
    what yours does not tell. With -v, values of environment variables may be among it.
    """
    thing = find(cri, ref, kind, ("container", "pod", "image"))
    found: dict[str, object] = {"kind": thing.kind}
    if thing.kind == "image":
        answer = cri.image_status(thing.id, verbose=verbose)
        found |= {"status": answer.image, "info": dict(answer.info)}
    else:
        details = cri.details(thing.id) if thing.kind == "container" else cri.pod_details(thing.id)
        found |= {"status": details.status, **plain(details)}
    if not verbose:
        found.pop("spec", None)
        found.pop("info", None)
    emit(found, output)
