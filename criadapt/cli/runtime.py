"""What the commands have in common that work with a runtime: where it is, and what of it is meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]
Command = Callable[..., Any]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def duration(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A callback for options that take seconds, written as ``90``, ``1.5s``, ``5m`` or ``1h30m``."""
    try:
        return None if value is None else seconds_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, parameter) from error


def seconds_of(text: str) -> float:
    """Seconds of a duration. Raises ValueError."""
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    if not _DURATION.fullmatch(text):
        raise ValueError(f"expected a duration such as 90s, 5m or 1h30m, got {text!r}")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def connected(command: Command) -> Command:
    """Give a click command the options that choose a runtime, and itself a connected client as `cri`."""

    @wraps(command)
    def run(*args: Any, endpoint: str | None, timeout: float, **given: Any) -> Any:
        from criadapt.client import connect  # with gRPC and protobuf, which take their time

        with connect(endpoint, timeout=timeout) as cri:
            return command(*args, cri=cri, **given)

    run = click.option(
        "--timeout",
        metavar="DURATION",
        callback=duration,
        default="10s",
        show_default=True,
        help="How long a call may take that does not need longer by its nature.",
    )(run)
    return click.option(
        "-r",
        "--endpoint",
        metavar="ENDPOINT",
        help="The runtime: unix:///path, /path or host:port; without it CRIADAPT_ENDPOINT, then "
        "CONTAINER_RUNTIME_ENDPOINT, crictl's and kubelet's configuration, and the known sockets.",
    )(run)


def pairs(ctx: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """A callback for options that take KEY=VALUE several times."""
    found = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"expected KEY=VALUE, got {value!r}", ctx, parameter)
        found[key] = text
    return found


def label_option(help: str) -> Callable[[Command], Command]:
    """``--label KEY=VALUE``, several times, as a mapping `labels`."""
    return click.option("-l", "--label", "labels", metavar="KEY=VALUE", multiple=True, callback=pairs, help=help)


def transport_option(command: Command) -> Command:
    """``--transport``."""
    return click.option(
        "--transport",
        type=click.Choice(("spdy", "websocket")),
        default="spdy",
        show_default=True,
        help="What carries the streams; runtimes speak SPDY, criadapt and newer ones WebSocket, too.",
    )(command)


# ------------------------------------------------------------------ names on Tab


def _completer(names: Callable[[Any], Sequence[tuple[str, str]]]) -> Completer:
    """Offers `names` of a client, each with a help text, as far as a runtime tells them quickly."""

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from criadapt.client import connect

        try:
            with connect(ctx.params.get("endpoint"), timeout=1.0) as cri:
                found = dict(names(cri))
        except Exception:  # whatever is wrong, this is no place to tell
            return []
        return [CompletionItem(name, help=help) for name, help in found.items() if name.startswith(incomplete)]

    return complete


def _container_names(cri: Any) -> list[tuple[str, str]]:
    pods = {pod.id: pod for pod in cri.list_pod_sandbox()}
    found = []
    for container in cri.list_containers():
        pod = pods.get(container.pod_sandbox_id)
        if container.metadata is not None and pod is not None and pod.metadata is not None:
            found.append((f"{pod.metadata.name}/{container.metadata.name}", container.state.name.lower()))
    return found


def _pod_names(cri: Any) -> list[tuple[str, str]]:
    return [
        (pod.metadata.name, f"{pod.metadata.namespace}, {pod.state.name.lower()}")
        for pod in cri.list_pod_sandbox()
        if pod.metadata is not None
    ]


def _image_names(cri: Any) -> list[tuple[str, str]]:
    return [(tag, image.id) for image in cri.list_images() for tag in image.repo_tags]


complete_container = _completer(_container_names)
complete_pod = _completer(_pod_names)
complete_image = _completer(_image_names)
complete_any = _completer(lambda cri: [*_container_names(cri), *_pod_names(cri), *_image_names(cri)])


def only_one(given: Mapping[str, bool]) -> str:
    """The one flag that is set, empty for none. Raises a usage error for more."""
    found = [flag for flag, is_set in given.items() if is_set]
    if len(found) > 1:
        raise click.UsageError(f"{' and '.join(found)} exclude each other")
    return found[0] if found else ""
