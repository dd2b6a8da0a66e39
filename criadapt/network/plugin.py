"""CNI plugins: executables that get parameters in the environment and JSON on stdin, and answer JSON on stdout.

Facts: CNI specification, section 2. An error is an object ``{code, msg, details}`` on stdout and a status that is not
0; code 11 means "try again later", 50 and 51 that the plugin cannot take pods now.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from criadapt.errors import EngineError
from criadapt.network.config import VERSIONS

log = logging.getLogger(__name__)

Command = Literal["ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"]

TRY_AGAIN: Final = 11
UNKNOWN_VARIABLES: Final = 4  # what a plugin says to a command that it does not know

PROBE_SECONDS: Final = 5.0
"""For VERSION, which does nothing but answer."""

GRACE_SECONDS: Final = 2.0
"""For a plugin to come to its end when the caller is cancelled: one killed half way may leave what no DEL finds."""

_MAX_ANSWER = 4 << 20  # bytes of each stream; real answers have a few hundred
_DRAIN_SECONDS = 1.0  # for output after the plugin itself has ended: a daemon it left may hold the pipes forever
_REAP_SECONDS = 5.0  # for a killed plugin to be gone
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_PRIVATE = ("CRIADAPT", "CNI_", "LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_")  # beginnings of names that are not theirs


class PluginFailed(EngineError):
    """A plugin said no, or what it said could not be understood; the message is without plugin and pod."""

    def __init__(self, message: str, *, code: int = 0) -> None:
        super().__init__(message)
        self.code = code
        """What CNI calls it, 0 if the plugin gave none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a call is about; all empty for calls that are about no pod. `netns` is empty when it is gone."""

    id: str = ""
    netns: str = ""
    ifname: str = ""
    args: str = ""
    """``KEY=value;KEY=value``."""


class Plugins:
    """The executables in some directories."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._versions: dict[tuple[str, int, int, int], frozenset[str] | None] = {}

    @property
    def where(self) -> str:
        """The directories, for messages."""
        return ", ".join(str(folder) for folder in self._folders)

    def find(self, name: str) -> str | None:
        """Path of a plugin, None if it is not installed."""
        for folder in self._folders:
            path = f"{folder}/{name}"
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        return None

    async def versions(self, name: str) -> frozenset[str] | None:
        """Versions of the specification that a plugin knows; None if it cannot tell. Asked once per executable."""
        path = self.find(name)
        if path is None:
            return None
        try:
            facts = os.stat(path)
        except OSError:  # removed just now
            return None
        key = (path, facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if key not in self._versions:
            try:
                answer = await self.run(name, "VERSION", {"cniVersion": VERSIONS[-1]}, timeout=PROBE_SECONDS)
                told = answer.get("supportedVersions")
            except PluginFailed as error:
                log.debug("CNI plugin does not tell its versions", extra={"plugin": name, "error": str(error)})
                told = None
            self._versions[key] = frozenset(map(str, told)) if isinstance(told, list) else None
        return self._versions[key]

    async def run(
        self,
        name: str,
        command: Command,
        config: Mapping[str, Any],
        about: Parameters = Parameters(),
        *,
        timeout: float,
    ) -> dict[str, Any]:
        """Call a plugin; returns what it answers to ADD and VERSION, and nothing otherwise. Raises PluginFailed.

        After `timeout` seconds, or a grace after the caller was cancelled, the plugin is killed with all its children;
        it is gone when this ends.
        """
        path = self.find(name)
        if path is None:
            raise PluginFailed(f"it is in none of {self.where}")
        run = await _start(path, self._environment(command, about), json.dumps(config).encode())
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(run.done)
        except TimeoutError:
            raise PluginFailed(f"it did not finish within {timeout:g} s and was killed") from None
        except asyncio.CancelledError:
            await asyncio.wait([run.done], timeout=GRACE_SECONDS)
            raise
        finally:
            await run.end()
        if run.stderr:
            words = run.stderr.decode(errors="replace").strip()
            log.debug("CNI plugin's stderr", extra={"plugin": name, "command": command, "id": about.id, "said": words})
        return run.answer(command)

    def _environment(self, command: Command, about: Parameters) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
        path = [folder for folder in env.get("PATH", "").split(":") if folder]
        # Plugins call iptables: a service that was started with a user's PATH would not find it.
        env["PATH"] = ":".join(dict.fromkeys((*path, *_SYSTEM_PATH)))
        env["CNI_COMMAND"] = command
        env["CNI_PATH"] = ":".join(map(str, self._folders))
        if about.id:
            env |= {"CNI_CONTAINERID": about.id, "CNI_NETNS": about.netns, "CNI_IFNAME": about.ifname}
            env["CNI_ARGS"] = about.args
        return env


async def _start(path: str, env: Mapping[str, str], stdin: bytes) -> _Run:
    try:
        _, run = await asyncio.get_running_loop().subprocess_exec(
            _Run, path, env=env, cwd="/", start_new_session=True, stdin=-1, stdout=-1, stderr=-1
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in the environment
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PluginFailed(f"{path} cannot be run: {reason}") from error
    run.feed(stdin)
    return run


class _Run(asyncio.SubprocessProtocol):
    """A plugin at work, the leader of a process group of its own."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = loop.create_future()
        """It has ended and all it had to say has come."""
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._loop = loop
        self._exited = asyncio.Event()
        self._open = {1, 2}
        self._transport: asyncio.SubprocessTransport | None = None

    # ------------------------------------------------------------------ for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        stream = self.stdout if fd == 1 else self.stderr
        stream += data[: _MAX_ANSWER - len(stream)]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open and self._exited.is_set():
            self._finish()

    def process_exited(self) -> None:
        self._exited.set()
        if self._open:
            self._loop.call_later(_DRAIN_SECONDS, self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    # ------------------------------------------------------------------ for the user

    def feed(self, data: bytes) -> None:
        """Give it all of its stdin; a plugin that does not read it does no harm."""
        assert self._transport is not None
        pipe = self._transport.get_pipe_transport(0)
        assert isinstance(pipe, asyncio.WriteTransport)
        pipe.write(data)
        pipe.write_eof()

    async def end(self) -> None:
        """Kill it and its children if it has not ended, and wait until it is gone."""
        assert self._transport is not None
        try:
            if not self._exited.is_set():
                with suppress(ProcessLookupError):
                    os.killpg(self._transport.get_pid(), signal.SIGKILL)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_REAP_SECONDS):
                        await self._exited.wait()
        finally:
            self._transport.close()
            self._finish()

    def answer(self, command: Command) -> dict[str, Any]:
        """What it said. Raises PluginFailed."""
        assert self._transport is not None
        status = self._transport.get_returncode()
        said = _json(self.stdout)
        if status != 0:
            raise self._failure(said, status)
        if command not in ("ADD", "VERSION"):
            return {}
        if said is None:
            raise PluginFailed(f"it answered with what is not a JSON object: {_words(self.stdout) or 'nothing'}")
        return said

    def _failure(self, said: dict[str, Any] | None, status: int | None) -> PluginFailed:
        if said is not None and ("msg" in said or "code" in said):
            code = said.get("code")
            details = f": {said['details']}" if said.get("details") else ""
            message = f"{said.get('msg') or 'no reason given'} (CNI code {code}){details}"
            return PluginFailed(message, code=code if isinstance(code, int) else 0)
        how = f"died of signal {-status}" if status is not None and status < 0 else f"ended with exit code {status}"
        words = _words(self.stdout) or _words(self.stderr)
        return PluginFailed(f"it {how}" + (f" and said: {words}" if words else " and said nothing"))


def _json(data: bytes | bytearray) -> dict[str, Any] | None:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _words(data: bytes | bytearray) -> str:
    text = " ".join(bytes(data[:2000]).decode(errors="replace").split())
    return text if len(text) <= 300 else text[:300] + "..."
