"""Pods that run for as long as this command does, or longer."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from criadapt.cli.commands import attached
from criadapt.cli.logs import write
from criadapt.cli.main import INTERRUPTED
from criadapt.cli.terminal import ending_well, feed
from criadapt.client.sync import io
from criadapt.errors import CriadaptError, FailedPrecondition

if TYPE_CHECKING:
    from criadapt.client import Client
    from criadapt.client.manifest import PodPlan
    from criadapt.client.manifest.plan import PullPolicy
    from criadapt.client.registries import Auth
    from criadapt.client.sync.pods import Pod

ENDS = (signal.SIGTERM, signal.SIGHUP)
"""Whoever ends this process so wants its pods gone, too."""

COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How pods are to be played."""

    pull: PullPolicy | None
    auth: Auth
    log_directory: str | None
    grace: int | None
    keep: bool
    """Whether they stay when this command ends."""


def detached(cri: Client, plans: Sequence[PodPlan], wishes: Wishes) -> None:
    """Start pods and print their ids. If one cannot be started, none of them stays."""
    with _played(cri, plans, wishes) as pods:
        for pod in pods:
            click.echo(pod.id)


def in_front(cri: Client, plan: PodPlan, wishes: Wishes) -> int:
    """Run a pod of one container as if it ran here; returns its exit code."""
    (container,) = plan.containers
    with ending_well(*ENDS), _played(cri, [plan], wishes) as (pod,):
        id = pod.containers[container.name]
        try:
            if not (container.config.tty and container.config.stdin and _attached(cri, id)):
                # Its log has what it wrote before anybody could be attached.
                if container.config.stdin:
                    io.spawn(_feed, cri, id)
                for line in cri.logs(id, follow=True):
                    write(line, flush=True)
            return pod.wait()[container.name]
        except KeyboardInterrupt:
            if not wishes.keep:
                _stop_all(cri, [pod], wishes)
            return INTERRUPTED


def foreground(cri: Client, plans: Sequence[PodPlan], wishes: Wishes) -> int:
    """Run pods and show what they write, until they have ended or Ctrl-C; returns 1 if one has failed."""
    with ending_well(*ENDS), _played(cri, plans, wishes) as pods:
        sidecars = {one.name for plan in plans for one in plan.init_containers if one.sidecar}
        following = [task for name, task in _following(cri, pods) if name not in sidecars]
        try:
            waiting = [io.spawn(pod.wait) for pod in pods]
            _all([*following, *waiting])
        except KeyboardInterrupt:
            if not wishes.keep:
                click.echo("criadapt: stopping; Ctrl-C again does not wait", err=True)
                _stop_all(cri, pods, wishes)
                _all(following)
            return 0
        failed = 0
        for pod, ended in zip(pods, waiting, strict=True):
            for name, code in ended.result().items():
                if code:
                    failed = 1
                    click.echo(f"criadapt: container {pod.name}/{name} ended with exit code {code}", err=True)
        return failed


@contextmanager
def _played(cri: Client, plans: Sequence[PodPlan], wishes: Wishes) -> Iterator[list[Pod]]:
    """All pods, for as long as the block lasts unless they are to stay."""
    pods: list[Pod] = []
    with ExitStack() as stack:
        try:
            for plan in plans:
                with _telling(f"Starting {plan.namespace}/{plan.name}"):
                    running = cri.run_pod(
                        plan,
                        log_directory=_logs(plan, wishes.log_directory, len(plans)),
                        pull=wishes.pull,
                        auth=wishes.auth,
                        keep=wishes.keep,
                        grace=wishes.grace,
                    )
                    pods.append(stack.enter_context(running))
        except BaseException:
            if wishes.keep:
                for pod in pods:
                    _discard(cri, pod)
            raise
        yield pods


def _logs(plan: PodPlan, directory: str | None, pods: int) -> Path | None:
    """Where a pod's logs go: of several each has a folder, named as kubelet names it."""
    if directory is None:
        return None
    return Path(directory) if pods == 1 else Path(directory, f"{plan.namespace}_{plan.name}_{plan.uid}")


def _telling(what: str) -> AbstractContextManager[object]:
    """Says on a terminal what takes so long."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(what)


def _attached(cri: Client, id: str) -> bool:
    """Be attached to a terminal until the container ends; False if it had ended before."""
    try:
        attached(cri, id, stdin=True, tty=True, detach=False)
    except FailedPrecondition:
        return False
    return True


def _feed(cri: Client, id: str) -> None:
    """Pass this process's stdin on to a container."""
    with suppress(CriadaptError), cri.attach(id, stdin=True, stdout=False, stderr=False) as process:
        if process.stdin is not None:
            feed(process.stdin)
        process.wait()


def _following(cri: Client, pods: Sequence[Pod]) -> list[tuple[str, Future[None]]]:
    """Show what all containers write, each by its own task; returns those, by the names of containers."""
    each = [(pod, name, id) for pod in pods for name, id in pod.containers.items()]
    width = max(len(f"{pod.name}/{name}") for pod, name, _ in each)
    lock = threading.Lock()

    def follow(id: str, prefix: bytes) -> None:
        for line in cri.logs(id, follow=True):
            with lock:
                write(line, flush=True, prefix=prefix)

    found = []
    for number, (pod, name, id) in enumerate(each):
        prefix = f"{pod.name}/{name}".ljust(width) + " | "
        if sys.stdout.isatty():
            prefix = click.style(prefix, fg=COLOURS[number % len(COLOURS)])
        found.append((name, io.spawn(follow, id, prefix.encode())))
    return found


def _all(tasks: Sequence[Future[Any]]) -> None:
    """Wait until all have ended, or one has failed, which is raised."""
    for task in wait(tasks, return_when=FIRST_EXCEPTION).done:
        task.result()


def _stop_all(cri: Client, pods: Sequence[Pod], wishes: Wishes) -> None:
    """Stop pods side by side."""
    _all([io.spawn(pod.stop, wishes.grace) for pod in pods])


def _discard(cri: Client, pod: Pod) -> None:
    with suppress(CriadaptError):
        cri.stop_pod_sandbox(pod.id)
        cri.remove_pod_sandbox(pod.id)
    shutil.rmtree(pod.folder, ignore_errors=True)
