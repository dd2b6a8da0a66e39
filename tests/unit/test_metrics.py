from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from criadapt.errors import FailedPrecondition, InvalidArgument
from criadapt.metrics import MAX_CONNECTIONS, Metrics, MetricsPage, Record, serve_metrics
from criadapt.model.container import ContainerState
from criadapt.model.sandbox import PodSandboxState


@dataclass
class FakeStore:
    broken: bool = False

    def containers(self) -> Iterable[Record]:
        return [SimpleNamespace(state=ContainerState.RUNNING), SimpleNamespace(state=ContainerState.RUNNING)]

    def sandboxes(self) -> Iterable[Record]:
        return [SimpleNamespace(state=PodSandboxState.READY)]


@dataclass
class Drops:
    dropped: int


def page(metrics: Metrics) -> list[str]:
    return metrics.page()[1].decode().splitlines()


# ------------------------------------------------------------------ figures


def test_rpcs_are_counted_by_method_and_code() -> None:
    metrics = Metrics()
    metrics.observe_rpc("Version", "OK", 0.002)
    metrics.observe_rpc("Version", "OK", 0.002)
    metrics.observe_rpc("Version", "NOT_FOUND", 0.5)
    lines = page(metrics)
    assert 'criadapt_rpc_seconds_count{code="OK",method="Version"} 2.0' in lines
    assert 'criadapt_rpc_seconds_bucket{code="OK",le="0.001",method="Version"} 0.0' in lines
    assert 'criadapt_rpc_seconds_count{code="NOT_FOUND",method="Version"} 1.0' in lines


def test_calls_in_flight_go_up_and_down() -> None:
    metrics = Metrics()
    metrics.in_flight("PullImage").inc()
    metrics.in_flight("PullImage").inc()
    metrics.in_flight("PullImage").dec()
    assert 'criadapt_rpc_in_flight{method="PullImage"} 1.0' in page(metrics)


def test_engine_calls_are_counted_by_outcome() -> None:
    metrics = Metrics()
    metrics.observe_engine("mock", "start", False, 0.1)
    metrics.observe_engine("mock", "start", True, 0.1)
    lines = page(metrics)
    assert 'criadapt_engine_seconds_count{backend="mock",call="start",ok="false"} 1.0' in lines
    assert 'criadapt_engine_seconds_count{backend="mock",call="start",ok="true"} 1.0' in lines


def test_objects_are_counted_when_the_page_is_read() -> None:
    metrics = Metrics()
    events = Drops(0)
    metrics.watch(FakeStore(), events, Drops(4))
    events.dropped = 3
    lines = page(metrics)
    assert 'criadapt_containers{state="running"} 2.0' in lines
    assert 'criadapt_containers{state="exited"} 0.0' in lines
    assert 'criadapt_sandboxes{state="ready"} 1.0' in lines
    assert "criadapt_events_dropped_total 3.0" in lines
    assert "criadapt_log_dropped_total 4.0" in lines


def test_two_sets_of_metrics_know_nothing_of_each_other() -> None:
    one, other = Metrics(backend="mock"), Metrics()
    one.observe_rpc("Version", "OK", 1)
    assert not any("Version" in line for line in page(other))
    assert any(line.startswith('criadapt_info{backend="mock"') for line in page(one))


async def test_the_loops_lag_is_what_sleep_took_too_long() -> None:
    metrics = Metrics()
    now = [0.0]
    rounds = [0.02, 0.0]

    async def sleep(interval: float) -> None:
        if not rounds:
            raise asyncio.CancelledError
        now[0] += interval + rounds.pop(0)

    with pytest.raises(asyncio.CancelledError):
        await metrics.watch_loop(sleep=sleep, clock=lambda: now[0])
    lines = page(metrics)
    assert "criadapt_loop_lag_seconds_count 2.0" in lines
    assert 'criadapt_loop_lag_seconds_bucket{le="0.01"} 1.0' in lines


