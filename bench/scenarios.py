"""What is measured. Each scenario starts the servers it needs and adds what it finds to the results."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import processes
from figures import Comparison, Fact, Results, Round
from kubelet import RUNTIME
from load import STEPS
from processes import Client, Server

from criadapt.cri.v1 import api_pb2 as pb

CALL_AIM = 1.3
LIST_AIM = 1.5
LIVES_AIM = 200.0
MEMORY_AIM = 200.0  # MiB
VERSION_AIM = 0.25  # s
SERVE_AIM = 0.6  # s
CLIENT_AIM = 0.35  # s
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    starts: int
    populations: tuple[int, ...]
    memory_pods: int
    mib: int
    sessions: int


FULL = Effort(
    rounds=7, seconds=0.3, starts=9, populations=(0, 100, 1000, 5000), memory_pods=1000, mib=512, sessions=200
)
QUICK = Effort(rounds=3, seconds=0.15, starts=3, populations=(0, 1000), memory_pods=100, mib=128, sessions=50)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a scenario works with."""

    folder: Path
    client: Client
    effort: Effort
    results: Results
    backend: str

    def compare(
        self,
        name: str,
        ours: Server,
        bare: Server,
        method: str,
        request: bytes = b"",
        *,
        inflights: tuple[int, ...] = (1, 32),
        aim: float | None = None,
    ) -> None:
        """One method on both servers, in turns."""
        size = len(self.client.capture(bare, method, request))
        for inflight in inflights:
            order = {
                "method": method,
                "request": base64.b64encode(request).decode(),
                "inflight": inflight,
                "seconds": self.effort.seconds,
            }
            rounds: dict[Server, list[Round]] = {ours: [], bare: []}
            for _ in range(self.effort.rounds):
                for server, found in rounds.items():
                    found.append(self.client.do("calls", target=server.target, pid=server.pid, **order))
            self.results.add(
                Comparison(
                    name=name,
                    inflight=inflight,
                    criadapt=rounds[ours],
                    bare=rounds[bare],
                    answer_bytes=size,
                    at_most=aim if inflight == 32 else None,
                )
            )


def starts(bench: Bench) -> None:
    """How long a process takes until it is of use, beside a Python that does nothing."""
    python, version, serve = [], [], []
    for number in range(bench.effort.starts):
        python.append(processes.seconds_of("-c", "pass"))
        version.append(processes.seconds_of("-m", "criadapt", "version"))
        with processes.criadapt(bench.folder, bench.backend) as server:
            serve.append(server.started_in)
            if number == 0:
                bench.results.add(Fact(name="memory of an empty server", values=[server.resident() / MIB], unit="MiB"))
    add = bench.results.add
    add(Fact(name="python -c pass", values=python, unit="s"))
    add(Fact(name="criadapt version", values=version, unit="s", aim=VERSION_AIM, note=_times(version, python)))
    connect = [processes.seconds_of("-c", "import criadapt; criadapt.Client") for _ in range(bench.effort.starts)]
    imported = [processes.seconds_of("-c", "import criadapt") for _ in range(bench.effort.starts)]
    add(Fact(name="import criadapt", values=imported, unit="s", note=_times(imported, python)))
    add(Fact(name="… and its client", values=connect, unit="s", aim=CLIENT_AIM, note=_times(connect, python)))
    add(Fact(name="criadapt serve, to listening", values=serve, unit="s", aim=SERVE_AIM, note=_times(serve, python)))
    with processes.bare(bench.folder, {}) as server:
        add(Fact(name="memory of the bare server", values=[server.resident() / MIB], unit="MiB"))
        add(Fact(name="bare server, to listening", values=[server.started_in], unit="s"))


def _times(values: list[float], of: list[float]) -> str:
    return f"{median(values) / median(of):.1f} × python -c pass"


def calls(bench: Bench) -> None:
    """RPCs on one object, and lists of 0 to 5,000."""
    lists = {"ListContainers": LIST_AIM, "ListPodSandbox": LIST_AIM}
    with processes.criadapt(bench.folder, bench.backend) as ours:
        present = 0
        for population in bench.effort.populations:
            if population:
                order = {"pods": population - present, "each": 1}
                made = bench.client.do("fill", target=ours.target, **order)
                present = population
            with _bare_twin(bench, ours, {RUNTIME + method: b"" for method in lists}) as bare:
                for method, aim in lists.items():
                    name = f"{method}, {population:,}"
                    bench.compare(name, ours, bare, RUNTIME + method, aim=aim if population == 1000 else None)
            if population == 0:
                singles = {RUNTIME + "Version": b"", RUNTIME + "Status": b""}
                with _bare_twin(bench, ours, singles) as bare:
                    bench.compare("Version", ours, bare, RUNTIME + "Version", aim=CALL_AIM)
                    bench.compare("Status", ours, bare, RUNTIME + "Status", aim=CALL_AIM)
            elif population == 1000:
                _with_thousand(bench, ours, made["sandbox"], made["container"])


