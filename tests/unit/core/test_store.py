"""The store: lookups, lists, waiters, and the journal as its shadow."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from criadapt.core import names
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.core.store import Ids, Store
from criadapt.errors import ContainerNotFound, InvalidArgument, SandboxNotFound
from criadapt.journal import Journal
from criadapt.model.container import ContainerFilter, ContainerState, KeyValue, Mount
from criadapt.model.linux import (
    HugepageLimit,
    LinuxContainerResources,
    LinuxContainerUser,
    LinuxSandboxSecurityContext,
    MountPropagation,
    NamespaceMode,
    NamespaceOption,
    SecurityProfile,
)
from criadapt.model.sandbox import (
    DNSConfig,
    LinuxPodSandboxConfig,
    PodSandboxFilter,
    PodSandboxState,
    PortMapping,
    Protocol,
)
from criadapt.model.signals import Signal
from criadapt.testing.factories import (
    START,
    container_config,
    container_record,
    sandbox_config,
    sandbox_record,
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "j")) as journal:
        yield journal


@pytest.fixture
def store(journal: Journal) -> Store:
    return Store(journal)


def sandbox(id: str, name: str = "", **fields: object) -> SandboxRecord:
    return sandbox_record(id, sandbox_config(name or id, labels=fields.pop("labels", {})), **fields)


def container(id: str, sandbox_id: str = "s1", name: str = "", **fields: object) -> ContainerRecord:
    return container_record(id, sandbox_id, container_config(name or id, labels=fields.pop("labels", {})), **fields)


# ---------------------------------------------------------------------------------------------- by id


@pytest.fixture
def filled(store: Store) -> Store:
    for record in (sandbox("aa11", labels={"x": "1"}), sandbox("aa22", stopped_at=START), sandbox("bb33")):
        store.put_sandbox(record)
    for record in (
        container("c100", "aa11", labels={"x": "1", "y": "2"}),
        container("c200", "aa11", labels={"x": "1"}, started_at=START),
        container("d300", "bb33", started_at=START, finished_at=START + 1),
    ):
        store.put_container(record)
    return store


@pytest.mark.parametrize(("given", "found"), [("aa11", "aa11"), ("aa1", "aa11"), ("b", "bb33"), ("bb33", "bb33")])
def test_a_sandbox_is_found_by_id_or_unique_prefix(filled: Store, given: str, found: str) -> None:
    assert filled.sandbox(given).id == found


@pytest.mark.parametrize(("given", "found"), [("c100", "c100"), ("c1", "c100"), ("d", "d300")])
def test_a_container_is_found_by_id_or_unique_prefix(filled: Store, given: str, found: str) -> None:
    assert filled.container(given).id == found


def test_a_full_id_that_begins_another_is_not_ambiguous(store: Store) -> None:
    store.put_container(container("c1"))
    store.put_container(container("c11"))
    assert store.container("c1").id == "c1"


@pytest.mark.parametrize("given", ["c", "a" * 3 + "x", "aa11x"])
def test_an_unknown_sandbox_is_not_found(filled: Store, given: str) -> None:
    with pytest.raises(SandboxNotFound):
        filled.sandbox(given)
    assert filled.find_sandbox(given) is None


def test_ids_of_one_kind_are_not_ids_of_the_other(filled: Store) -> None:
    with pytest.raises(ContainerNotFound):
        filled.container("aa11")
    with pytest.raises(SandboxNotFound):
        filled.sandbox("c100")


def test_an_ambiguous_prefix_is_an_error_that_shows_two(filled: Store) -> None:
    with pytest.raises(InvalidArgument, match=r"pod_sandbox_id 'aa' is ambiguous: .*'aa11'.*'aa22'"):
        filled.find_sandbox("aa")
    with pytest.raises(InvalidArgument, match=r"container_id 'c' is ambiguous"):
        filled.container("c")


@pytest.mark.parametrize("lookup", ["sandbox", "find_sandbox", "container", "find_container"])
def test_an_empty_id_is_an_error(filled: Store, lookup: str) -> None:
    with pytest.raises(InvalidArgument, match="is empty"):
        getattr(filled, lookup)("")


@settings(max_examples=50, deadline=None)
@given(st.sets(st.text(alphabet="01", min_size=1, max_size=6)), st.text(alphabet="01", max_size=6))
def test_prefixes_match_as_a_plain_search_would(ids: set[str], prefix: str) -> None:
    index = Ids()
    for id in ids:
        index.add(id)
    for gone in sorted(ids)[::3]:
        index.discard(gone)
    left = sorted(ids - set(sorted(ids)[::3]))
    assert index.matches(prefix) == [id for id in left if id.startswith(prefix)][:2]


# ---------------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize(
    ("filter", "ids"),
    [
        (None, ["bb33", "aa22", "aa11"]),
        (PodSandboxFilter(), ["bb33", "aa22", "aa11"]),
        (PodSandboxFilter(id="aa11"), ["aa11"]),
        (PodSandboxFilter(id="b"), ["bb33"]),
        (PodSandboxFilter(id="aa"), []),
        (PodSandboxFilter(id="zz"), []),
        (PodSandboxFilter(state=PodSandboxState.READY), ["bb33", "aa11"]),
        (PodSandboxFilter(state=PodSandboxState.NOTREADY), ["aa22"]),
        (PodSandboxFilter(label_selector={"x": "1"}), ["aa11"]),
        (PodSandboxFilter(label_selector={"x": "2"}), []),
        (PodSandboxFilter(id="aa11", state=PodSandboxState.NOTREADY), []),
    ],
)
def test_sandboxes_are_listed_newest_first_through_the_filter(
    filled: Store, filter: PodSandboxFilter | None, ids: list[str]
) -> None:
    assert [record.id for record in filled.sandboxes(filter)] == ids


@pytest.mark.parametrize(
    ("filter", "ids"),
    [
        (None, ["d300", "c200", "c100"]),
        (ContainerFilter(), ["d300", "c200", "c100"]),
        (ContainerFilter(id="c2"), ["c200"]),
        (ContainerFilter(id="c"), []),
        (ContainerFilter(pod_sandbox_id="aa11"), ["c200", "c100"]),
        (ContainerFilter(pod_sandbox_id="aa1"), ["c200", "c100"]),
        (ContainerFilter(pod_sandbox_id="aa"), []),
        (ContainerFilter(pod_sandbox_id="zz"), []),
        (ContainerFilter(state=ContainerState.CREATED), ["c100"]),
        (ContainerFilter(state=ContainerState.EXITED), ["d300"]),
        (ContainerFilter(label_selector={"x": "1"}), ["c200", "c100"]),
        (ContainerFilter(label_selector={"x": "1", "y": "2"}), ["c100"]),
        (ContainerFilter(id="d300", pod_sandbox_id="bb33"), ["d300"]),
        (ContainerFilter(id="d300", pod_sandbox_id="aa11"), []),
        (ContainerFilter(pod_sandbox_id="aa11", state=ContainerState.RUNNING, label_selector={"x": "1"}), ["c200"]),
    ],
)
def test_containers_are_listed_newest_first_through_the_filter(
    filled: Store, filter: ContainerFilter | None, ids: list[str]
) -> None:
    assert [record.id for record in filled.containers(filter)] == ids


def test_containers_of_a_sandbox_come_oldest_first(filled: Store) -> None:
    assert [record.id for record in filled.containers_of("aa11")] == ["c100", "c200"]
    assert filled.containers_of("nope") == []


def test_a_change_keeps_the_place_in_the_list(filled: Store) -> None:
    filled.put_sandbox(filled.sandbox("aa11").stopped(START))
    filled.put_container(filled.container("c100").started(START))
    assert [record.id for record in filled.sandboxes()] == ["bb33", "aa22", "aa11"]
    assert [record.id for record in filled.containers()] == ["d300", "c200", "c100"]


def test_what_was_dropped_is_nowhere(filled: Store) -> None:
    filled.drop_container("d300")
    filled.drop_sandbox("bb33")
    assert (filled.find_sandbox("bb33"), filled.find_container("d3")) == (None, None)
    assert "bb33" not in [record.id for record in filled.sandboxes()]
    assert list(filled.containers(ContainerFilter(pod_sandbox_id="bb33"))) == []
    assert not filled.has_sandbox("bb33")
    assert not filled.has_container("d300")
    filled.drop_container("d300")
    filled.drop_sandbox("bb33")


# ---------------------------------------------------------------------------------------------- names


def test_a_name_is_held_until_its_object_is_dropped(store: Store) -> None:
    pod, app = sandbox("s1", "web"), container("c1", "s1", "app")
    store.put_sandbox(pod)
    store.put_container(app)
    pod_key, app_key = names.sandbox_key(pod.metadata), names.container_key("s1", app.metadata)
    assert (store.named(pod_key), store.named(app_key)) == ("s1", "c1")
    store.drop_container("c1")
    store.drop_sandbox("s1")
    assert (store.named(pod_key), store.named(app_key)) == (None, None)


def test_dropping_the_remains_of_a_name_does_not_free_it_for_its_new_holder(store: Store) -> None:
    old, new = sandbox("s1", "web", stopped_at=START), sandbox("s2", "web")
    store.put_sandbox(old)
    store.put_sandbox(new)
    store.drop_sandbox("s1")
    assert store.named(names.sandbox_key(new.metadata)) == "s2"


# ---------------------------------------------------------------------------------------------- revisions, listeners


def test_every_write_is_a_new_revision_of_its_kind(store: Store) -> None:
    seen = []
    for write in (
        lambda: store.put_sandbox(sandbox("s1")),
        lambda: store.put_container(container("c1")),
        lambda: store.put_container(container("c1", started_at=START)),
        lambda: store.drop_container("c1"),
        lambda: store.drop_sandbox("s1"),
        lambda: store.drop_sandbox("s1"),
    ):
        write()
        seen.append((store.sandbox_revision, store.container_revision))
    assert seen == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 3), (2, 3)]


def test_listeners_hear_of_every_write_after_it(store: Store) -> None:
    heard: list[tuple[str, bool, bool]] = []
    store.listeners.append(lambda record, dropped: heard.append((record.id, dropped, store.has_sandbox(record.id))))
    store.put_sandbox(sandbox("s1"))
    store.drop_sandbox("s1")
    assert heard == [("s1", False, True), ("s1", True, False)]


# ---------------------------------------------------------------------------------------------- journal

ODD = "ключ/\u0000\u202e😀\ufeff \n\"\\'"


def everything() -> tuple[SandboxRecord, ContainerRecord]:
    """Records with something in every corner."""
    limits = LinuxContainerResources(
        cpu_quota=-1,
        memory_limit_in_bytes=2**62,
        hugepage_limits=(HugepageLimit(page_size="2MB", limit=1),),
        unified={"memory.oom.group": "1", ODD: ODD},
    )
    context = LinuxSandboxSecurityContext(
        namespace_options=NamespaceOption(pid=NamespaceMode.CONTAINER), run_as_user=0, seccomp=SecurityProfile()
    )
    pod = sandbox_record(
        "s1",
        sandbox_config(
            ODD,
            labels={ODD: ODD, "": ""},
            annotations={"big": "x" * 100_000},
            dns_config=DNSConfig(servers=("1.1.1.1",)),
            port_mappings=(PortMapping(protocol=Protocol.SCTP, container_port=1),),
            linux=LinuxPodSandboxConfig(security_context=context, sysctls={"a.b": "1"}),
        ),
        reason=ODD,
        ips=("10.0.0.1", "fd00::1"),
        overhead=limits,
    )
    app = container_record(
        "c1",
        "s1",
        container_config(
            labels={ODD: ODD},
            envs=(KeyValue(key="A", value=bytes(range(256))), KeyValue(key=ODD, value=b"")),
            mounts=(Mount(container_path="/x", host_path="/y", propagation=MountPropagation.BIDIRECTIONAL),),
            stop_signal=Signal.SIGRTMAX,
        ),
        started_at=START + 1,
        resources=limits,
        user=LinuxContainerUser(uid=7, gid=8, supplemental_groups=(9, 10)),
        stop_signal=Signal.SIGRTMINPLUS3,
        kills_group=True,
    ).exited(START + 2, 137, oom_killed=True)
    return pod, app


def test_records_come_back_from_the_journal_as_they_were(store: Store, journal: Journal) -> None:
    pod, app = everything()
    store.put_sandbox(pod)
    store.put_container(app)
    again = Store(journal)
    assert again.journaled_sandboxes() == [pod]
    assert again.journaled_containers() == [app]


def test_a_record_read_and_written_again_is_the_same_bytes(store: Store, journal: Journal) -> None:
    pod, app = everything()
    store.put_sandbox(pod)
    store.put_container(app)
    before = [*journal.load("sandbox"), *journal.load("container")]
    again = Store(journal)
    again.put_sandbox(again.journaled_sandboxes()[0])
    again.put_container(again.journaled_containers()[0])
    assert [*journal.load("sandbox"), *journal.load("container")] == before


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    st.lists(st.binary(max_size=6), max_size=3),
    st.integers(0, 2**63 - 1),
)
def test_labels_and_environments_survive_whatever_they_hold(
    labels: dict[str, str], values: list[bytes], created_at: int
) -> None:
    config = container_config(labels=labels, annotations=labels, envs=tuple(KeyValue(key="k", value=v) for v in values))
    with closing(Journal(Path(":memory:"))) as journal:
        store = Store(journal)
        record = container_record(config=config, created_at=created_at)
        store.put_container(record)
        assert store.journaled_containers() == [record]


def test_the_journal_gives_the_oldest_first(store: Store, journal: Journal) -> None:
    for number, id in enumerate(["c", "a", "b"]):
        store.put_container(container(id, created_at=START + number))
    assert [record.id for record in Store(journal).journaled_containers()] == ["c", "a", "b"]


def test_dropped_records_leave_the_journal(store: Store, journal: Journal) -> None:
    store.put_sandbox(sandbox("s1"))
    store.put_container(container("c1"))
    store.drop_container("c1")
    store.drop_sandbox("s1")
    assert (store.journaled_sandboxes(), store.journaled_containers()) == ([], [])


def test_a_pending_sandbox_is_journaled_and_seen_by_nobody(store: Store) -> None:
    pending = sandbox("s1", ready_at=0)
    store.note_pending(pending)
    assert store.journaled_sandboxes() == [pending]
    assert (store.find_sandbox("s1"), list(store.sandboxes())) == (None, [])
    store.forget_pending("s1")
    assert store.journaled_sandboxes() == []


def test_what_came_from_the_journal_is_not_written_again(store: Store, journal: Journal) -> None:
    store.put_sandbox(sandbox("s1"), journaled=True)
    store.put_container(container("c1"), journaled=True)
    assert [*journal.load("sandbox"), *journal.load("container")] == []
    assert store.has_sandbox("s1")


def test_what_cannot_be_journaled_is_not_shown_either(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    store = Store(journal)
    store.put_container(container("c1"))
    journal.close()
    for write in (lambda: store.put_container(container("c1", started_at=START)), lambda: store.drop_container("c1")):
        with pytest.raises(sqlite3.ProgrammingError):
            write()
    assert store.container("c1").state is ContainerState.CREATED


@pytest.mark.parametrize("body", [b"{", b"", b"{}", b"[]", b'{"id": 5}', b"\xff"])
def test_a_damaged_row_does_not_hide_the_others(
    journal: Journal, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    journal.put("container", "c2", body)
    Store(journal).put_container(container("c1"))
    assert [record.id for record in Store(journal).journaled_containers()] == ["c1"]
    (logged,) = caplog.records
    assert (logged.message, logged.kind, logged.id) == ("journal row cannot be read", "container", "c2")


# ---------------------------------------------------------------------------------------------- waiting


async def waiting(store: Store, id: str) -> asyncio.Task[None]:
    task = asyncio.ensure_future(store.exited(id))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_who_waits_for_an_exit_is_woken_by_it(store: Store) -> None:
    record = container("c1", started_at=START)
    store.put_container(record)
    tasks = [await waiting(store, "c1") for _ in range(3)]
    store.put_container(replace(record, exit_code=0))
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    store.put_container(record.exited(START + 1, 0))
    await asyncio.gather(*tasks)


async def test_who_waits_for_an_exit_is_woken_by_the_removal(store: Store) -> None:
    store.put_container(container("c1", started_at=START))
    task = await waiting(store, "c1")
    store.drop_container("c1")
    await task


async def test_one_waiter_who_gives_up_does_not_wake_the_others(store: Store) -> None:
    record = container("c1", started_at=START)
    store.put_container(record)
    gone, staying = await waiting(store, "c1"), await waiting(store, "c1")
    gone.cancel()
    await asyncio.wait([gone])
    assert not staying.done()
    store.put_container(record.exited(START + 1, 0))
    await staying


@pytest.mark.parametrize("id", ["exited", "unknown", ""])
async def test_there_is_no_waiting_for_what_has_ended(store: Store, id: str) -> None:
    store.put_container(container("exited", started_at=START, finished_at=START + 1))
    await store.exited(id)
