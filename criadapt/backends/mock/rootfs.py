"""Files that images come with: /etc of a few distributions, and accounts that families add to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class User(NamedTuple):
    """An account; a group of the same name goes with it when `gid` has none yet."""

    name: str
    uid: int
    gid: int
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"
    groups: tuple[tuple[str, int], ...] = ()
    """Further groups, name and gid, that list the account as a member."""


_ROOT = User("root", 0, 0, "/root", "/bin/sh")
_DAEMON = User("daemon", 1, 1, "/usr/sbin")
_BIN = User("bin", 2, 2, "/bin")
_NOBODY = User("nobody", 65534, 65534)


class Base(NamedTuple):
    """Where a family starts from; `release` fills /etc/os-release."""

    users: tuple[User, ...] = ()
    groups: tuple[tuple[str, int], ...] = ()
    release: tuple[tuple[str, str], ...] = ()


_DEBIAN_GROUPS = (("tty", 5), ("disk", 6), ("mail", 8), ("www-data", 33), ("users", 100), ("nogroup", 65534))
_WWW_DATA = User("www-data", 33, 33, "/var/www")
BASES = {
    "scratch": Base(),
    "busybox": Base(
        (_ROOT, _DAEMON, _BIN, User("www-data", 33, 33, "/var/www"), User("nobody", 65534, 65534, "/home")),
        (("users", 100),),
    ),
    "alpine": Base(
        (User("root", 0, 0, "/root", "/bin/ash"), _BIN, User("daemon", 2, 2, "/sbin"), _NOBODY),
        (("tty", 5), ("www-data", 82), ("users", 100)),
        (("NAME", "Alpine Linux"), ("ID", "alpine"), ("VERSION_ID", "3.22.1"), ("PRETTY_NAME", "Alpine Linux v3.22")),
    ),
    "debian": Base(
        (_ROOT, _DAEMON, _BIN, User("mail", 8, 8, "/var/mail"), _WWW_DATA, _NOBODY),
        _DEBIAN_GROUPS,
        (("NAME", "Debian GNU/Linux"), ("ID", "debian"), ("VERSION_ID", "12"), ("VERSION_CODENAME", "bookworm"),
         ("PRETTY_NAME", "Debian GNU/Linux 12 (bookworm)")),
    ),
    "ubuntu": Base(
        (_ROOT, _DAEMON, _BIN, _WWW_DATA, _NOBODY, User("ubuntu", 1000, 1000, "/home/ubuntu", "/bin/bash")),
        _DEBIAN_GROUPS,
        (("NAME", "Ubuntu"), ("ID", "ubuntu"), ("ID_LIKE", "debian"), ("VERSION_ID", "24.04"),
         ("PRETTY_NAME", "Ubuntu 24.04.2 LTS")),
    ),
}  # fmt: skip


def rootfs(base: str, users: Sequence[User] = ()) -> dict[str, bytes]:
    """Files of a base with further accounts."""
    start = BASES[base]
    accounts = {user.name: user for user in (*start.users, *users)}
    if not accounts:
        return {}
    files = {"/etc/passwd": _passwd(accounts.values()), "/etc/group": _group(accounts.values(), start.groups)}
    if start.release:
        files["/etc/os-release"] = _lines(f'{key}="{value}"' for key, value in start.release)
    return files


def _passwd(users: Iterable[User]) -> bytes:
    return _lines(f"{user.name}:x:{user.uid}:{user.gid}::{user.home}:{user.shell}" for user in users)


def _group(users: Iterable[User], groups: Iterable[tuple[str, int]]) -> bytes:
    gids = dict(groups)
    members: dict[str, list[str]] = {}
    for user in users:
        if user.gid not in gids.values():
            gids[user.name] = user.gid
        for name, gid in user.groups:
            gids[name] = gid
            members.setdefault(name, []).append(user.name)
    ordered = sorted(gids.items(), key=lambda item: item[1])
    return _lines(f"{name}:x:{gid}:{','.join(members.get(name, ()))}" for name, gid in ordered)


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