def _with_thousand(bench: Bench, ours: Server, sandbox: str, container: str) -> None:
    running = pb.ListContainersRequest(
        filter=pb.ContainerFilter(state=pb.ContainerStateValue(state=pb.CONTAINER_RUNNING))
    )
    asked = (
        ("ContainerStatus", "ContainerStatus", pb.ContainerStatusRequest(container_id=container)),
        ("PodSandboxStatus", "PodSandboxStatus", pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox)),
        ("ListContainers, 1,000, running ones", "ListContainers", running),
        ("ListContainerStats, 1,000", "ListContainerStats", pb.ListContainerStatsRequest()),
        ("ListPodSandboxStats, 1,000", "ListPodSandboxStats", pb.ListPodSandboxStatsRequest()),
    )
    requests = {RUNTIME + method: request.SerializeToString() for _, method, request in asked}
    with _bare_twin(bench, ours, requests) as bare:
        for name, method, _ in asked:
            # Stats are asked for every ten seconds, by one caller.
            inflights = (1,) if method.endswith("Stats") else (1, 32)
            bench.compare(name, ours, bare, RUNTIME + method, requests[RUNTIME + method], inflights=inflights)


def _bare_twin(bench: Bench, ours: Server, requests: Mapping[str, bytes]) -> Server:
    """A bare server with the answers that `ours` gives to these requests."""
    answers = {method: bench.client.capture(ours, method, request) for method, request in requests.items()}
    return processes.bare(bench.folder, answers)


def lives(bench: Bench) -> None:
    """Whole pod lives, their steps, and how fast their events arrive."""
    ids = {
        "RunPodSandbox": pb.RunPodSandboxResponse(pod_sandbox_id="5" * 64),
        "CreateContainer": pb.CreateContainerResponse(container_id="c" * 64),
    }
    answers = {RUNTIME + step: ids[step].SerializeToString() if step in ids else b"" for step in STEPS}
    with (
        processes.criadapt(bench.folder, bench.backend) as ours,
        processes.bare(bench.folder, answers) as bare,
    ):
        bench.client.do("fill", target=ours.target, pods=0, each=0)
        found: dict[int, dict[Server, list[Round]]] = {}
        for inflight in (1, 32):
            found[inflight] = {ours: [], bare: []}
            for _ in range(bench.effort.rounds):
                for server, rounds in found[inflight].items():
                    order = {"inflight": inflight, "seconds": bench.effort.seconds * 2}
                    rounds.append(bench.client.do("lives", target=server.target, pid=server.pid, **order))
            both = found[inflight]
            name = "pod life cycle (7 RPCs)"
            bench.results.add(Comparison(name=name, inflight=inflight, criadapt=both[ours], bare=both[bare]))
        rates = [each["rate"] for each in found[32][ours]]
        note = f"{median(each['cpu'] for each in found[32][ours]) * 1e3:.1f} ms of CPU each"
        bench.results.add(
            Fact(name="pod life cycles", values=rates, unit="per s", aim=LIVES_AIM, higher_is_better=True, note=note)
        )
        for step in STEPS:
            took = [each["steps"][step]["p50"] * 1000 for each in found[1][ours]]
            floor = [each["steps"][step]["p50"] * 1000 for each in found[1][bare]]
            note = f"bare {median(floor):.2f} ms"
            bench.results.add(Fact(name=f"{step}, one at a time", values=took, unit="ms", note=note))
        delays: list[Round] = []
        for _ in range(bench.effort.rounds):
            order = {"inflight": 8, "seconds": bench.effort.seconds}
            delays.append(bench.client.do("events", target=ours.target, pid=ours.pid, **order))
        for key in ("p50", "p99"):
            values = [each[key] * 1000 for each in delays]
            bench.results.add(
                Fact(name=f"event delivery, {key}", values=values, unit="ms", note="8 life cycles in flight")
            )


def memory(bench: Bench) -> None:
    """Resident memory of a full node many times over: pods of ten running containers."""
    pods, each = bench.effort.memory_pods, 10
    with processes.criadapt(bench.folder, bench.backend) as ours:
        empty = ours.resident()
        made = bench.client.do("fill", target=ours.target, pods=pods, each=each)
        bench.client.capture(ours, RUNTIME + "ListPodSandbox")
        bench.client.capture(ours, RUNTIME + "ListContainers")
        full = ours.resident()
        found = bench.client.do("ask_all", target=ours.target)
        if found["running"] != pods * each:
            raise processes.BenchError(f"{found['running']} of {pods * each} containers run; see its log")
        asked = ours.resident()
    name = f"{pods * each:,} running containers in {pods:,} pods"
    add = bench.results.add
    add(
        Fact(
            name=f"memory with {name}",
            values=[full / MIB],
            unit="MiB",
            aim=MEMORY_AIM if pods == 1000 else None,
            note=f"{(full - empty) / (pods * each) / 1024:.1f} KiB per container, listed once",
        )
    )
    add(Fact(name="… and every status asked for", values=[asked / MIB], unit="MiB"))
    add(Fact(name=f"time to make {name}", values=[made["elapsed"]], unit="s"))
