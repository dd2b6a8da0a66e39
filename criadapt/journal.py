"""A small durable table of records: sqlite in WAL mode, one row per record.

A call that returned has reached the operating system, so killing the process loses nothing; losing power may lose
the last moments but never damages the file. Writing costs tens of microseconds and no fsync: the log is folded
back into the database by a thread of its own (:meth:`Journal.checkpoint`), never by the caller of :meth:`put`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from criadapt.errors import FailedPrecondition, ResourceExhausted

SCHEMA_VERSION = 1


class Journal:
    """Records by kind and id. Not for use from several threads, :meth:`checkpoint` excepted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        db = self._db
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA wal_autocheckpoint=0")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise FailedPrecondition(
                f"{self.path} was written by a newer criadapt (schema {version}, this one knows {SCHEMA_VERSION}); "
                "upgrade criadapt or use another state directory"
            )
        db.execute(
            "CREATE TABLE IF NOT EXISTS record (kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, "
            "PRIMARY KEY (kind, id)) WITHOUT ROWID"
        )
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def put(self, kind: str, id: str, body: bytes) -> None:
        """Write or replace one record. Raises ResourceExhausted when it cannot be written."""
        self._write("INSERT OR REPLACE INTO record VALUES (?, ?, ?)", kind, id, body)

    def delete(self, kind: str, id: str) -> None:
        """Forget one record; success if there is none."""
        self._write("DELETE FROM record WHERE kind = ? AND id = ?", kind, id)

    def _write(self, statement: str, *values: str | bytes) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.OperationalError as error:  # the disk is full, gone or read-only; nothing was written
            raise ResourceExhausted(f"{self.path} cannot be written: {error}") from error

    def load(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """Every record of a kind, in the order of their ids."""
        yield from self._db.execute("SELECT id, body FROM record WHERE kind = ? ORDER BY id", (kind,))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Writes inside happen all or not at all. Must not be held across an ``await``."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error:
            self._db.execute("ROLLBACK")
            raise

    def checkpoint(self) -> None:
        """Fold the write-ahead log back; touches the disk, so call it from a thread. Uses its own connection."""
        with closing(sqlite3.connect(self.path, timeout=1)) as db:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close the file."""
        self._db.close()
