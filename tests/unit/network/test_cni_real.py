"""The CNI network over Debian's plugins, on a host of its own: a network namespace that plays the machine.

Bridges, addresses and iptables rules exist in it only, and go with it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from criadapt.backends.dialing import dial
from criadapt.errors import AlreadyExists, EngineError, FailedPrecondition
from criadapt.host import netns
from criadapt.model.sandbox import PodSandboxConfig, PodSandboxMetadata, PortMapping
from criadapt.network.base import READY
from criadapt.network.cni import CNINetwork
from criadapt.network.config import VERSIONS
from criadapt.network.defaults import write_default_conflist
from criadapt.network.plugin import Plugins
from criadapt.network.podinfo import EGRESS, INGRESS

PLUGINS = Path("/usr/lib/cni")
NEEDED = ("bridge", "host-local", "portmap", "firewall")
BOUND = 30.0


def missing() -> str:
    absent = [name for name in NEEDED if not (PLUGINS / name).exists()]
    tools = [name for name in ("nsenter", "ip", "iptables", "iptables-save") if shutil.which(name) is None]
    return f"not installed: {', '.join([*absent, *tools])}" if absent or tools else ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


class Lab:
    """A host with Debian's plugins, and pods on it."""

    def __init__(self, base: Path) -> None:
        self.host = str(base / "host")
        self.base = base
        self.bin = base / "bin"
        self.configs = base / "net.d"
        self.namespaces: dict[str, str] = {}  # path of each pod's, as an engine would name it
        self.bin.mkdir()
        self.configs.mkdir()
        for plugin in PLUGINS.iterdir():
            path = self.bin / plugin.name
            path.write_text(f'#!/bin/sh\nexec nsenter --net={self.host} {plugin} "$@"\n')
            path.chmod(0o755)
        self.network = self.open()

    def open(self, **options: Any) -> CNINetwork:
        async def netns_of(id: str) -> str:
            return self.namespaces[id]

        return CNINetwork(
            netns_of=netns_of,
            state_dir=self.base / "state",
            pin=True,
            config_dir=self.configs,
            plugin_dirs=[self.bin],
            **options,
        )

    def configure(self, *more: dict[str, Any], **bridge: Any) -> None:
        ranges = [[{"subnet": "10.99.0.0/24"}], [{"subnet": "fd99::/64"}]]
        ipam = {"type": "host-local", "dataDir": str(self.base / "ipam"), "ranges": ranges}
        first = {"type": "bridge", "bridge": "lab0", "isGateway": True, "ipMasq": True, "ipam": ipam, **bridge}
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        content = {"cniVersion": "1.0.0", "name": "labnet", "plugins": [first, portmap, {"type": "firewall"}, *more]}
        (self.configs / "10-lab.conflist").write_text(json.dumps(content))

    async def pod(self, id: str) -> None:
        """Make a pod's namespace."""
        path = str(self.base / "engine" / id)
        await netns.make(path)
        self.namespaces[id] = path

    def run(self, *args: str, where: str = "") -> str:
        command = ["nsenter", f"--net={where or self.host}", *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def leftovers(self, *words: str) -> list[str]:
        """Everything that the plugins could have left."""
        links = json.loads(self.run("ip", "-j", "link"))
        found = [link["ifname"] for link in links if link["ifname"] not in ("lo", "lab0")]
        for tool in ("iptables-save", "ip6tables-save"):
            lines = self.run(tool).splitlines()
            found += [line for line in lines if any(word in line for word in ("labnet", "10.99.", "fd99", *words))]
        ipam = self.base / "ipam" / "labnet"
        found += [path.name for path in ipam.iterdir() if path.name != "lock" and "last_" not in path.name]
        for folder in ("netns", "cni"):
            found += [path.name for path in (self.base / "state" / folder).iterdir()]
        return found

    def close(self) -> None:
        for folder in (self.base / "engine", self.base / "state" / "netns"):
            for id in netns.pinned(str(folder)):
                netns.remove(str(folder / id))
        netns.remove(self.host)


@pytest.fixture
async def lab(namespaces: None, tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path)
    await netns.make(lab.host)
    try:
        lab.run("ip", "link", "add", "probe", "type", "bridge")
        lab.run("ip", "link", "del", "probe")
        lab.run("iptables", "-t", "nat", "-S")
    except subprocess.CalledProcessError as error:
        lab.close()
        pytest.skip(f"this kernel or its rights do not do for the plugins: {error.stderr}")
    yield lab
    lab.close()


def config(name: str, *ports: PortMapping, **more: Any) -> PodSandboxConfig:
    metadata = PodSandboxMetadata(name=name, namespace="lab", uid=f"uid-{name}")
    return PodSandboxConfig(metadata=metadata, port_mappings=ports, **more)


async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def serve(path: str, port: int, address: str = "0.0.0.0") -> asyncio.Server:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    (server,) = await netns.sockets(path, family)
    server.bind((address, port))
    return await asyncio.start_server(greeting, sock=server)


async def fetch(where: str, address: str, port: int) -> bytes:
    """What a server says to somebody in the namespace `where`."""
    (client,) = await netns.sockets(where, socket.AF_INET6 if ":" in address else socket.AF_INET)
    loop = asyncio.get_running_loop()
    with client:
        async with asyncio.timeout(BOUND):
            await loop.sock_connect(client, (address, port))
            return await loop.sock_recv(client, 100)


async def test_two_pods_reach_each_other_and_the_host_reaches_their_ports(lab: Lab) -> None:
    lab.configure()
    lab.run("iptables", "-P", "FORWARD", "DROP")  # as Docker sets it: the firewall plugin is there for that
    assert await lab.network.readiness() == READY
    await lab.pod("a")
    await lab.pod("b")
    web = config("a", PortMapping(container_port=80, host_port=8080))
    ips = await lab.network.attach("a", web)
    assert [ip.rpartition(".")[0] or ip.rpartition(":")[0] for ip in ips] == ["10.99.0", "fd99:"]
    (other, _) = await lab.network.attach("b", config("b"))
    assert other != ips[0]
    async with await serve(lab.namespaces["a"], 80), await serve(lab.namespaces["a"], 81, "::"):
        assert await fetch(lab.namespaces["b"], ips[0], 80) == b"hello"
        assert await fetch(lab.namespaces["b"], ips[1], 81) == b"hello"
        assert await fetch(lab.host, ips[0], 80) == b"hello"
        connection = await dial(lab.host, 8080)  # 127.0.0.1 of the host
        async with asyncio.timeout(BOUND):
            assert await connection.read() == b"hello"
        await connection.close()
        connection = await dial(lab.namespaces["a"], 80)
        assert await connection.read() == b"hello"
        await connection.close()
    await lab.network.check("b")  # not "a": portmap 1.1 looks for the IPv4 rules of dual stack in ip6tables
    for id, pod in (("a", web), ("b", config("b"))):
        await lab.network.detach(id, pod)
    assert lab.leftovers() == []


async def test_deleting_twice_is_success_and_deletes_nothing_more(lab: Lab) -> None:
    lab.configure()
    for id in ("a", "b"):
        await lab.pod(id)
        await lab.network.attach(id, config(id))
    await lab.network.detach("a", config("a"))
    await lab.open().detach("a", config("a"))
    await lab.network.check("b")
    assert lab.leftovers()
    await lab.network.detach("b", config("b"))
    assert lab.leftovers() == []


async def test_nothing_is_left_when_the_engine_has_let_the_namespace_go_before(lab: Lab) -> None:
    """Docker's go with the infra container's process, which is killed before the network is released."""
    lab.configure()
    await lab.pod("a")
    web = config("a", PortMapping(container_port=80, host_port=8080))
    await lab.network.attach("a", web)
    netns.remove(lab.namespaces["a"])
    del lab.namespaces["a"]
    await lab.open().detach("a", web)
    assert lab.leftovers() == []


async def test_addresses_and_ports_are_given_back_when_the_namespace_has_vanished(lab: Lab) -> None:
    """As after a reboot, or where somebody unmounted the pin: what needs no namespace is cleaned up."""
    lab.configure(ipMasq=False)  # the bridge plugin 1.1 finds its rules by the addresses it reads inside
    await lab.pod("a")
    web = config("a", PortMapping(container_port=80, host_port=8080))
    await lab.network.attach("a", web)
    netns.remove(lab.namespaces["a"])
    netns.remove(str(lab.base / "state" / "netns" / "a"))
    await lab.network.detach("a", web)
    deadline = time.monotonic() + BOUND
    while lab.leftovers():  # the kernel takes the interfaces down when it gets to it
        assert time.monotonic() < deadline, lab.leftovers()
        await asyncio.sleep(0.01)


async def test_what_was_forgotten_is_cleaned_up_by_the_plugins_own_books(lab: Lab) -> None:
    lab.configure(ipMasq=False)
    await lab.pod("a")
    web = config("a", PortMapping(container_port=80, host_port=8080))
    await lab.network.attach("a", web)
    (lab.base / "state" / "cni" / "a.json").unlink()
    await lab.network.detach("a", web)
    netns.remove(lab.namespaces["a"])
    assert [path.name for path in (lab.base / "ipam" / "labnet").iterdir() if path.name[0] in "1f"] == []
    assert "8080" not in lab.run("iptables-save")


async def test_cleaning_up_after_a_crash_lets_go_of_dead_pods_and_stray_pins(lab: Lab) -> None:
    lab.configure()
    for id in ("alive", "dead"):
        await lab.pod(id)
        await lab.network.attach(id, config(id))
    stray = lab.base / "state" / "netns" / "stray"
    netns.pin(lab.namespaces["dead"], str(stray))
    assert await lab.open().clean_up(["alive"]) == []
    assert netns.pinned(str(stray.parent)) == ["alive"]
    await lab.network.check("alive")
    await lab.network.detach("alive", config("alive"))
    assert lab.leftovers() == []


async def test_a_failure_at_the_end_of_the_chain_leaves_nothing(lab: Lab) -> None:
    lab.configure({"type": "tuning", "sysctl": {"net.ipv4.no.such": "1"}})
    await lab.pod("a")
    with pytest.raises(EngineError, match="CNI plugin 'tuning' of network 'labnet' cannot add pod 'lab/a': "):
        await lab.network.attach("a", config("a", PortMapping(container_port=80, host_port=8080)))
    assert lab.leftovers() == []


async def test_a_cancelled_pod_leaves_nothing_whenever_it_is_cancelled(lab: Lab) -> None:
    lab.configure()
    await lab.pod("a")
    web = config("a", PortMapping(container_port=80, host_port=8080))
    await lab.network.attach("a", web)
    await lab.network.detach("a", web)
    for delay in (0.0, 0.01, 0.03, 0.06, 0.1):
        task = asyncio.create_task(lab.network.attach("a", web))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            await lab.network.detach("a", web)
        assert lab.leftovers() == [], f"cancelled after {delay} s"


async def test_eight_pods_at_once_get_eight_addresses(lab: Lab, note: Callable[[str], None]) -> None:
    lab.configure()
    ids = [f"pod{number}" for number in range(8)]
    pods = {id: config(id, PortMapping(container_port=80, host_port=9000 + n)) for n, id in enumerate(ids)}
    for id in ids:
        await lab.pod(id)
    begin = time.perf_counter()
    found = await asyncio.gather(*(lab.network.attach(id, pods[id]) for id in ids))
    attached = time.perf_counter()
    assert len({ips[0] for ips in found}) == len({ips[1] for ips in found}) == 8
    await asyncio.gather(*(lab.network.detach(id, pods[id]) for id in ids))
    note(
        f"CNI, 8 pods at once with host ports: {(attached - begin) * 125:.0f} ms each to attach, "
        f"{(time.perf_counter() - attached) * 125:.0f} ms each to detach"
    )
    assert lab.leftovers() == []


async def test_bandwidth_limits_are_understood_by_the_plugin(lab: Lab) -> None:
    lab.configure({"type": "bandwidth", "capabilities": {"bandwidth": True}})
    await lab.pod("a")
    limited = config("a", annotations={INGRESS: "10M", EGRESS: "5M"})
    try:
        await lab.network.attach("a", limited)
    except EngineError as error:
        if "not supported" not in str(error) and "no such file" not in str(error):
            raise
        assert lab.leftovers() == []
        pytest.skip(f"the kernel has no token buckets: {error}")
    shaped = lab.run("tc", "qdisc")
    assert "rate 10Mbit" in shaped
    assert "rate 5Mbit" in shaped
    await lab.network.detach("a", limited)
    assert lab.leftovers() == []


async def test_a_default_network_can_be_written_and_works(lab: Lab) -> None:
    path = lab.configs / "10-criadapt.conflist"
    written = await write_default_conflist(path, [lab.bin], "10.98.0.0/24,fd98::/64", bridge="lab0", name="labnet")
    assert written.plugins == ("bridge", "portmap", "firewall")
    assert written.version in VERSIONS
    assert written.notes == ()
    content = json.loads(path.read_text())
    assert content["cniVersion"] == written.version
    content["plugins"][0]["ipam"]["dataDir"] = str(lab.base / "ipam")  # not this machine's /var/lib/cni
    path.write_text(json.dumps(content))
    assert await lab.network.readiness() == READY
    for id in ("a", "b"):
        await lab.pod(id)
    ips = await lab.network.attach("a", config("a", PortMapping(container_port=80, host_port=8080)))
    await lab.network.attach("b", config("b"))
    assert [":" in ip for ip in ips] == [False, True]
    assert "default via 10.98.0.1" in lab.run("ip", "route", where=lab.namespaces["a"])
    async with await serve(lab.namespaces["a"], 80):
        assert await fetch(lab.namespaces["b"], ips[0], 80) == b"hello"
        connection = await dial(lab.host, 8080)
        assert await connection.read() == b"hello"
        await connection.close()
    for id in ("a", "b"):
        await lab.network.detach(id, config(id))
    assert lab.leftovers("10.98.", "fd98") == []
    with pytest.raises(AlreadyExists, match="remove it first"):
        await write_default_conflist(path, [lab.bin], "10.98.0.0/24")


async def test_a_default_network_says_what_is_missing_for_it(lab: Lab) -> None:
    path = lab.configs / "10-criadapt.conflist"
    for name in ("firewall", "portmap"):
        (lab.bin / name).unlink()
    written = await write_default_conflist(path, [lab.bin], "10.98.0.0/24")
    assert written.plugins == ("bridge",)
    assert ["portmap" in written.notes[0], "iptables -I FORWARD" in written.notes[1]] == [True, True]
    path.unlink()
    (lab.bin / "host-local").unlink()
    with pytest.raises(FailedPrecondition, match="'host-local' is in none of"):
        await write_default_conflist(path, [lab.bin], "10.98.0.0/24")
    assert not path.exists()


async def test_what_it_costs(lab: Lab, note: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """For the notes, judged by nobody: what plugins take, and what is between them."""
    inside: list[float] = []

    async def timed(plugins: Plugins, *args: Any, **options: Any) -> dict[str, Any]:
        begin = time.perf_counter()
        try:
            return await run(plugins, *args, **options)
        finally:
            inside.append(time.perf_counter() - begin)

    run = Plugins.run
    monkeypatch.setattr(Plugins, "run", timed)
    lab.configure()
    await lab.pod("a")
    for pod, what in ((config("a"), "without"), (config("a", PortMapping(container_port=80, host_port=80)), "with")):
        times: dict[str, list[float]] = {"attach": [], "detach": []}
        own: dict[str, list[float]] = {"attach": [], "detach": []}
        for _ in range(6):
            for name, call in (("attach", lab.network.attach), ("detach", lab.network.detach)):
                inside.clear()
                begin = time.perf_counter()
                await call("a", pod)
                times[name].append(1000 * (time.perf_counter() - begin))
                own[name].append(times[name][-1] - 1000 * sum(inside))
        told = (f"{name} {median(times[name]):.0f} ms, of it ours {median(own[name]):.1f}" for name in times)
        note(f"CNI {what} a host port, dual stack: {'; '.join(told)}")
    assert lab.leftovers() == []
