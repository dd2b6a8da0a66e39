"""``criadapt pods``, ``ps`` and ``images``: what there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

import click

from criadapt.cli.runtime import complete_image, complete_pod, connected, label_option
from criadapt.cli.show import age, amount, emit, list_options, metadata_name, namespace_of, short, table

if TYPE_CHECKING:
    from criadapt.client import Client
    from criadapt.model.container import Container
    from criadapt.model.image import Image
    from criadapt.model.sandbox import PodSandbox

R = TypeVar("R", "PodSandbox", "Container")


@click.command()
@click.option(
    "--name", metavar="GLOB", help="Those whose name is like this, such as 'web-*'.", shell_complete=complete_pod
)
@click.option("-n", "--namespace", metavar="GLOB", help="Those in such a namespace.")
@click.option("--state", type=click.Choice(("ready", "notready")), help="Those in this state; all without it.")
@label_option("Those with this label; may be repeated.")
@list_options
@connected
def pods(
    cri: Client,
    name: str | None,
    namespace: str | None,
    state: str | None,
    labels: Mapping[str, str],
    output: str,
    quiet: bool,
    full: bool,
) -> None:
    """List pods, the latest first."""
    ready = None if state is None else state == "ready"
    found = _latest_first(cri.pods(name=name, namespace=namespace, labels=labels, ready=ready))
    header = ("POD ID", "AGE", "STATE", "NAME", "NAMESPACE", "ATTEMPT", "RUNTIME")
    _show(found, output, quiet, header, (_pod_row(pod, full) for pod in found))


def _pod_row(pod: PodSandbox, full: bool) -> Sequence[str]:
    attempt = str(pod.metadata.attempt) if pod.metadata else ""
    what = (pod.state.name.lower(), metadata_name(pod), namespace_of(pod))
    return short(pod.id, full), age(pod.created_at), *what, attempt, pod.runtime_handler or "(default)"


@click.command()
@click.option("-a", "--all", "all_states", is_flag=True, help="Not only those that run.")
@click.option("--name", metavar="GLOB", help="Those whose name is like this, such as 'app*'.")
@click.option(
    "-p",
    "--pod",
    metavar="POD",
    help="Those in such a pod: a name, which may be a glob, or the beginning of an id.",
    shell_complete=complete_pod,
)
@click.option("-n", "--namespace", metavar="GLOB", help="Those in pods of such a namespace.")
@click.option("--image", metavar="IMAGE", help="Those of this image.", shell_complete=complete_image)
@click.option(
    "--state",
    type=click.Choice(("created", "running", "exited", "unknown")),
    help="Those in this state, rather than those that run.",
)
@label_option("Those with this label of their own; may be repeated.")
@list_options
@connected
def ps(
    cri: Client,
    all_states: bool,
    name: str | None,
    pod: str | None,
    namespace: str | None,
    image: str | None,
    state: str | None,
    labels: Mapping[str, str],
    output: str,
    quiet: bool,
    full: bool,
) -> None:
    """List containers, the latest first."""
    if state is None and not all_states:
        state = "running"
    running = {"running": True, None: None}.get(state, False)
    known = {one.id: one for one in cri.list_pod_sandbox()}
    found = _latest_first(
        one
        for one in cri.containers(name=name, namespace=namespace, labels=labels, running=running, image=image)
        if state in (None, one.state.name.lower())
        and (pod is None or is_meant(one.pod_sandbox_id, known.get(one.pod_sandbox_id), pod))
    )
    header = ("CONTAINER ID", "IMAGE", "AGE", "STATE", "NAME", "ATTEMPT", "POD ID", "POD", "NAMESPACE")
    rows = (_container_row(one, known.get(one.pod_sandbox_id), full) for one in found)
    _show(found, output, quiet, header, rows)


def is_meant(id: str, pod: PodSandbox | None, wanted: str) -> bool:
    """Whether a pod has such a name, or an id that begins so."""
    return id.startswith(wanted) or fnmatchcase(metadata_name(pod), wanted)


def _container_row(container: Container, pod: PodSandbox | None, full: bool) -> Sequence[str]:
    spec = container.image
    image = (spec.user_specified_image or spec.image) if spec else container.image_ref
    if image.startswith("sha256:"):
        image = short(image, full)
    attempt = str(container.metadata.attempt) if container.metadata else ""
    what = (container.state.name.lower(), metadata_name(container), attempt)
    where = (short(container.pod_sandbox_id, full), metadata_name(pod), namespace_of(pod))
    return short(container.id, full), image, age(container.created_at), *what, *where


@click.command()
@click.argument("name", required=False, shell_complete=complete_image)
@click.option("--digests", is_flag=True, help="Show digests, too.")
@list_options
@connected
def images(cri: Client, name: str | None, digests: bool, output: str, quiet: bool, full: bool) -> None:
    """List images that are present: all, or those with this NAME, which may be a glob over whole names and tags."""
    found = [image for image in cri.list_images() if name is None or _is_called(image, name)]
    header = ("IMAGE", "TAG", *(["DIGEST"] if digests else []), "IMAGE ID", "SIZE")
    rows = [row for image in found for row in _image_rows(image, digests, full)]
    _show(found, output, quiet, header, sorted(rows, key=tuple))


def _is_called(image: Image, wanted: str) -> bool:
    """Whether an image has such a name, with or without its tag, as people write it or in full."""
    full = {*image.repo_tags, *image.repo_digests}
    full |= {tag.rpartition(":")[0] for tag in image.repo_tags}
    usual = {name.removeprefix("docker.io/").removeprefix("library/") for name in full}
    bare = image.id.removeprefix("sha256:")
    return any(fnmatchcase(name, wanted) for name in full | usual) or (
        len(wanted) > 1 and (bare.startswith(wanted) or image.id.startswith(wanted))
    )


def _image_rows(image: Image, digests: bool, full: bool) -> Iterable[Sequence[str]]:
    by_name = {name: digest for name, _, digest in (each.partition("@") for each in image.repo_digests)}
    names = [(name, tag) for name, _, tag in (each.rpartition(":") for each in image.repo_tags)]
    for name, tag in names or [(name, "<none>") for name in by_name] or [("<none>", "<none>")]:
        digest = by_name.get(name, "<none>")
        shown = [digest if full else digest.removeprefix("sha256:")[:13]] if digests else []
        yield name, tag, *shown, short(image.id, full), amount(image.size)


def _latest_first(found: Iterable[R]) -> list[R]:
    return sorted(found, key=lambda one: -one.created_at)


def _show(
    found: Sequence[PodSandbox | Container | Image],
    output: str,
    quiet: bool,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> None:
    if quiet:
        for one in found:
            click.echo(one.id)
    elif output == "table":
        table(header, rows)
    else:
        emit(found, output)
