"""From a command's name to the program behind it, and the environment in which it is looked for."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from criadapt.backends.base import ContainerSpec
from criadapt.backends.mock.base_tree import MAGIC, PROGRAM_DIRS
from criadapt.backends.mock.files import View
from criadapt.backends.mock.program_table import PROGRAMS, Main, Place

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HOMES = {Place.BIN: "/bin", Place.SBIN: "/usr/sbin", Place.ROOT: "/usr/local/bin"}


class CannotRun(Exception):
    """A command cannot run; `status` is 127 when there is none, 126 when it may not run."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason

    def for_runtime(self, name: str) -> str:
        """What runc says."""
        if self.status == 127:
            if "/" not in name:
                return f'exec: "{name}": executable file not found in $PATH'
            return f'exec: "{name}": stat {name}: no such file or directory'
        return f'exec: "{name}": {self.reason.lower()}'

    def for_shell(self) -> str:
        """What a shell says."""
        return "not found" if self.status == 127 else self.reason


@dataclass(frozen=True, slots=True)
class Found:
    """A program, and the words that an interpreter line puts before the arguments."""

    main: Main
    path: str
    prefix: tuple[str, ...] = ()


def search_path(spec: ContainerSpec) -> str:
    """PATH of a container's first process."""
    return next((pair.value.decode(errors="surrogateescape") for pair in spec.env if pair.key == "PATH"), DEFAULT_PATH)


def environment(spec: ContainerSpec, image: Mapping[str, bytes], hostname: str) -> dict[str, str]:
    """Environment of a container's first process: what the spec says, and what runtimes add if it does not."""
    env = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if spec.tty:
        env["TERM"] = "xterm"
    env.update((pair.key, pair.value.decode(errors="surrogateescape")) for pair in spec.env)
    if "HOME" not in env:
        env["HOME"] = _home(image, spec.user.uid)
    return env


def _home(image: Mapping[str, bytes], uid: int) -> str:
    for line in image.get("/etc/passwd", b"").decode(errors="replace").splitlines():
        fields = line.split(":")
        if len(fields) > 5 and fields[2] == str(uid):
            return fields[5]
    return "/root" if uid == 0 else "/"


def find_quickly(name: str, path: str, spec: ContainerSpec, image: Mapping[str, bytes]) -> Found | None:
    """A program that nothing in a container with untouched files can hide: saves making its files."""
    parent, slash, base = name.rpartition("/")
    covers = (*(mount.container_path for mount in spec.mounts), *spec.masked_paths)
    if base not in PROGRAMS or any("bin" in cover or cover.strip("/") in ("", "usr", base) for cover in covers):
        return None
    place = PROGRAMS[base].place
    if slash:
        known = parent.strip("/") in PROGRAM_DIRS or (not parent and place is Place.ROOT)
        return Found(PROGRAMS[base].main, name) if known and name.startswith("/") and name not in image else None
    search = path.split(":")
    if _HOMES[place] not in search or any(f"{part}/{base}" in image for part in search):
        return None
    return Found(PROGRAMS[base].main, f"{_HOMES[place]}/{base}")


def find(view: View, name: str, path: str, unknown: Literal["fail", "run"] = "fail") -> Found:
    """The program that `name` stands for, looked for along `path`. Raises CannotRun."""
    try:
        if "/" in name:
            return _load(view, name)
        return _search(view, name, path)
    except CannotRun as problem:
        if unknown == "run" and problem.reason != "Is a directory":
            return Found(PROGRAMS["app"].main, name)
        raise


def which(view: View, name: str, path: str) -> str | None:
    """Path under which find() would find `name`."""
    try:
        return find(view, name, path).path
    except CannotRun:
        return None


def _search(view: View, name: str, path: str) -> Found:
    denied: CannotRun | None = None
    alias: Found | None = None
    for directory in path.split(":"):
        candidate = posixpath.join(directory or ".", name)
        try:
            found = _load(view, candidate)
        except CannotRun as problem:
            if problem.status == 126 and problem.reason != "Is a directory":
                denied = denied or problem
            continue
        if name in PROGRAMS and directory != _HOMES[PROGRAMS[name].place] and found.main is PROGRAMS[name].main:
            alias = alias or found  # programs can be called by several paths, but are shown (and masked) at one
            continue
        return found
    if alias is not None and denied is None:
        return alias
    raise denied or CannotRun(127, "No such file or directory")


def _load(view: View, path: str) -> Found:
    try:
        node = view.stat(path)
        if node.kind == "dir":
            raise CannotRun(126, "Is a directory")
        if node.kind != "file" or not view.may(path, 1):
            raise CannotRun(126, "Permission denied")
        head = view.open(path).read(0, 256)
    except PermissionError:
        raise CannotRun(126, "Permission denied") from None
    except OSError as error:
        raise CannotRun(127, error.strerror or "No such file or directory") from None
    first = head.partition(b"\n")[0]
    if first.startswith(MAGIC):
        name = first[len(MAGIC) :].decode(errors="replace")
        if name in PROGRAMS:
            return Found(PROGRAMS[name].main, path)
        raise CannotRun(126, "Exec format error")
    if first.startswith(b"\x7fELF"):
        raise CannotRun(126, "Exec format error")
    interpreter = tuple(first[2:].decode(errors="replace").split(None, 1)) if first.startswith(b"#!") else ("/bin/sh",)
    if not interpreter or interpreter[0].rpartition("/")[2] not in PROGRAMS:
        raise CannotRun(127, "No such file or directory")
    return Found(PROGRAMS[interpreter[0].rpartition("/")[2]].main, path, (*interpreter, path))
