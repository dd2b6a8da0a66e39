"""Records: state is read off the timestamps, and no order of moves leads to a contradiction."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from criadapt.core.records import LOST_EXIT_CODE, ContainerRecord
from criadapt.errors import FailedPrecondition
from criadapt.model.container import ContainerState, Mount
from criadapt.model.image import ImageSpec
from criadapt.model.linux import (
    LinuxContainerResources,
    LinuxSandboxSecurityContext,
    NamespaceMode,
    NamespaceOption,
)
from criadapt.model.sandbox import LinuxPodSandboxConfig, PodIP, PodSandboxState
from criadapt.model.signals import Signal
from criadapt.testing.factories import (
    START,
    container_config,
    container_record,
    on_host_network,
    sandbox_config,
    sandbox_record,
)

T = START
moments = st.integers(min_value=1, max_value=2**60)
codes = st.integers(min_value=0, max_value=255)


class Life(RuleBasedStateMachine):
    """Any order of moves, at any times: clocks differ and reports come late."""

    def __init__(self) -> None:
        super().__init__()
        self.record = container_record()
        self.first_end: ContainerRecord | None = None

    @rule(at=moments)
    def start(self, at: int) -> None:
        if self.record.state is ContainerState.CREATED:
            self.record = self.record.started(at)
        else:
            with pytest.raises(FailedPrecondition, match=r"only a created container"):
                self.record.started(at)

    @rule(at=moments, code=codes, oom=st.booleans())
    def exit(self, at: int, code: int, oom: bool) -> None:
        self._end(self.record.exited(at, code, oom_killed=oom))

    @rule(late=st.integers(0, 2**60))
    def lose(self, late: int) -> None:
        self._end(self.record.lost(max(1, self.record.started_at) + late, "gone"))

    @precondition(lambda self: self.record.state is ContainerState.CREATED)
    @rule(at=moments, code=codes)
    def fail_to_start(self, at: int, code: int) -> None:
        self._end(self.record.start_failed(at, "no such file", code))

    @rule(shares=st.integers(2, 1000))
    def change_limits(self, shares: int) -> None:
        self.record = replace(self.record, resources=LinuxContainerResources(cpu_shares=shares))

    def _end(self, record: ContainerRecord) -> None:
        self.record = record
        self.first_end = self.first_end or record

    @invariant()
    def times_tell_one_story(self) -> None:
        record = self.record
        assert (record.state is ContainerState.EXITED) == bool(record.finished_at)
        if record.finished_at:
            assert 0 < record.started_at <= record.finished_at
        if record.state is not ContainerState.EXITED:
            assert (record.exit_code, record.shown_reason, record.message, record.oom_killed) == (0, "", "", False)
        assert not record.oom_killed or record.exit_code == 137

    @invariant()
    def the_first_end_wins(self) -> None:
        if self.first_end is not None:
            assert replace(self.record, resources=self.first_end.resources) == self.first_end

    @invariant()
    def list_and_status_agree(self) -> None:
        row, status = self.record.row(), self.record.status()
        for field in ("id", "metadata", "state", "created_at", "image_ref", "image_id", "labels", "annotations"):
            assert getattr(row, field) == getattr(status, field)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=30, stateful_step_count=12, deadline=None)


@pytest.mark.parametrize(
    ("record", "state", "reason"),
    [
        (container_record(), ContainerState.CREATED, ""),
        (container_record(started_at=T), ContainerState.RUNNING, ""),
        (container_record(started_at=T).exited(T + 1, 0), ContainerState.EXITED, "Completed"),
        (container_record(started_at=T).exited(T + 1, 1), ContainerState.EXITED, "Error"),
        (container_record(started_at=T).exited(T + 1, 137), ContainerState.EXITED, "Error"),
        (container_record(started_at=T).exited(T + 1, 137, oom_killed=True), ContainerState.EXITED, "OOMKilled"),
        (container_record(started_at=T).exited(T + 1, 0, oom_killed=True), ContainerState.EXITED, "Completed"),
        (container_record(started_at=T).lost(T + 1, "gone"), ContainerState.EXITED, "Unknown"),
        (container_record().start_failed(T, "no such file", 127), ContainerState.EXITED, "StartError"),
    ],
)
def test_state_and_reason_of_a_container(record: ContainerRecord, state: ContainerState, reason: str) -> None:
    assert (record.state, record.shown_reason) == (state, reason)


def test_a_failed_start_is_a_coherent_exit() -> None:
    status = container_record().start_failed(T, "exec: no such file", 127).status()
    assert (status.started_at, status.finished_at, status.exit_code) == (T, T, 127)
    assert (status.state, status.reason, status.message) == (ContainerState.EXITED, "StartError", "exec: no such file")


def test_a_lost_container_has_containerds_exit_code() -> None:
    assert container_record(started_at=T).lost(T + 1, "gone").exit_code == LOST_EXIT_CODE == 255


def test_an_exit_before_the_start_was_seen_gives_both_times() -> None:
    assert container_record().exited(T + 7, 3).started_at == T + 7


def test_an_exit_without_a_time_is_an_exit() -> None:
    assert container_record().exited(0, 3).state is ContainerState.EXITED


def test_a_container_is_not_lost_before_it_started() -> None:
    record = container_record(started_at=T).lost(T - 1, "the clock was set back")
    assert record.started_at <= record.finished_at


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"ready_at": 0}, PodSandboxState.NOTREADY),
        ({"ready_at": T}, PodSandboxState.READY),
        ({"ready_at": T, "stopped_at": T + 1}, PodSandboxState.NOTREADY),
        ({"ready_at": 0, "stopped_at": T + 1}, PodSandboxState.NOTREADY),
    ],
)
def test_state_of_a_sandbox(fields: dict[str, int], state: PodSandboxState) -> None:
    assert sandbox_record(**fields).state is state
    assert sandbox_record(**fields).row().state is state
    assert sandbox_record(**fields).status().state is state


def test_a_stopped_sandbox_stays_stopped_with_its_first_time_and_reason() -> None:
    stopped = sandbox_record().stopped(T + 1, "first")
    assert stopped.stopped(T + 2, "second") is stopped
    assert stopped.ready(T + 3, ("10.0.0.2",)).state is PodSandboxState.NOTREADY


def test_addresses_show_while_ready_only() -> None:
    ready = sandbox_record(ips=("10.0.0.1", "fd00::1", "fd00::2"))
    network = ready.status().network
    assert network is not None
    assert (network.ip, network.additional_ips) == ("10.0.0.1", (PodIP(ip="fd00::1"), PodIP(ip="fd00::2")))
    for gone in (ready.stopped(T), ready.stopped(T).released(), sandbox_record(ips=())):
        assert gone.status().network == replace(network, ip="", additional_ips=())


def test_a_released_sandbox_holds_nothing_of_the_network() -> None:
    released = sandbox_record().stopped(T).released()
    assert (released.network_up, released.ips) == (False, ())


@pytest.mark.parametrize(
    ("config", "network", "host"),
    [
        (sandbox_config(), NamespaceMode.POD, False),
        (sandbox_config(linux=LinuxPodSandboxConfig()), NamespaceMode.POD, False),
        (on_host_network(sandbox_config()), NamespaceMode.NODE, True),
    ],
)
def test_status_echoes_the_namespaces_asked_for(config: object, network: NamespaceMode, host: bool) -> None:
    record = sandbox_record(config=config)
    linux = record.status().linux
    assert linux is not None
    assert linux.namespaces is not None
    assert linux.namespaces.options == NamespaceOption(network=network)
    assert record.host_network is host


@pytest.mark.parametrize("privileged", [True, False])
def test_a_sandbox_knows_whether_it_is_privileged(privileged: bool) -> None:
    context = LinuxSandboxSecurityContext(privileged=privileged)
    config = sandbox_config(linux=LinuxPodSandboxConfig(security_context=context))
    assert sandbox_record(config=config).privileged is privileged
    assert not sandbox_record().privileged


def test_status_tells_what_was_asked_and_what_became_of_it() -> None:
    mounts = (Mount(container_path="/data", host_path="/srv/data", readonly=True),)
    image = ImageSpec(image="sha256:" + "b" * 64, user_specified_image="busybox")
    config = container_config(image=image, mounts=mounts, labels={"a": "b"}, annotations={"c": "d"})
    record = container_record(
        config=container_config(image="x", mounts=mounts), log_path="/var/log/a/0.log", stop_signal=Signal.SIGQUIT
    )
    status = replace(record, config=replace(config, image=image)).status()
    assert status.image == replace(image, image=record.image_name)
    assert (status.mounts, status.log_path, status.stop_signal) == (mounts, "/var/log/a/0.log", Signal.SIGQUIT)
    assert (status.labels, status.annotations) == ({"a": "b"}, {"c": "d"})


def test_a_row_shows_the_image_as_it_was_asked_for() -> None:
    config = container_config(image="busybox")
    assert container_record(config=config, image_name="docker.io/library/busybox:latest").row().image == config.image


@pytest.mark.parametrize(
    ("move", "arguments"),
    [("started", (T,)), ("exited", (T, 1)), ("lost", (T, "")), ("start_failed", (T, "", 1))],
)
def test_a_move_leaves_the_old_record_as_it_was(move: str, arguments: tuple[object, ...]) -> None:
    record = container_record()
    assert getattr(record, move)(*arguments) != record
    assert record == container_record()
