"""Checkpoints: a program of the mock is known by what was started and for how long it ran, and no more is saved."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec

from criadapt.backends.base import ContainerSpec
from criadapt.errors import CriadaptError, InvalidArgument, PermissionDenied, ResourceExhausted

_FORMAT = "criadapt-mock-checkpoint-1"


class Checkpoint(msgspec.Struct, frozen=True):
    """What the file holds."""

    format: str
    spec: ContainerSpec
    elapsed_ns: int
    taken_at: int


_DECODER = msgspec.json.Decoder(Checkpoint)


def write(path: Path, spec: ContainerSpec, *, elapsed_ns: int, taken_at: int) -> None:
    """Write the file, readable by its owner only; nothing is left of a failure, and a file there before stays."""
    body = msgspec.json.encode(Checkpoint(_FORMAT, spec, elapsed_ns, taken_at))
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(body)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        kind: type[CriadaptError] = PermissionDenied if isinstance(error, PermissionError) else ResourceExhausted
        if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            kind = InvalidArgument
        raise kind(f"cannot write the checkpoint {str(path)!r}: {error.strerror}") from error


def read(path: str) -> Checkpoint:
    """What was saved. Raises InvalidArgument when the file is not a checkpoint of the mock."""
    try:
        body = Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"cannot read the checkpoint {path!r}: {error.strerror}") from error
    try:
        found = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path!r} is not a checkpoint of the mock backend: {error}") from error
    if found.format != _FORMAT or found.elapsed_ns < 0:
        raise InvalidArgument(f"{path!r} is not a checkpoint that this version of the mock backend can read")
    return found


def resumed(spec: ContainerSpec, saved: Checkpoint) -> ContainerSpec:
    """`spec` with the program that was saved: what runs on is the old process, in the new container's surroundings."""
    old = saved.spec
    return replace(
        spec,
        args=old.args,
        env=old.env,
        cwd=old.cwd,
        user=old.user,
        tty=old.tty,
        stdin=old.stdin,
        checkpoint="",
    )