def test_observing_an_rpc_is_cheap() -> None:
    metrics = Metrics()
    best = min(_time(metrics) for _ in range(5))
    assert best < 20e-6  # about 1 µs; the margin is for busy machines


def _time(metrics: Metrics) -> float:
    began = time.perf_counter()
    for _ in range(1000):
        metrics.observe_rpc("Version", "OK", 0.0004)
    return (time.perf_counter() - began) / 1000


# ------------------------------------------------------------------ the page


@pytest.fixture
async def served() -> AsyncIterator[MetricsPage]:
    async with serve_metrics(Metrics(), "127.0.0.1:0", timeout=0.2) as page:
        yield page


async def ask(page: MetricsPage, request: bytes) -> tuple[int, dict[str, str], bytes]:
    host, _, port = page.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        writer.write(request)
        answer = await reader.read()
    finally:
        await hang_up(writer)
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}, body


async def rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:  # cut with our request unread
        return b""


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def get(path: str, method: str = "GET", *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


async def test_metrics_are_served_as_text(served: MetricsPage) -> None:
    status, headers, body = await ask(served, get("/metrics?x=1"))
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert headers["connection"] == "close"
    assert int(headers["content-length"]) == len(body)
    assert b"criadapt_info" in body


async def test_openmetrics_is_served_to_who_asks(served: MetricsPage) -> None:
    _, headers, body = await ask(served, get("/metrics", "GET", "Accept: application/openmetrics-text; version=1.0.0"))
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_head_gets_the_head(served: MetricsPage) -> None:
    status, headers, body = await ask(served, get("/healthz", "HEAD"))
    assert (status, headers["content-length"], body) == (200, "3", b"")


async def test_other_paths_and_methods_are_refused(served: MetricsPage) -> None:
    assert (await ask(served, get("/")))[0] == 404
    status, headers, _ = await ask(served, get("/metrics", "DELETE"))
    assert (status, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("request_bytes", [b"nonsense\r\n\r\n", b"GET /metrics HTTP/1.1\r\n\r\n"])
async def test_what_is_not_http_is_refused(served: MetricsPage, request_bytes: bytes) -> None:
    assert (await ask(served, request_bytes))[0] == 400


async def test_a_head_that_does_not_end_is_refused(served: MetricsPage) -> None:
    assert (await ask(served, b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000))[0] == 431


async def test_a_client_that_says_nothing_is_hung_up_on(served: MetricsPage) -> None:
    host, _, port = served.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    assert await rest(reader) == b""  # after the time-out of the fixture
    await hang_up(writer)


async def test_too_many_connections_are_refused() -> None:
    async with serve_metrics(Metrics(), "127.0.0.1:0", timeout=30) as page:
        host, _, port = page.address.rpartition(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(MAX_CONNECTIONS)]
        reader, writer = await asyncio.open_connection(host, int(port))
        assert await rest(reader) == b""
        for each in [writer, *(writer for _, writer in idle)]:
            await hang_up(each)


async def test_health_says_what_is_wrong() -> None:
    async with serve_metrics(Metrics(), "127.0.0.1:0", unhealthy=lambda: "engine gone") as page:
        status, _, body = await ask(page, get("/healthz"))
    assert (status, body) == (503, b"engine gone\n")


async def test_closing_cuts_open_connections() -> None:
    async with serve_metrics(Metrics(), "127.0.0.1:0", timeout=30) as page:
        host, _, port = page.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /met")
        await asyncio.sleep(0)
    assert await rest(reader) == b""
    await hang_up(writer)


async def test_a_taken_address_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(FailedPrecondition, match=f"metrics.listen: cannot listen on {address}"):
            async with serve_metrics(Metrics(), address):
                pass


async def test_a_wrong_address_is_told() -> None:
    with pytest.raises(InvalidArgument, match=r"metrics\.listen: expected host:port"):
        async with serve_metrics(Metrics(), "9100"):
            pass
