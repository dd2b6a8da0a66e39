"""Encoded rows and statuses of records, each made once.

Records are immutable, so their encoding is too; a list answer is the rows joined. The answer to an unfiltered list,
which kubelet asks for every second, is kept whole until something changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.core.store import Store
from criadapt.cri.codec import encode
from criadapt.cri.wire import message_field
from criadapt.model.container import ContainerFilter
from criadapt.model.sandbox import PodSandboxFilter

ROWS_FIELD = 1  # `items`, `containers`, `pod_sandboxes`: the rows are field 1 of all four list answers
BREATH = 50  # items encoded between two looks at other work
KEPT_BYTES = 4 * 1024 * 1024  # of a whole answer that is kept; sending a larger one costs more than joining it
CHUNK_BYTES = 1024 * 1024  # of one message of a streamed list; clients accept 16 MiB


class Rows:
    """Bytes of every record that was asked for since it last changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: dict[str, bytes] = {}
        self._statuses: dict[str, bytes] = {}
        self._sandboxes: tuple[int, bytes] = (-1, b"")
        self._containers: tuple[int, bytes] = (-1, b"")
        store.listeners.append(self._changed)

    def _changed(self, record: SandboxRecord | ContainerRecord, dropped: bool) -> None:
        self._rows.pop(record.id, None)
        self._statuses.pop(record.id, None)

    def sandboxes(self, filter: PodSandboxFilter | None) -> bytes:
        """A whole ListPodSandboxResponse."""
        if filter is not None:
            return b"".join(self._each(self._store.sandboxes(filter)))
        revision, answer = self._sandboxes
        if revision != self._store.sandbox_revision:
            answer = b"".join(self._each(self._store.sandboxes()))
            if len(answer) <= KEPT_BYTES:
                self._sandboxes = (self._store.sandbox_revision, answer)
        return answer

    def containers(self, filter: ContainerFilter | None) -> bytes:
        """A whole ListContainersResponse."""
        if filter is not None:
            return b"".join(self._each(self._store.containers(filter)))
        revision, answer = self._containers
        if revision != self._store.container_revision:
            answer = b"".join(self._each(self._store.containers()))
            if len(answer) <= KEPT_BYTES:
                self._containers = (self._store.container_revision, answer)
        return answer

    def sandbox_chunks(self, filter: PodSandboxFilter | None) -> Iterator[bytes]:
        """The same rows as several StreamPodSandboxesResponse messages, none of them empty."""
        return chunks(list(self._each(self._store.sandboxes(filter))))

    def container_chunks(self, filter: ContainerFilter | None) -> Iterator[bytes]:
        """The same rows as several StreamContainersResponse messages, none of them empty."""
        return chunks(list(self._each(self._store.containers(filter))))

    def status(self, record: SandboxRecord | ContainerRecord) -> bytes:
        """Encoded PodSandboxStatus or ContainerStatus."""
        found = self._statuses.get(record.id)
        if found is None:
            found = self._statuses[record.id] = encode(record.status()).SerializeToString()
        return found

    def _each(self, records: Iterable[SandboxRecord | ContainerRecord]) -> Iterator[bytes]:
        rows = self._rows
        for record in records:
            row = rows.get(record.id)
            if row is None:
                row = message_field(ROWS_FIELD, encode(record.row()).SerializeToString())
                rows[record.id] = row
            yield row


async def encoded(items: Iterable[object]) -> list[bytes]:
    """Rows of items that are made anew for each answer. Lets other calls through now and then: a thousand take long."""
    rows = []
    for number, item in enumerate(items, start=1):
        rows.append(message_field(ROWS_FIELD, encode(item).SerializeToString()))
        if number % BREATH == 0:
            await asyncio.sleep(0)
    return rows


def chunks(rows: Iterable[bytes]) -> Iterator[bytes]:
    """Rows joined into messages of about CHUNK_BYTES; no rows give no message."""
    pending: list[bytes] = []
    size = 0
    for row in rows:
        pending.append(row)
        size += len(row)
        if size >= CHUNK_BYTES:
            yield b"".join(pending)
            pending, size = [], 0
    if pending:
        yield b"".join(pending)
