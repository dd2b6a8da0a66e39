"""Backends made of a backend: every call passes through one method that may watch it, delay it or make it fail."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from criadapt import errors
from criadapt.backends.base import (
    Backend,
    Chunk,
    Connection,
    ContainerSpec,
    EngineContainer,
    EngineEvent,
    EngineImage,
    EngineInfo,
    ExecSpec,
    Process,
)
from criadapt.config import FaultRule
from criadapt.errors import CriadaptError, InvalidArgument
from criadapt.model.image import AuthConfig, FilesystemUsage
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.reference import ImageRef
from criadapt.model.signals import Signal
from criadapt.model.usage import Usage

T = TypeVar("T")


class Wrapped(Backend):
    """Hands every call to `inner`; subclasses override :meth:`around`."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner.options, state_dir=inner.state_dir)
        self.inner = inner
        self.name = inner.name  # type: ignore[misc]  # a wrapper answers to the name of what it wraps

    async def around(self, call: str, arguments: Mapping[str, object], run: Callable[[], Awaitable[T]]) -> T:
        """Make one call."""
        return await run()

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.inner.__aexit__(kind, error, trace)

    def can(self, method: str) -> bool:
        return self.inner.can(method)

    async def info(self) -> EngineInfo:
        return await self.around("info", {}, self.inner.info)

    async def create(self, spec: ContainerSpec) -> str:
        return await self.around("create", {"spec": spec}, lambda: self.inner.create(spec))

    async def start(self, id: str) -> None:
        await self.around("start", {"id": id}, lambda: self.inner.start(id))

    async def kill(self, id: str, signal: Signal) -> None:
        await self.around("kill", {"id": id, "signal": signal.name}, lambda: self.inner.kill(id, signal))

    async def remove(self, id: str) -> None:
        await self.around("remove", {"id": id}, lambda: self.inner.remove(id))

    async def containers(self) -> Sequence[EngineContainer]:
        return await self.around("containers", {}, self.inner.containers)

    async def events(self) -> AsyncIterator[EngineEvent]:
        async def begin() -> AsyncIterator[EngineEvent]:
            return self.inner.events()

        async for event in await self.around("events", {}, begin):
            yield event

    async def exec(self, id: str, spec: ExecSpec) -> Process:
        return await self.around("exec", {"id": id, "spec": spec}, lambda: self.inner.exec(id, spec))

    async def pull(self, ref: ImageRef, auth: AuthConfig | None) -> str:
        return await self.around("pull", {"ref": str(ref)}, lambda: self.inner.pull(ref, auth))

    async def images(self) -> Sequence[EngineImage]:
        return await self.around("images", {}, self.inner.images)

    async def remove_image(self, id: str) -> None:
        await self.around("remove_image", {"id": id}, lambda: self.inner.remove_image(id))

    async def image_filesystem(self) -> FilesystemUsage:
        return await self.around("image_filesystem", {}, self.inner.image_filesystem)

    async def inspect(self, id: str) -> EngineContainer:
        return await self.around("inspect", {"id": id}, lambda: self.inner.inspect(id))

    def output(self, id: str, since_ns: int) -> AsyncIterator[Chunk]:
        return self.inner.output(id, since_ns)

    async def attach(self, id: str, *, stdin: bool, tty: bool) -> Process:
        return await self.around("attach", {"id": id}, lambda: self.inner.attach(id, stdin=stdin, tty=tty))

    async def dial(self, id: str, port: int) -> Connection:
        return await self.around("dial", {"id": id, "port": port}, lambda: self.inner.dial(id, port))

    async def update(self, id: str, resources: LinuxContainerResources) -> None:
        await self.around("update", {"id": id}, lambda: self.inner.update(id, resources))

    async def usage(self, id: str) -> Usage:
        return await self.around("usage", {"id": id}, lambda: self.inner.usage(id))

    async def image_file(self, image_id: str, path: str) -> bytes | None:
        arguments = {"image_id": image_id, "path": path}
        return await self.around("image_file", arguments, lambda: self.inner.image_file(image_id, path))

    async def pause(self, id: str) -> None:
        await self.around("pause", {"id": id}, lambda: self.inner.pause(id))

    async def resume(self, id: str) -> None:
        await self.around("resume", {"id": id}, lambda: self.inner.resume(id))

    async def checkpoint(self, id: str, path: Path) -> None:
        await self.around("checkpoint", {"id": id}, lambda: self.inner.checkpoint(id, path))


