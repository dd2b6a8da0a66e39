"""Everything criadapt knows, in memory, with the journal as its shadow.

:meth:`put_sandbox`, :meth:`put_container`, :meth:`drop_sandbox` and :meth:`drop_container` are the only writes. Each
journals first and changes memory second, without an ``await`` between, so a list never shows what a restart would
forget. Everything runs on one event loop: there are no locks.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from criadapt.core import names
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.errors import ContainerNotFound, InvalidArgument, SandboxNotFound
from criadapt.journal import Journal
from criadapt.model.container import ContainerFilter, ContainerState
from criadapt.model.filters import labels_match
from criadapt.model.sandbox import PodSandboxFilter

Record = TypeVar("Record", SandboxRecord, ContainerRecord)
Listener = Callable[[SandboxRecord | ContainerRecord, bool], None]

log = logging.getLogger(__name__)

_SANDBOX, _CONTAINER = "sandbox", "container"


class Ids:
    """Full ids, found by any unique prefix."""

    def __init__(self) -> None:
        self._sorted: list[str] = []

    def add(self, id: str) -> None:
        insort(self._sorted, id)

    def discard(self, id: str) -> None:
        at = bisect_left(self._sorted, id)
        if at < len(self._sorted) and self._sorted[at] == id:
            del self._sorted[at]

    def matches(self, prefix: str) -> list[str]:
        """At most two ids that begin with `prefix`: enough to tell unique from ambiguous."""
        at = bisect_left(self._sorted, prefix)
        return [id for id in self._sorted[at : at + 2] if id.startswith(prefix)]


class Store:
    """Sandboxes and containers by id."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._sandboxes: dict[str, SandboxRecord] = {}
        self._containers: dict[str, ContainerRecord] = {}
        self._of_sandbox: dict[str, dict[str, None]] = {}
        self._sandbox_ids = Ids()
        self._container_ids = Ids()
        self._names: dict[tuple[str, ...], str] = {}
        self._exits: dict[str, asyncio.Future[None]] = {}
        self._encode = msgspec.json.Encoder().encode
        self.listeners: list[Listener] = []
        """Called after each write with the record and whether it was dropped. Must not raise or block."""
        self.sandbox_revision = 0
        self.container_revision = 0

    # ------------------------------------------------------------------ journal

    def journaled_sandboxes(self) -> list[SandboxRecord]:
        """Sandboxes of the last run, pending ones included, oldest first."""
        return self._load(_SANDBOX, SandboxRecord)

    def journaled_containers(self) -> list[ContainerRecord]:
        """Containers of the last run, oldest first."""
        return self._load(_CONTAINER, ContainerRecord)

    def _load(self, kind: str, cls: type[Record]) -> list[Record]:
        decode = msgspec.json.Decoder(cls).decode
        records = []
        for id, body in self._journal.load(kind):
            try:
                records.append(decode(body))
            except msgspec.MsgspecError as error:  # its engine container will be adopted instead
                log.error("journal row cannot be read", extra={"kind": kind, "id": id, "error": str(error)})
        return sorted(records, key=lambda record: record.created_at)

    def note_pending(self, record: SandboxRecord) -> None:
        """Journal a sandbox being made, so that a crash from here on leaves a trace to clean up; nobody sees it."""
        self._journal.put(_SANDBOX, record.id, self._encode(record))

    def forget_pending(self, id: str) -> None:
        """The sandbox being made was rolled back."""
        self._journal.delete(_SANDBOX, id)

    # ------------------------------------------------------------------ writes

    def put_sandbox(self, record: SandboxRecord, *, journaled: bool = False) -> None:
        """Add a sandbox or replace its record; `journaled` says that it came from the journal as it is."""
        if not journaled:
            self._journal.put(_SANDBOX, record.id, self._encode(record))
        if record.id not in self._sandboxes:
            self._sandbox_ids.add(record.id)
            self._names[names.sandbox_key(record.metadata)] = record.id
            self._of_sandbox.setdefault(record.id, {})
        self._sandboxes[record.id] = record
        self.sandbox_revision += 1
        self._tell(record, dropped=False)

    def put_container(self, record: ContainerRecord, *, journaled: bool = False) -> None:
        """Add a container or replace its record; wakes those who wait for its exit."""
        if not journaled:
            self._journal.put(_CONTAINER, record.id, self._encode(record))
        if record.id not in self._containers:
            self._container_ids.add(record.id)
            self._names[names.container_key(record.sandbox_id, record.metadata)] = record.id
            self._of_sandbox.setdefault(record.sandbox_id, {})[record.id] = None
        self._containers[record.id] = record
        self.container_revision += 1
        if record.state is ContainerState.EXITED:
            self._wake(record.id)
        self._tell(record, dropped=False)

    def drop_sandbox(self, id: str) -> None:
        """Forget a sandbox; its containers must be gone."""
        record = self._sandboxes.get(id)
        self._journal.delete(_SANDBOX, id)
        if record is None:
            return
        del self._sandboxes[id]
        self._sandbox_ids.discard(id)
        self._free(names.sandbox_key(record.metadata), id)
        self._of_sandbox.pop(id, None)
        self.sandbox_revision += 1
        self._tell(record, dropped=True)

    def drop_container(self, id: str) -> None:
        """Forget a container."""
        record = self._containers.get(id)
        self._journal.delete(_CONTAINER, id)
        if record is None:
            return
        del self._containers[id]
        self._container_ids.discard(id)
        self._free(names.container_key(record.sandbox_id, record.metadata), id)
        self._of_sandbox.get(record.sandbox_id, {}).pop(id, None)
        self.container_revision += 1
        self._wake(id)
        self._tell(record, dropped=True)

    def _free(self, key: tuple[str, ...], id: str) -> None:
        if self._names.get(key) == id:
            del self._names[key]

    def _tell(self, record: SandboxRecord | ContainerRecord, *, dropped: bool) -> None:
        for listener in self.listeners:
            listener(record, dropped)

    # ------------------------------------------------------------------ reads

    def sandbox(self, id: str) -> SandboxRecord:
        """Sandbox by id or unique prefix. Raises SandboxNotFound, InvalidArgument when empty or ambiguous."""
        found = self.find_sandbox(id)
        if found is None:
            raise SandboxNotFound(id)
        return found

    def find_sandbox(self, id: str) -> SandboxRecord | None:
        """Like :meth:`sandbox`, None when there is none."""
        return _find(self._sandboxes, self._sandbox_ids, id, "pod_sandbox_id")

    def container(self, id: str) -> ContainerRecord:
        """Container by id or unique prefix. Raises ContainerNotFound, InvalidArgument when empty or ambiguous."""
        found = self.find_container(id)
        if found is None:
            raise ContainerNotFound(id)
        return found

    def find_container(self, id: str) -> ContainerRecord | None:
        """Like :meth:`container`, None when there is none."""
        return _find(self._containers, self._container_ids, id, "container_id")

    def has_sandbox(self, id: str) -> bool:
        """Whether this very id is a known sandbox."""
        return id in self._sandboxes

    def has_container(self, id: str) -> bool:
        """Whether this very id is a known container."""
        return id in self._containers

    def named(self, key: tuple[str, ...]) -> str | None:
        """Id of the object that holds a name (:func:`names.sandbox_key`, :func:`names.container_key`)."""
        return self._names.get(key)

    def containers_of(self, sandbox_id: str) -> list[ContainerRecord]:
        """Containers of a sandbox, oldest first."""
        return [self._containers[id] for id in self._of_sandbox.get(sandbox_id, ())]

    def sandboxes(self, filter: PodSandboxFilter | None = None) -> Iterator[SandboxRecord]:
        """Sandboxes that match, newest first. A filter id that matches nothing gives nothing."""
        if filter is None:
            yield from reversed(self._sandboxes.values())
            return
        for record in _candidates(self._sandboxes, self._sandbox_ids, filter.id):
            if (filter.state is None or record.state is filter.state) and labels_match(
                record.config.labels, filter.label_selector
            ):
                yield record

    def containers(self, filter: ContainerFilter | None = None) -> Iterator[ContainerRecord]:
        """Containers that match, newest first."""
        if filter is None:
            yield from reversed(self._containers.values())
            return
        candidates = _candidates(self._containers, self._container_ids, filter.id)
        if filter.pod_sandbox_id:
            pods = {record.id for record in _candidates(self._sandboxes, self._sandbox_ids, filter.pod_sandbox_id)}
            if filter.id:
                candidates = [record for record in candidates if record.sandbox_id in pods]
            else:
                candidates = [record for pod in pods for record in reversed(self.containers_of(pod))]
        for record in candidates:
            if (filter.state is None or record.state is filter.state) and labels_match(
                record.config.labels, filter.label_selector
            ):
                yield record

    # ------------------------------------------------------------------ waiting

    async def exited(self, id: str) -> None:
        """Wait until the container has exited or is gone."""
        record = self._containers.get(id)
        if record is None or record.state is ContainerState.EXITED:
            return
        future = self._exits.get(id)
        if future is None:
            future = self._exits[id] = asyncio.get_running_loop().create_future()
        await asyncio.shield(future)

    def _wake(self, id: str) -> None:
        future = self._exits.pop(id, None)
        if future is not None and not future.done():
            future.set_result(None)


def _find(records: dict[str, Record], ids: Ids, id: str, field: str) -> Record | None:
    record = records.get(id)
    if record is not None:
        return record
    if not id:
        raise InvalidArgument(f"{field} is empty; give an id or a unique prefix of one")
    matches = ids.matches(id)
    if len(matches) > 1:
        first, second = (match[: len(id) + 4] for match in matches)
        raise InvalidArgument(f"{field} {id[:64]!r} is ambiguous: it begins {first!r}… and {second!r}…")
    return records[matches[0]] if matches else None


def _candidates(records: dict[str, Record], ids: Ids, id: str) -> list[Record]:
    """Records a filter's id lets through, newest first: all without an id, else at most one."""
    if not id:
        return list(reversed(records.values()))
    record = records.get(id)
    if record is not None:
        return [record]
    matches = ids.matches(id)
    return [records[matches[0]]] if len(matches) == 1 else []
