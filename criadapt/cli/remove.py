"""``criadapt stop`` and ``rm``: the end of containers, pods and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from criadapt.cli.runtime import complete_any, connected
from criadapt.cli.which import Kind, Thing, find, kind_options
from criadapt.errors import CriadaptError, FailedPrecondition

if TYPE_CHECKING:
    from criadapt.client import Client


@click.command()
@click.argument("refs", metavar="REF...", nargs=-1, required=True, shell_complete=complete_any)
@kind_options("container", "pod")
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How long containers get to end by themselves.",
)
@connected
def stop(cri: Client, refs: Sequence[str], kind: Kind | None, grace: int) -> None:
    """Stop containers and pods, which can be looked at until they are removed. A stopped pod cannot be started again.

    REF is an id, the beginning of an id, or a name. Prints the ids of those that are stopped.
    """
    _each(refs, lambda ref: _stop(cri, find(cri, ref, kind, ("container", "pod")), grace))


@click.command()
@click.argument("refs", metavar="REF...", nargs=-1, required=True, shell_complete=complete_any)
@kind_options("container", "pod", "image")
@click.option("-f", "--force", is_flag=True, help="Stop what runs, first.")
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="With --force: how long containers get to end by themselves.",
)
@connected
def rm(cri: Client, refs: Sequence[str], kind: Kind | None, force: bool, grace: int) -> None:
    """Remove containers, and pods with all their containers; with -i, images.

    REF is an id, the beginning of an id, or a name. Prints the ids of those that are removed.
    """
    _each(refs, lambda ref: _remove(cri, find(cri, ref, kind, ("container", "pod")), force, grace))


def _each(refs: Sequence[str], act: Callable[[str], str]) -> None:
    """Do it to all, whatever becomes of some; the last failure is raised, those before it are told."""
    failure: CriadaptError | None = None
    for ref in refs:
        try:
            click.echo(act(ref))
        except CriadaptError as error:
            if failure is not None:
                click.echo(f"criadapt: {failure}", err=True)
            failure = error
    if failure is not None:
        raise failure


def _stop(cri: Client, thing: Thing, grace: int) -> str:
    if thing.kind == "container":
        cri.stop_container(thing.id, grace)
    else:
        cri.stop_pod(thing.id, grace)
    return thing.id


def _remove(cri: Client, thing: Thing, force: bool, grace: int) -> str:
    if thing.kind == "image":
        cri.remove_image(thing.id)
        return thing.id
    if force:
        _stop(cri, thing, grace)
    elif _runs(cri, thing):
        raise FailedPrecondition(f"{thing.kind} {thing.id[:13]!r} runs; stop it first, or use --force")
    if thing.kind == "container":
        cri.remove_container(thing.id)
    else:
        cri.remove_pod_sandbox(thing.id)
    return thing.id


def _runs(cri: Client, thing: Thing) -> bool:
    from criadapt.model.container import ContainerState
    from criadapt.model.sandbox import PodSandboxState

    if thing.kind == "container":
        return cri.container_status(thing.id).status.state is ContainerState.RUNNING
    return cri.pod_sandbox_status(thing.id).status.state is PodSandboxState.READY
