"""Figures for Prometheus, and the small HTTP page that shows them.

The instruments live in a registry of their own, made by whoever makes a :class:`Metrics`: nothing here is global.
What can be counted when somebody asks (containers by state) is counted then; see :meth:`Metrics.watch`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

import h11

import criadapt
from criadapt.config import host_port
from criadapt.errors import FailedPrecondition, InvalidArgument
from criadapt.model.container import ContainerState
from criadapt.model.sandbox import PodSandboxState

if TYPE_CHECKING:
    from prometheus_client import Gauge, Metric

log = logging.getLogger(__name__)

# RunPodSandbox may take a minute, PullImage many; List answers in a millisecond.
RPC_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class Record(Protocol):
    """Something with a state: a container or a sandbox."""

    @property
    def state(self) -> IntEnum: ...


class Store(Protocol):
    """What can be counted."""

    def containers(self) -> Iterable[Record]: ...
    def sandboxes(self) -> Iterable[Record]: ...


class Dropping(Protocol):
    """What counts what it had to drop."""

    dropped: int


class Metrics:
    """Every instrument. The ``observe_…`` methods are called once per RPC or engine call and cost microseconds."""

    def __init__(self, *, backend: str = "") -> None:
        # Here and not at the top: whoever imports this module for its types does not pay for the library.
        from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector

        self.registry = registry = CollectorRegistry(auto_describe=False)
        self._rpc = Histogram(
            "criadapt_rpc_seconds",
            "Time that CRI calls took, by method and gRPC code.",
            ("method", "code"),
            registry=registry,
            buckets=RPC_BUCKETS,
        )
        self._in_flight = Gauge(
            "criadapt_rpc_in_flight", "CRI calls being served, by method.", ("method",), registry=registry
        )
        self._engine = Histogram(
            "criadapt_engine_seconds",
            "Time that calls to the engine took, by call and outcome.",
            ("backend", "call", "ok"),
            registry=registry,
            buckets=RPC_BUCKETS,
        )
        self._lag = Histogram(
            "criadapt_loop_lag_seconds",
            "How much later than asked for the event loop woke a task.",
            registry=registry,
            buckets=LAG_BUCKETS,
        )
        Gauge(
            "criadapt_info", "Constant 1; the labels say what runs.", ("version", "backend"), registry=registry
        ).labels(criadapt.__version__, backend).set(1)
        ProcessCollector(registry=registry)
        self._watched = _Watched()
        registry.register(self._watched)
        # labels() builds and hashes a tuple of strings under a lock; a dict of what it gave is several times faster.
        self._rpc_observe: dict[tuple[str, str], Callable[[float], None]] = {}
        self._engine_observe: dict[tuple[str, str, bool], Callable[[float], None]] = {}
        self._gauges: dict[str, Gauge] = {}

    def in_flight(self, method: str) -> Gauge:
        """The gauge to ``inc()`` when a call of `method` begins and ``dec()`` when it ends."""
        gauge = self._gauges.get(method)
        if gauge is None:
            gauge = self._gauges[method] = self._in_flight.labels(method)
        return gauge

    def observe_rpc(self, method: str, code: str, seconds: float) -> None:
        """A CRI call has ended; `code` is the name of its gRPC status."""
        observe = self._rpc_observe.get((method, code))
        if observe is None:
            observe = self._rpc_observe[method, code] = self._rpc.labels(method, code).observe
        observe(seconds)

    def observe_engine(self, backend: str, call: str, ok: bool, seconds: float) -> None:
        """A call to the engine has ended."""
        observe = self._engine_observe.get((backend, call, ok))
        if observe is None:
            child = self._engine.labels(backend, call, "true" if ok else "false")
            observe = self._engine_observe[backend, call, ok] = child.observe
        observe(seconds)

    def observe_lag(self, seconds: float) -> None:
        """A task was woken so much later than it had asked for."""
        self._lag.observe(seconds)

    def watch(self, store: Store, events: Dropping, pumps: Dropping) -> None:
        """Show these parts of the runtime, as they are whenever the page is read."""
        self._watched.parts = (store, events, pumps)

    def page(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and text of the page, in the format that the Accept header asks for."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return content_type, encode(self.registry)

    async def watch_loop(
        self,
        interval: float = 1.0,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Measure the event loop's lag until cancelled."""
        now = clock or asyncio.get_running_loop().time
        while True:
            due = now() + interval
            await sleep(interval)
            self.observe_lag(max(0.0, now() - due))