class Timed(Wrapped):
    """Reports how long each call took, so that no backend holds measuring code."""

    def __init__(self, inner: Backend, observe: Callable[[str, str, bool, float], None]) -> None:
        """`observe(backend, call, ok, seconds)`."""
        super().__init__(inner)
        self._observe = observe

    async def around(self, call: str, arguments: Mapping[str, object], run: Callable[[], Awaitable[T]]) -> T:
        began = time.perf_counter()
        ok = False
        try:
            result = await run()
            ok = True
            return result
        finally:
            self._observe(self.name, call, ok, time.perf_counter() - began)


class Failing(Wrapped):
    """Delays, hangs and errors by rule, for testing what stands above: criadapt itself, or a kubelet.

    Rules are tried in order; the first that hits decides. `calls` counts every call, hit or not.
    """

    def __init__(self, inner: Backend, rules: Sequence[FaultRule] = (), *, seed: int = 0) -> None:
        super().__init__(inner)
        self.calls: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._rules: list[_Rule] = []
        self.set_rules(rules)

    def set_rules(self, rules: Sequence[FaultRule]) -> None:
        """Replace the rules. Raises InvalidArgument for a call or an error class that does not exist."""
        self._rules = [_Rule(rule) for rule in rules]

    async def around(self, call: str, arguments: Mapping[str, object], run: Callable[[], Awaitable[T]]) -> T:
        self.calls[call] += 1
        rule = next((rule for rule in self._rules if rule.hits(call, arguments, self._random)), None)
        if rule is None:
            return await run()
        result = await run() if rule.rule.after else None
        if rule.rule.delay:
            await asyncio.sleep(rule.rule.delay)
        if rule.rule.hang:
            await asyncio.get_running_loop().create_future()
        if rule.error is not None:
            raise rule.error
        return result if rule.rule.after else await run()  # type: ignore[return-value]


CALLS = frozenset(
    name for name, value in vars(Wrapped).items() if callable(value) and not name.startswith("_") and name != "around"
) - {"output", "can"}
"""Calls that a rule can name. The output of a container is a stream of its own and passes untouched."""


class _Rule:
    """A rule, checked, with its counters."""

    def __init__(self, rule: FaultRule) -> None:
        if rule.call != "*" and rule.call not in CALLS:
            raise InvalidArgument(f"faults: call {rule.call!r} is not one of {', '.join(sorted(CALLS))} or *")
        self.rule = rule
        self._kind: type[CriadaptError] | None = None
        if rule.error:
            kind = getattr(errors, rule.error, None)
            if not (isinstance(kind, type) and issubclass(kind, CriadaptError)):
                raise InvalidArgument(f"faults: error {rule.error!r} is not a class of criadapt.errors")
            self._kind = kind
        self._seen = 0
        self._hit = 0

    @property
    def error(self) -> CriadaptError | None:
        """A new error to raise."""
        return self._kind(self.rule.message or f"injected into {self.rule.call}") if self._kind else None

    def hits(self, call: str, arguments: Mapping[str, object], chance: random.Random) -> bool:
        rule = self.rule
        if rule.call not in ("*", call) or (rule.times and self._hit >= rule.times):
            return False
        if not all(fnmatchcase(_text(arguments, key), pattern) for key, pattern in rule.match.items()):
            return False
        self._seen += 1
        if rule.nth and self._seen != rule.nth:
            return False
        if rule.probability < 1 and chance.random() >= rule.probability:
            return False
        self._hit += 1
        return True


def _text(arguments: Mapping[str, object], path: str) -> str:
    """An argument as text; ``spec.name`` looks into a dataclass, ``spec.labels.app`` into a map in it."""
    value: Any = arguments
    for part in path.split("."):
        if is_dataclass(value) and not isinstance(value, type):
            value = asdict(value)
        value = value.get(part) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)
