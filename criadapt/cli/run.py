"""``criadapt run``: a pod from a few words, or the pods of a manifest."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from criadapt.cli.credentials import credentials_options
from criadapt.cli.runtime import complete_image, connected, label_option

if TYPE_CHECKING:
    from criadapt.client import Client
    from criadapt.client.manifest import PodPlan
    from criadapt.client.manifest.plan import PullPolicy
    from criadapt.client.registries import Auth
    from criadapt.model.container import Mount

_WITHOUT_FILE = ("name", "pod_name", "namespace", "env", "mounts", "labels", "entrypoint", "runtime_handler")
"""Options that say what a manifest says."""


def _environment(ctx: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE, or KEY for the value that it has here."""
    found = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not key or (not equals and key not in os.environ):
            raise click.BadParameter(f"expected KEY=VALUE, or the name of a variable, got {key!r}", ctx, parameter)
        found[key] = text if equals else os.environ[key]
    return found


def _mounts(ctx: click.Context, parameter: click.Parameter, values: Sequence[str]) -> tuple[Mount, ...]:
    """SOURCE:TARGET or SOURCE:TARGET:ro."""
    found = []
    for value in values:
        source, _, rest = value.partition(":")
        target, _, mode = rest.partition(":")
        if not source or not target.startswith("/") or mode not in ("", "ro", "rw"):
            raise click.BadParameter(f"expected /host/path:/container/path or …:ro, got {value!r}", ctx, parameter)
        from criadapt.model.container import Mount

        found.append(Mount(host_path=str(Path(source).absolute()), container_path=target, readonly=mode == "ro"))
    return tuple(found)


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("image", required=False, shell_complete=complete_image)
@click.argument("args", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
@click.option("-f", "--file", metavar="FILE", help="A manifest to play instead of an image; - for stdin.")
@click.option("-d", "--detach", is_flag=True, help="Leave the pods running, and print their ids.")
@click.option("-i", "--stdin", is_flag=True, help="Pass stdin on to the container.")
@click.option("-t", "--tty", is_flag=True, help="Give the container a terminal.")
@click.option("--rm/--keep", "remove", default=None, help="Whether pods are removed at the end; so it is, but with -d.")
@click.option("--pod-name", metavar="NAME", help="Name of the pod; made of the image's without.")
@click.option("--name", metavar="NAME", help="Name of the container.  [default: app]")
@click.option("-n", "--namespace", metavar="NAME", help="Namespace of the pod.  [default: default]")
@click.option(
    "-e", "--env", metavar="KEY[=VALUE]", multiple=True, callback=_environment, help="Set a variable; may be repeated."
)
@click.option(
    "--mount",
    "mounts",
    metavar="SOURCE:TARGET[:ro]",
    multiple=True,
    callback=_mounts,
    help="Show the container a file or folder of the host; may be repeated.",
)
@label_option("Label of the pod; may be repeated.")
@click.option("--entrypoint", metavar="PROGRAM", help="Run this rather than the image's entrypoint.")
@click.option("--runtime-handler", metavar="NAME", help="Runtime handler of the pod.")
@click.option("--pull", type=click.Choice(("missing", "always", "never")), help="When to pull images.")
@click.option("--log-dir", metavar="DIR", help="Where logs go, to stay; by default they go with the pod.")
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.IntRange(min=0),
    help="How long containers get to end by themselves.  [default: what the manifest says, 5 without one]",
)
@credentials_options
@connected
def run(
    cri: Client,
    image: str | None,
    args: Sequence[str],
    file: str | None,
    detach: bool,
    stdin: bool,
    tty: bool,
    remove: bool | None,
    pull: PullPolicy | None,
    log_dir: str | None,
    grace: int | None,
    auth: Auth,
    **about: Any,
) -> None:
    """Run a pod of one container, or with -f the pods of a manifest, and see what they write.

    IMAGE's container gets COMMAND as its arguments, and this command ends with its exit code. Options go before IMAGE.

    A manifest may have Pods, Deployments and other workloads with their replicas, ConfigMaps and Secrets. Each line
    begins with its container's name; Ctrl-C stops and removes all. Nothing is restarted. What has no effect is told.

    A pod that stays keeps its volumes and logs in a folder criadapt-pod-… of the temporary files, which `rm` leaves.
    """
    if (file is None) == (image is None):
        raise click.UsageError("name an image, or a manifest with -f; not both")
    if detach and remove:
        raise click.UsageError("--rm cannot be done with -d: nobody is there to see the end; use `criadapt rm -f`")
    if file is not None and (stdin or tty):
        raise click.UsageError("-i and -t are for an image; a manifest has stdin and tty, and `criadapt attach` serves")
    from criadapt.cli.play import Wishes, detached, foreground, in_front

    plans = (
        _plans(file, about)
        if file is not None
        else [_plan(image or "", args, about, stdin=stdin, stdin_once=stdin and not detach, tty=tty)]
    )
    for note in dict.fromkeys(f"{plan.name}: {note}" for plan in plans for note in plan.notes):
        click.echo(f"criadapt: {note}", err=True)
    wishes = Wishes(pull=pull, auth=auth, log_directory=log_dir, grace=grace, keep=detach or remove is False)
    if detach:
        detached(cri, plans, wishes)
        return
    code = foreground(cri, plans, wishes) if file is not None else in_front(cri, plans[0], wishes)
    from criadapt.cli.terminal import end_with

    end_with(code)


def _plans(file: str, about: Mapping[str, Any]) -> Sequence[PodPlan]:
    """The pods of a manifest."""
    given = [f"--{name.rstrip('s').replace('_', '-')}" for name in _WITHOUT_FILE if about[name]]
    if given:
        raise click.UsageError(f"a manifest says all about its pods; {', '.join(given)} cannot be given with -f")
    from criadapt.client.manifest import read_manifest

    return read_manifest(f"{sys.stdin.read()}\n" if file == "-" else Path(file))


def _plan(image: str, args: Sequence[str], about: Mapping[str, Any], **streams: bool) -> PodPlan:
    """The pod of an image."""
    from criadapt.client.manifest.simple import CONTAINER, simple_plan

    return simple_plan(
        image,
        command=(about["entrypoint"],) if about["entrypoint"] else (),
        args=args[1:] if args[:1] == ("--",) else args,
        env=about["env"],
        name=about["pod_name"],
        namespace=about["namespace"] or "default",
        labels=about["labels"],
        mounts=about["mounts"],
        runtime_handler=about["runtime_handler"] or "",
        container=about["name"] or CONTAINER,
        **streams,
    )