class _Watched:
    """What is counted when the page is read, and kept by those it belongs to."""

    def __init__(self) -> None:
        self.parts: tuple[Store, Dropping, Dropping] | None = None

    def collect(self) -> Iterator[Metric]:
        if self.parts is None:
            return
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        store, events, pumps = self.parts
        for noun, states, records in (
            ("containers", ContainerState, store.containers()),
            ("sandboxes", PodSandboxState, store.sandboxes()),
        ):
            counts = Counter(record.state for record in records)
            family = GaugeMetricFamily(f"criadapt_{noun}", f"Number of {noun} by state.", labels=("state",))
            for state in states:
                family.add_metric((state.name.lower(),), counts[state])
            yield family
        yield CounterMetricFamily(
            "criadapt_events_dropped", "Event streams cut because their client did not read.", value=events.dropped
        )
        yield CounterMetricFamily(
            "criadapt_log_dropped", "Lines of container output that reached no log.", value=pumps.dropped
        )


# ---------------------------------------------------------------------------------------------- the page

HEAD_TIMEOUT: Final = 5.0
"""Seconds for a client to send its request, and again to take the answer."""
MAX_CONNECTIONS: Final = 16
"""Prometheus keeps one; a few more for people and probes."""

_TEXT: Final = "text/plain; charset=utf-8"


@asynccontextmanager
async def serve_metrics(
    metrics: Metrics, address: str, *, unhealthy: Callable[[], str] = lambda: "", timeout: float = HEAD_TIMEOUT
) -> AsyncIterator[MetricsPage]:
    """Serve ``/metrics`` and ``/healthz`` on `address` (``host:port``) inside the ``async with``.

    `unhealthy` says what is wrong, or nothing. Raises FailedPrecondition when the address cannot be listened on.
    """
    try:
        host, port = host_port(address)
    except ValueError as error:
        raise InvalidArgument(f"metrics.listen: {error}") from error
    page = MetricsPage(metrics, unhealthy, timeout)
    try:
        server = await asyncio.start_server(page.handle, host, port, limit=16 << 10)
    except OSError as error:
        raise FailedPrecondition(f"metrics.listen: cannot listen on {address}: {error.strerror or error}") from error
    name, number = server.sockets[0].getsockname()[:2]
    page.address = f"[{name}]:{number}" if ":" in name else f"{name}:{number}"
    log.info("metrics are served", extra={"address": page.address})
    try:
        yield page
    finally:
        server.close()
        await page.close()


class MetricsPage:
    """One request per connection, GET or HEAD; everything else is refused."""

    address: str = ""
    """Where it listens, ``host:port`` with the real port."""

    def __init__(self, metrics: Metrics, unhealthy: Callable[[], str], timeout: float) -> None:
        self._metrics = metrics
        self._unhealthy = unhealthy
        self._timeout = timeout
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._closed = False

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        if self._closed or len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._open[task] = writer
        try:
            # A client that went away or never asked is its own affair.
            with suppress(OSError, TimeoutError):
                await self._serve(reader, writer)
        finally:
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            del self._open[task]

    async def close(self) -> None:
        """Cut the connections that are open."""
        self._closed = True
        # Not by cancelling the tasks: streams.py of Python 3.11 logs an error for each that is.
        tasks = list(self._open)
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=8 << 10)
        try:
            async with asyncio.timeout(self._timeout):
                while (event := http.next_event()) is h11.NEED_DATA:
                    http.receive_data(await reader.read(4096))
        except h11.RemoteProtocolError as error:
            await self._send(writer, http, error.error_status_hint, b"bad request\n")
            return
        if not isinstance(event, h11.Request):
            return
        accept = b",".join(value for name, value in event.headers if name == b"accept").decode("latin-1")
        status, content_type, body = self._answer(event.method, event.target, accept)
        await self._send(writer, http, status, body, content_type, head=event.method == b"HEAD")

    def _answer(self, method: bytes, target: bytes, accept: str) -> tuple[int, str, bytes]:
        path = target.partition(b"?")[0]
        if path not in (b"/metrics", b"/healthz"):
            return 404, _TEXT, b"there are /metrics and /healthz\n"
        if method not in (b"GET", b"HEAD"):
            return 405, _TEXT, b"only GET and HEAD\n"
        if path == b"/metrics":
            return 200, *self._metrics.page(accept)
        trouble = self._unhealthy()
        return (503, _TEXT, f"{trouble}\n".encode()) if trouble else (200, _TEXT, b"ok\n")

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        http: h11.Connection,
        status: int,
        body: bytes,
        content_type: str = _TEXT,
        head: bool = False,
    ) -> None:
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Connection", "close")]
        if status == 405:
            headers.append(("Allow", "GET, HEAD"))
        writer.write(http.send(h11.Response(status_code=status, headers=headers)) or b"")
        if not head:
            writer.write(http.send(h11.Data(data=body)) or b"")
        async with asyncio.timeout(self._timeout):
            # Without this, drain is content with a small rest that a client which stopped reading never takes.
            writer.transport.set_write_buffer_limits(high=0)
            await writer.drain()
