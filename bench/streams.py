"""Scenario: exec and port-forward over both transports, beside a bare TCP connection that carries as much."""

from __future__ import annotations

from statistics import median

import processes
from figures import Fact, Round
from processes import Server
from scenarios import Bench

AIMS = {
    ("stdout", "spdy"): 600.0,
    ("stdin", "spdy"): 600.0,
    ("stdout", "websocket"): 600.0,
    ("stdin", "websocket"): 350.0,
}
"""MiB/s."""

FORWARDS = 100
STALLS = {"stalled_reader": "client that reads nothing", "stalled_command": "command that reads nothing"}
STALL_AIM = 8.0  # MiB
TRANSPORTS = ("spdy", "websocket")
DIRECTIONS = {"stdout": "out", "stdin": "in"}
WEB_PORT = 80
MIB = 1 << 20


def streams(bench: Bench) -> None:
    """All figures of streaming."""
    with processes.criadapt(bench.folder, bench.backend) as ours, processes.pipe(bench.folder) as bare:
        client, mib = bench.client, bench.effort.mib
        made = client.do("serve_web", target=ours.target)
        at = {"target": ours.target, "pid": ours.pid, "container": made["container"]}
        for direction, short in DIRECTIONS.items():
            rounds: dict[str, list[Round]] = {name: [] for name in (*TRANSPORTS, "bare")}
            for _ in range(bench.effort.rounds):
                for transport in TRANSPORTS:
                    rounds[transport].append(client.do(direction, **at, transport=transport, mib=mib))
                order = {"target": bare.target, "pid": bare.pid, "direction": short, "mib": mib}
                rounds["bare"].append(client.do("bare_bytes", **order))
            _throughput(bench, direction, rounds)
        for transport in TRANSPORTS:
            order = {"target": ours.target, "container": made["container"], "transport": transport}
            _times(bench, transport, client.do("sessions", **order, times=bench.effort.sessions))
        _forwards(bench, ours, made["sandbox"])
        for transport in TRANSPORTS:
            for what, name in STALLS.items():
                growth = [client.do(what, **at, transport=transport, mib=mib)["growth"] / MIB for _ in range(3)]
                fact = Fact(name=f"memory growth, {transport}, {name}", values=[max(growth)], unit="MiB", aim=STALL_AIM)
                bench.results.add(fact)


def _throughput(bench: Bench, direction: str, rounds: dict[str, list[Round]]) -> None:
    floor = median(each["rate"] for each in rounds["bare"])
    for transport in TRANSPORTS:
        rates = [each["rate"] for each in rounds[transport]]
        cpu = median(each["cpu"] for each in rounds[transport])
        bare = f"bare {floor:,.0f} MiB/s, {median(each['cpu'] for each in rounds['bare']):.2f} s"
        bench.results.add(
            Fact(
                name=f"exec {direction}, {transport}",
                values=rates,
                unit="MiB/s",
                aim=AIMS[direction, transport],
                higher_is_better=True,
                note=f"{cpu:.2f} s of CPU per GiB; {bare}",
            )
        )


def _times(bench: Bench, transport: str, found: Round) -> None:
    connected, whole = found["connected"] * 1000, found["whole"] * 1000
    note = f"whole command {whole:.2f} ms"
    bench.results.add(Fact(name=f"exec, {transport}, until connected", values=[connected], unit="ms", note=note))


def _forwards(bench: Bench, ours: Server, pod: str) -> None:
    order = {"target": ours.target, "pod": pod, "port": WEB_PORT, "connections": FORWARDS}
    took = [bench.client.do("forwards", **order)["seconds"] * 1000 for _ in range(bench.effort.rounds)]
    note = "open at the same time, one page each"
    bench.results.add(Fact(name=f"{FORWARDS} forwarded connections", values=took, unit="ms", note=note))
