"""What somebody means by a name or an id that may be a container's, a pod's or an image's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal

import click

from criadapt.cli.runtime import only_one
from criadapt.errors import CriadaptError, InvalidArgument, NotFound

if TYPE_CHECKING:
    from criadapt.client import Client

Kind = Literal["container", "pod", "image"]
Command = Callable[..., Any]

_FLAGS: dict[Kind, str] = {"container": "-c", "pod": "-p", "image": "-i"}


@dataclass(frozen=True, slots=True)
class Thing:
    """One that was found."""

    kind: Kind
    id: str


def kind_options(*kinds: Kind) -> Callable[[Command], Command]:
    """A flag for each kind, to say which one is meant; as one argument `kind`, None without."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(*args: Any, **given: Any) -> Any:
            chosen = only_one({_FLAGS[kind]: given.pop(f"is_{kind}") for kind in kinds})
            kind = next((kind for kind in kinds if _FLAGS[kind] == chosen), None)
            return command(*args, kind=kind, **given)

        for kind in reversed(kinds):
            flag = click.option(
                _FLAGS[kind], f"--{kind}", f"is_{kind}", is_flag=True, help=f"What is named is {_A[kind]}."
            )
            run = flag(run)
        return run

    return decorate


_A: dict[Kind, str] = {"container": "a container", "pod": "a pod", "image": "an image"}


def find(cri: Client, ref: str, kind: Kind | None, among: Sequence[Kind]) -> Thing:
    """The one that is meant; an image only if there is no container or pod. Raises NotFound and InvalidArgument."""
    wanted = [kind] if kind is not None else list(among)
    found: list[Thing] = []
    failures: list[CriadaptError] = []
    for each in wanted:
        if each == "image" and found:
            continue
        try:
            found.append(Thing(each, _id(cri, ref, each)))
        except (NotFound, InvalidArgument) as error:
            failures.append(error)
    if len(found) == 1 and not any(isinstance(error, InvalidArgument) for error in failures):
        return found[0]
    if len(found) > 1:
        names = " and ".join(f"{_A[thing.kind]} ({thing.id[:13]})" for thing in found)
        flags = " or ".join(_FLAGS[thing.kind] for thing in found)
        raise InvalidArgument(f"{ref!r} is {names}; say {flags}")
    ambiguous = [error for error in failures if isinstance(error, InvalidArgument)]
    if ambiguous or len(wanted) == 1:
        raise (ambiguous or failures)[0]
    raise NotFound(f"no {' or '.join(wanted)} has the name or id {ref!r}")


def _id(cri: Client, ref: str, kind: Kind) -> str:
    if kind == "container":
        return cri.container(ref).id
    if kind == "pod":
        return cri.pod(ref).id
    try:
        image = cri.image_status(ref).image
    except InvalidArgument:  # what is no name of an image is not there
        image = None
    if image is None:
        raise NotFound(f"no image has the name or id {ref!r}")
    return image.id
