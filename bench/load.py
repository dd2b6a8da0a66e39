"""The load: a process of its own that calls CRI servers and takes the time.

It reads one JSON object per line from stdin, ``{"do": ..., ...}``, and writes one JSON object per line to stdout.
Messages are neither decoded nor encoded here, except the two ids of a life cycle and the events.
"""

from __future__ import annotations

import base64
import itertools
import json
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

import kubelet
from http2 import Connection
from kubelet import IMAGES, RUNTIME
from streamload import Answer, StreamLoad, cpu_of

from criadapt.cri.v1 import api_pb2 as pb

GRACE = 10
STEPS = (
    "RunPodSandbox",
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
    "StopPodSandbox",
    "RemovePodSandbox",
)
WARM_UP_SECONDS = 0.1

Work = Generator[tuple[str, bytes], bytes, None]
"""Yields (method, request), is sent the answer, and yields the next."""


def spread(seconds: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    ordered = sorted(seconds)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]}


class Load(StreamLoad):
    """Connections to the servers, and what can be asked of them."""

    def __init__(self) -> None:
        super().__init__()
        self._connections: dict[str, Connection] = {}
        self._numbers = itertools.count(1)

    def capture(self, target: str, method: str, request: str = "") -> Answer:
        """The bytes of one answer."""
        return {"answer": base64.b64encode(self._ask(target, method, base64.b64decode(request))).decode()}

    def calls(self, target: str, pid: int, method: str, inflight: int, seconds: float, request: str = "") -> Answer:
        """One method, over and over, with `inflight` calls under way at a time."""
        connection, body = self._to(target), base64.b64decode(request)
        clock, took = time.perf_counter, list[float]()

        def crowd(end: float) -> None:
            def ask() -> None:
                began = clock()

                def done(answer: bytes) -> None:
                    now = clock()
                    took.append(now - began)
                    if now < end:
                        ask()

                connection.call(method, body, done, keep=False)

            for _ in range(inflight):
                ask()
            while connection.under_way:
                connection.pump()

        crowd(clock() + WARM_UP_SECONDS)
        took.clear()
        with _timed(pid) as result:
            crowd(clock() + seconds)
            result["calls"] = len(took)
        return result | spread(took)

    def lives(self, target: str, pid: int, inflight: int, seconds: float) -> Answer:
        """Whole pod lives: run, create, start, stop, remove, stop, remove."""
        took: dict[str, list[float]] = {step: [] for step in STEPS}
        whole: list[float] = []

        def live(end: float) -> Work:
            while time.perf_counter() < end:
                began = time.perf_counter()
                yield from self._live(took)
                whole.append(time.perf_counter() - began)

        def crowd(length: float) -> None:
            end = time.perf_counter() + length
            self._through(target, (live(end) for _ in range(inflight)))

        crowd(WARM_UP_SECONDS)
        whole.clear()
        for step in took.values():
            step.clear()
        with _timed(pid) as result:
            crowd(seconds)
            result["calls"] = len(whole)
        return result | spread(whole) | {"steps": {name: spread(step) for name, step in took.items()}}

    def events(self, target: str, pid: int, inflight: int, seconds: float) -> Answer:
        """Pod lives with somebody listening: how long an event is on its way, from its own time to the listener."""
        delays: list[float] = []

        def arrived(message: bytes) -> None:
            now = time.time_ns()
            delays.append((now - pb.ContainerEventResponse.FromString(message).created_at) / 1e9)

        connection = self._to(target)
        number = connection.call(RUNTIME + "GetContainerEvents", b"", lambda answer: None, each=arrived)
        self._ask(target, RUNTIME + "Version")  # answered after the subscription was made
        lives = self.lives(target, pid, inflight, seconds)
        connection.pump(0.2)
        connection.cancel(number)
        return {"events": len(delays), "lives": lives} | spread(delays)

    def fill(self, target: str, pods: int, each: int, inflight: int = 16) -> Answer:
        """Make pods with `each` running containers; tells the ids of the last."""
        last: Answer = {}
        todo = iter(range(pods))

        def make() -> Work:
            for _ in todo:
                number = next(self._numbers)
                answer = yield RUNTIME + "RunPodSandbox", kubelet.run_pod(number)
                last["sandbox"] = pod = pb.RunPodSandboxResponse.FromString(answer).pod_sandbox_id
                for index in range(each):
                    request = kubelet.create_container(pod, number, f"app-{index}")
                    answer = yield RUNTIME + "CreateContainer", request
                    last["container"] = id = pb.CreateContainerResponse.FromString(answer).container_id
                    start = pb.StartContainerRequest(container_id=id)
                    yield RUNTIME + "StartContainer", start.SerializeToString()

        self._ask(target, IMAGES + "PullImage", kubelet.pull())
        began = time.perf_counter()
        self._through(target, (make() for _ in range(inflight)))
        return last | {"elapsed": time.perf_counter() - began}

    def ask_all(self, target: str) -> Answer:
        """Ask for the status of every pod and container once, as kubelet does after it starts."""
        pods = pb.ListPodSandboxResponse.FromString(self._ask(target, RUNTIME + "ListPodSandbox"))
        containers = pb.ListContainersResponse.FromString(self._ask(target, RUNTIME + "ListContainers"))
        for pod in pods.items:
            request = pb.PodSandboxStatusRequest(pod_sandbox_id=pod.id)
            self._ask(target, RUNTIME + "PodSandboxStatus", request.SerializeToString())
        running = 0
        for container in containers.containers:
            status = pb.ContainerStatusRequest(container_id=container.id)
            self._ask(target, RUNTIME + "ContainerStatus", status.SerializeToString())
            running += container.state == pb.CONTAINER_RUNNING
        return {"pods": len(pods.items), "containers": len(containers.containers), "running": running}

    def _to(self, target: str) -> Connection:
        if target not in self._connections:
            self._connections[target] = Connection(target)
        return self._connections[target]

    def _ask(self, target: str, method: str, request: bytes = b"") -> bytes:
        answers: list[bytes] = []
        self._to(target).call(method, request, answers.append)
        while not answers:
            self._to(target).pump()
        return answers[0]

    def _through(self, target: str, works: Iterable[Work]) -> None:
        """Do all works, each one call at a time."""
        connection, left = self._to(target), 0

        def go_on(work: Work, answer: bytes | None) -> None:
            nonlocal left
            try:
                method, request = next(work) if answer is None else work.send(answer)
            except StopIteration:
                left -= 1
                return
            connection.call(method, request, lambda answer: go_on(work, answer))

        for work in works:
            left += 1
            go_on(work, None)
        while left:
            connection.pump()

    def _live(self, took: dict[str, list[float]]) -> Work:
        number, clock = next(self._numbers), time.perf_counter

        def step(name: str, request: bytes) -> Generator[tuple[str, bytes], bytes, bytes]:
            began = clock()
            answer = yield RUNTIME + name, request
            took[name].append(clock() - began)
            return answer

        answer = yield from step("RunPodSandbox", kubelet.run_pod(number))
        pod = pb.RunPodSandboxResponse.FromString(answer).pod_sandbox_id
        answer = yield from step("CreateContainer", kubelet.create_container(pod, number, "app"))
        id = pb.CreateContainerResponse.FromString(answer).container_id
        yield from step("StartContainer", pb.StartContainerRequest(container_id=id).SerializeToString())
        yield from step("StopContainer", pb.StopContainerRequest(container_id=id, timeout=GRACE).SerializeToString())
        yield from step("RemoveContainer", pb.RemoveContainerRequest(container_id=id).SerializeToString())
        yield from step("StopPodSandbox", pb.StopPodSandboxRequest(pod_sandbox_id=pod).SerializeToString())
        yield from step("RemovePodSandbox", pb.RemovePodSandboxRequest(pod_sandbox_id=pod).SerializeToString())


@contextmanager
def _timed(pid: int) -> Iterator[Answer]:
    result: Answer = {}
    mine, theirs, began = time.process_time(), cpu_of(pid), time.perf_counter()
    yield result
    elapsed, used = time.perf_counter() - began, cpu_of(pid) - theirs
    result["elapsed"] = elapsed
    result["rate"] = result["calls"] / elapsed
    result["cpu"] = used / result["calls"]
    result["server_busy"] = used / elapsed
    result["client_busy"] = (time.process_time() - mine) / elapsed


def main() -> None:
    """Obey until stdin ends."""
    load = Load()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = getattr(load, order.pop("do"))(**order)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
