"""The journal: what a call wrote survives the death of the process."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from criadapt.errors import FailedPrecondition
from criadapt.journal import SCHEMA_VERSION, Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with closing(Journal(path)) as journal:
        yield journal


def test_a_new_journal_is_empty(journal: Journal) -> None:
    assert list(journal.load("sandbox")) == []


def test_records_are_told_apart_by_kind_and_id(journal: Journal) -> None:
    journal.put("a", "1", b"x")
    journal.put("b", "1", b"y")
    journal.put("a", "0", b"z")
    assert list(journal.load("a")) == [("0", b"z"), ("1", b"x")]
    assert list(journal.load("b")) == [("1", b"y")]


def test_putting_again_replaces(journal: Journal) -> None:
    journal.put("a", "1", b"old")
    journal.put("a", "1", b"new")
    assert list(journal.load("a")) == [("1", b"new")]


def test_deleting_forgets_and_forgetting_twice_is_fine(journal: Journal) -> None:
    journal.put("a", "1", b"x")
    journal.delete("a", "1")
    journal.delete("a", "1")
    assert list(journal.load("a")) == []


def test_what_a_killed_process_wrote_is_there(path: Path, journal: Journal) -> None:
    journal.put("a", "1", b"x")
    with closing(Journal(path)) as next_life:  # the first was never closed, as after kill -9
        assert list(next_life.load("a")) == [("1", b"x")]


KILLED = """
import os, pathlib, signal, sys
from criadapt.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]))
journal.put("a", "0", b"before")
with journal.together():
    journal.put("a", "1", b"x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_between_two_writes_that_belong_together_wrote_neither(path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert process.returncode == -signal.SIGKILL
    with closing(Journal(path)) as next_life:
        assert list(next_life.load("a")) == [("0", b"before")]


def test_together_is_all(journal: Journal) -> None:
    with journal.together():
        journal.put("a", "1", b"x")
        journal.put("a", "2", b"y")
    assert [id for id, _ in journal.load("a")] == ["1", "2"]


def test_together_is_or_nothing(journal: Journal) -> None:
    journal.put("a", "0", b"before")

    def write() -> None:
        with journal.together():
            journal.put("a", "1", b"x")
            journal.delete("a", "0")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert list(journal.load("a")) == [("0", b"before")]
    journal.put("a", "2", b"y")  # and the journal goes on working


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(FailedPrecondition, match=r"newer criadapt .* upgrade criadapt"):
        Journal(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)


def test_a_new_journal_says_its_schema(path: Path, journal: Journal) -> None:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_folding_the_log_keeps_every_record(path: Path, journal: Journal) -> None:
    for number in range(100):
        journal.put("a", f"{number:03}", b"x" * 1000)
    journal.checkpoint()
    assert path.stat().st_size > 100_000
    assert len(list(journal.load("a"))) == 100


def test_writing_never_folds_the_log(path: Path, journal: Journal) -> None:
    size = path.stat().st_size
    for number in range(200):
        journal.put("a", str(number), b"x" * 10_000)
    assert path.stat().st_size == size


def test_a_journal_that_cannot_be_opened_is_not_left_open(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is no database, and long enough to be looked at" * 10)
    with pytest.raises(sqlite3.DatabaseError):
        Journal(path)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from("ab"), st.sampled_from(["", "1", "é", "\0"]), st.binary(max_size=9)),
        max_size=12,
    )
)
def test_it_is_a_durable_dict(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, str, str, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    expected: dict[tuple[str, str], bytes] = {}
    with closing(Journal(path)) as journal:
        for put, kind, id, body in steps:
            if put:
                journal.put(kind, id, body)
                expected[kind, id] = body
            else:
                journal.delete(kind, id)
                expected.pop((kind, id), None)
        with closing(Journal(path)) as again:
            assert {(kind, id): body for kind in "ab" for id, body in again.load(kind)} == expected
