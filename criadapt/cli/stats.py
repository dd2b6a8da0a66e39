"""``criadapt stats``: what containers and pods use."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from criadapt.cli.listing import is_meant
from criadapt.cli.runtime import complete_pod, connected, duration, label_option
from criadapt.cli.show import amount, emit, format_option, metadata_name, namespace_of, rich_table, short, table

if TYPE_CHECKING:
    from criadapt.client import Client
    from criadapt.model.sandbox import PodSandbox
    from criadapt.model.stats import ContainerStats, CpuUsage, PodSandboxStats

CONTAINER_HEADER = ("CONTAINER ID", "CPU %", "MEMORY", "DISK", "INODES", "NAME", "POD", "NAMESPACE")
POD_HEADER = ("POD ID", "CPU %", "MEMORY", "PROCESSES", "RECEIVED", "SENT", "CONTAINERS", "POD", "NAMESPACE")

Row = Sequence[str]


@click.command()
@click.option("--pods", "of_pods", is_flag=True, help="Whole pods, with their processes and networks.")
@click.option(
    "-p",
    "--pod",
    metavar="POD",
    help="Only such a pod: a name, a glob, or the beginning of an id.",
    shell_complete=complete_pod,
)
@label_option("Only those with this label; may be repeated.")
@click.option("-w", "--watch", is_flag=True, help="Go on until Ctrl-C.")
@click.option(
    "--interval", metavar="DURATION", callback=duration, help="Time between two looks.  [default: 1s, with --watch 2s]"
)
@click.option("--no-trunc", "full", is_flag=True, help="Show whole ids.")
@format_option("table", "json", "yaml")
@connected
def stats(
    cri: Client,
    of_pods: bool,
    pod: str | None,
    labels: Mapping[str, str],
    watch: bool,
    interval: float | None,
    full: bool,
    output: str,
) -> None:
    """Show CPU, memory and disk of running containers, or of pods.

    A processor in full use is 100 %. Where the runtime tells no rate, it comes from two looks.
    """
    looking = _Look(cri, of_pods=of_pods, pod=pod, labels=labels, full=full)
    if output != "table":
        looking.look()
        emit(looking.found, output)
        return
    rows = looking.look()
    if watch:
        _watch(looking, rows, interval or 2.0)
        return
    if looking.unknown:
        time.sleep(interval or 1.0)
        rows = looking.look()
    table(looking.header, rows)


class _Look:
    """Looks at the figures again and again, and knows what they were before."""

    def __init__(self, cri: Client, *, of_pods: bool, pod: str | None, labels: Mapping[str, str], full: bool) -> None:
        self.header = POD_HEADER if of_pods else CONTAINER_HEADER
        self.found: Sequence[ContainerStats | PodSandboxStats] = ()
        self.unknown = False
        """Whether the last look has shown somebody whose use of CPU is not known yet."""
        self._cri = cri
        self._of_pods = of_pods
        self._pod = pod
        self._labels = labels
        self._full = full
        self._before: dict[str, CpuUsage] = {}

    def look(self) -> list[Row]:
        """Rows of the table, the busiest first."""
        self.unknown = False
        pods = {pod.id: pod for pod in self._cri.list_pod_sandbox()}
        rows = sorted(self._pods(pods) if self._of_pods else self._containers(pods), key=lambda pair: -pair[0])
        return [row for _, row in rows]

    def _containers(self, pods: Mapping[str, PodSandbox]) -> Iterator[tuple[float, Row]]:
        from criadapt.model.stats import ContainerStatsFilter

        owners = {one.id: one.pod_sandbox_id for one in self._cri.list_containers()}
        found = []
        for one in self._cri.list_container_stats(ContainerStatsFilter(label_selector=self._labels)):
            id = one.attributes.id if one.attributes else ""
            owner = owners.get(id, "")
            if self._pod is not None and not is_meant(owner, pods.get(owner), self._pod):
                continue
            found.append(one)
            load = self._load(id, one.cpu)
            disk = one.writable_layer
            yield (
                load or 0.0,
                (
                    short(id, self._full),
                    _percent(load),
                    amount(one.memory.working_set_bytes if one.memory else None),
                    amount(disk.used_bytes if disk else None),
                    _number(disk.inodes_used if disk else None),
                    metadata_name(one.attributes),
                    metadata_name(pods.get(owner)),
                    namespace_of(pods.get(owner)),
                ),
            )
        self.found = found

    def _pods(self, pods: Mapping[str, PodSandbox]) -> Iterator[tuple[float, Row]]:
        from criadapt.model.stats import LinuxPodSandboxStats, PodSandboxStatsFilter

        found = []
        for one in self._cri.list_pod_sandbox_stats(PodSandboxStatsFilter(label_selector=self._labels)):
            id = one.attributes.id if one.attributes else ""
            if self._pod is not None and not is_meant(id, pods.get(id), self._pod):
                continue
            found.append(one)
            linux = one.linux or LinuxPodSandboxStats()
            load = self._load(id, linux.cpu)
            interface = linux.network.default_interface if linux.network else None
            yield (
                load or 0.0,
                (
                    short(id, self._full),
                    _percent(load),
                    amount(linux.memory.working_set_bytes if linux.memory else None),
                    _number(linux.process.process_count if linux.process else None),
                    amount(interface.rx_bytes if interface else None),
                    amount(interface.tx_bytes if interface else None),
                    str(len(linux.containers)),
                    metadata_name(one.attributes),
                    namespace_of(one.attributes),
                ),
            )
        self.found = found

    def _load(self, id: str, cpu: CpuUsage | None) -> float | None:
        """Per cent of one processor, since the last look if there was one."""
        before = self._before.get(id)
        if cpu is None or cpu.usage_core_nano_seconds is None:
            return None
        if before is None or cpu.timestamp > before.timestamp:
            self._before[id] = cpu
        if before is not None and before.usage_core_nano_seconds is not None and cpu.timestamp > before.timestamp:
            used = cpu.usage_core_nano_seconds - before.usage_core_nano_seconds
            return max(0.0, used / (cpu.timestamp - before.timestamp) * 100)
        if cpu.usage_nano_cores is not None:
            return cpu.usage_nano_cores / 1e7
        self.unknown = True
        return None


def _watch(looking: _Look, rows: Iterable[Row], interval: float) -> None:
    if not sys.stdout.isatty():
        while True:
            table(looking.header, rows)
            click.echo()
            sys.stdout.flush()
            time.sleep(interval)
            rows = looking.look()
    from rich.live import Live

    with Live(rich_table(looking.header, rows), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            live.update(rich_table(looking.header, looking.look()), refresh=True)


def _percent(load: float | None) -> str:
    return "-" if load is None else f"{load:.2f}"


def _number(count: int | None) -> str:
    return "-" if count is None else str(count)
