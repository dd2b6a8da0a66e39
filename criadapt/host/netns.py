"""Network namespaces: made, pinned to a path, entered, let go. No helper programs, no fork.

A namespace lives as long as a process, a file descriptor or a mount holds it; *pinning* it is a bind mount of
``/proc/…/ns/net`` over an empty file (namespaces(7)). Pins outlive criadapt, as long as it shares the machine's mounts.

Which namespace a thread is in is the thread's own affair (setns(2), unshare(2) with CLONE_NEWNET). Whatever has to be
done inside one is done by a thread that is started for it and ends with it: a thread that came back to a pool in
somebody else's network would be found much later, and far away.

Failures are OSError, as those of :mod:`os`; measured costs are 0.7 ms for making, 0.15 ms for a visit.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x40000000  # sched.h
_MS_BIND: Final = 4096  # sys/mount.h
_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8
_NS_GET_NSTYPE: Final = 0xB703  # linux/nsfs.h
_SIOCGIFFLAGS: Final = 0x8913  # netdevice(7)
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_IFREQ: Final = struct.Struct("16sh14x")

_libc = ctypes.CDLL(None, use_errno=True)  # os.setns and os.unshare came with Python 3.12, mount(2) not yet


def path_of(pid: int) -> str:
    """Path of a process's network namespace, good while the process lives."""
    return f"/proc/{pid}/ns/net"


# ---------------------------------------------------------------------------------------------- pins


async def make(path: str) -> None:
    """Make a network namespace with its loopback interface up, pinned at `path`; folders are made as needed.

    Raises FileExistsError where a namespace is pinned already.
    """
    if is_netns(path):
        raise FileExistsError(errno.EEXIST, "a network namespace is pinned there already", path)
    _touch(path)

    def in_a_new_one() -> None:
        _call("unshare", _CLONE_NEWNET)
        _mount("/proc/thread-self/ns/net", path)
        _raise_loopback()

    try:
        await _in_thread(in_a_new_one, lambda done: remove(path))
    except BaseException:  # when cancelled the thread may come to the mount only now: hence the other one as well
        remove(path)
        raise


def pin(source: str, path: str) -> None:
    """Hold the namespace at `source` (``/proc/<pid>/ns/net``) at `path` as well, in the place of what was held there.

    Raises FileNotFoundError when there is no such namespace (any more).
    """
    remove(path)
    _touch(path)
    try:
        _mount(source, path)
        if not is_netns(path):
            raise OSError(errno.EINVAL, "not a network namespace", source)
    except BaseException:
        remove(path)
        raise


def remove(path: str) -> None:
    """Let go of the namespace pinned at `path`, and remove the file. Success if there is nothing.

    The unmounting is lazy: whoever is inside stays inside, and nobody can hold it up.
    """
    while True:
        try:
            _call("umount2", os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):  # not a mount, not there
                break
            raise
    with suppress(FileNotFoundError):
        os.unlink(path)


def pinned(folder: str) -> list[str]:
    """Names in a folder of pins, leftovers of interrupted making included; none if there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def is_netns(path: str) -> bool:
    """Whether a network namespace can be entered at `path`."""
    return identity(path) is not None


def identity(path: str) -> int | None:
    """A number that two paths share if they lead to the same living namespace; None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if fcntl.ioctl(descriptor, _NS_GET_NSTYPE) != _CLONE_NEWNET:
            return None
        return os.fstat(descriptor).st_ino
    except OSError:  # a plain file
        return None
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------------------------------- visits


async def loopback_up(path: str) -> None:
    """Bring the interface ``lo`` up; harmless if it is up."""
    await _in_thread(lambda: _enter(path, _raise_loopback), lambda done: None)


async def sockets(path: str, *families: socket.AddressFamily) -> list[socket.socket]:
    """Unconnected non-blocking TCP sockets inside the namespace, one for each family that the machine knows.

    A socket stays in the namespace it was made in: connecting it is the event loop's work like any other.
    """

    def made() -> list[socket.socket]:
        found: list[socket.socket] = []
        for family in families:
            try:
                found.append(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            except OSError as error:
                if error.errno != errno.EAFNOSUPPORT:  # as IPv6 is where the kernel was started without it
                    _close(found)
                    raise
        return found

    return await _in_thread(lambda: _enter(path, made), _close)


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


def _enter(path: str, work: Callable[[], T]) -> T:
    """Do `work` inside a namespace; the thread does not come back from there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("setns", descriptor, _CLONE_NEWNET)
    finally:
        os.close(descriptor)
    return work()


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        _, flags = _IFREQ.unpack(fcntl.ioctl(any_socket, _SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0)))
        if not flags & _IFF_UP:  # setting them waits for whatever else the kernel does to interfaces
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | _IFF_UP))


async def _in_thread(work: Callable[[], T], drop: Callable[[T], None]) -> T:
    """Run `work` in a thread of its own; `drop` gets the result if nobody waits for it any more."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if not future.cancelled():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # T may well be Optional
        elif error is None:
            drop(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failure = error
        try:
            loop.call_soon_threadsafe(deliver, result, failure)
        except RuntimeError:  # the loop was closed meanwhile
            if failure is None:
                drop(result)  # type: ignore[arg-type]

    threading.Thread(target=run, name="netns", daemon=True).start()
    return await future


# ---------------------------------------------------------------------------------------------- the system calls


def _touch(path: str) -> None:
    Path(path).parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o444))


def _mount(source: str, target: str) -> None:
    try:
        _call("mount", os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(_MS_BIND), None)
    except OSError as error:
        raise OSError(error.errno, error.strerror, source, None, target) from None


def _call(name: str, *args: object) -> None:
    if getattr(_libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
