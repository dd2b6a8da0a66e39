"""Servers in the mock's pods that listen for real: on pods' addresses, host ports, and the host network."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from criadapt.backends.mock import MockOptions
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.inprocess import InProcess, refused, serving_inprocess, until
from criadapt.testing.loopback import free_port, subnet

AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.53"
HOST_NETWORK = {"security_context": {"namespace_options": {"network": pb.NODE}}}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with serving_inprocess(tmp_path, options=MockOptions(subnet=subnet(), reachable=True)) as server:
        await server.rpc.PullImage(image={"image": AGNHOST})
        before = server.traces()
        yield server
        await server.remove_all()
        await server.leaves(before)
    assert server.errors == []


async def web(server: InProcess, pod: str, port: int = 8080, name: str = "app") -> str:
    """A web server in a pod; its page is the pod's host name."""
    command = ["/agnhost", "netexec", f"--http-port={port}"]
    return await server.run(pod, name, image={"image": AGNHOST}, command=command)


async def ip(server: InProcess, pod: str) -> str:
    return str((await server.pod(pod)).network.ip)


async def get(host: str, port: int) -> str:
    """What a web server answers to the world outside."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        answer = (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    return answer.partition("\r\n\r\n")[2].strip()


async def answers(host: str, port: int) -> str:
    """The same, of a server that is still starting."""

    async def page() -> str:
        with contextlib.suppress(ConnectionRefusedError):
            return await get(host, port)
        return ""

    return await until(page, what=f"{host}:{port} answers")


async def is_shut(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return True
    writer.close()
    await writer.wait_closed()
    return False


async def test_a_server_is_reached_at_its_pod_s_address(server: InProcess) -> None:
    one, two = await server.run_pod("one", hostname="one"), await server.run_pod("two", hostname="two")
    for pod in (one, two):
        await web(server, pod)
    assert await answers(await ip(server, one), 8080) == "one"
    assert await answers(await ip(server, two), 8080) == "two"
    assert await is_shut(await ip(server, one), 8081)


def test_addresses_are_of_loopback_unless_told_otherwise() -> None:
    assert MockOptions(reachable=True).network == "127.88.0.0/16"
    assert MockOptions().network == "10.88.0.0/16"
    assert MockOptions(subnet="10.1.0.0/16", reachable=True).network == "10.1.0.0/16"
    assert MockOptions(subnet="", reachable=True).network == ""


async def test_a_subnet_that_is_not_this_machine_s_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"reachable: cannot listen on 203\.0\.113\.254.*127\.0\.0\.0/8"):
        async with serving_inprocess(tmp_path, options=MockOptions(subnet="203.0.113.0/24", reachable=True)):
            pass


async def test_many_connections_at_once(server: InProcess) -> None:
    pod = await server.run_pod(hostname="busy")
    await web(server, pod)
    address = await ip(server, pod)
    await answers(address, 8080)
    assert set(await asyncio.gather(*(get(address, 8080) for _ in range(100)))) == {"busy"}


@pytest.mark.parametrize("host_ip", ["", "127.0.0.3", "0.0.0.0"])
async def test_a_host_port_leads_into_the_pod(server: InProcess, host_ip: str) -> None:
    port = free_port("0.0.0.0")
    mappings = [{"container_port": 8080, "host_port": port, "host_ip": host_ip}, {"container_port": 9090}]
    pod = await server.run_pod(hostname="mapped", port_mappings=mappings)
    host = host_ip or "127.0.0.1"
    assert await is_shut(host, port)  # nobody listens in the pod
    app = await web(server, pod)
    assert await answers(host, port) == "mapped"
    assert await get(await ip(server, pod), 8080) == "mapped"
    await server.rpc.StopContainer(container_id=app)
    assert await is_shut(host, port)


async def test_a_udp_port_is_none_of_tcp(server: InProcess) -> None:
    port = free_port()
    mapping = {"container_port": 8080, "host_port": port, "protocol": pb.UDP}
    pod = await server.run_pod(port_mappings=[mapping])
    await web(server, pod)
    await answers(await ip(server, pod), 8080)
    assert await is_shut("127.0.0.1", port)


async def test_a_host_port_belongs_to_one_pod(server: InProcess) -> None:
    port = free_port()
    mappings = [{"container_port": 8080, "host_port": port}]
    pod = await server.run_pod("one", port_mappings=mappings)
    before = server.traces()
    for host_ip in ("", "127.0.0.1", "0.0.0.0"):
        taken = [{**mappings[0], "host_ip": host_ip}]
        with refused(grpc.StatusCode.UNKNOWN, saying=(f":{port}", "already allocated", "one")):
            await server.run_pod("two", port_mappings=taken)
        await server.leaves(before)
    await server.run_pod("other", port_mappings=[{**mappings[0], "host_ip": "127.0.0.9"}])
    await server.restart()
    with refused(grpc.StatusCode.UNKNOWN, saying="already allocated"):
        await server.run_pod("two", port_mappings=mappings)
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    await server.run_pod("two", port_mappings=mappings)


async def test_the_host_network_is_reached_on_loopback(server: InProcess) -> None:
    port = free_port()
    pod = await server.run_pod(linux=HOST_NETWORK)
    app = await web(server, pod, port)
    assert await answers("127.0.0.1", port)
    await server.rpc.StopContainer(container_id=app)
    assert await is_shut("127.0.0.1", port)


@pytest.mark.parametrize("how", ["restart", "crash"])
async def test_after_a_restart_servers_are_reached_again(server: InProcess, how: str) -> None:
    port = free_port()
    pod = await server.run_pod(hostname="web", port_mappings=[{"container_port": 8080, "host_port": port}])
    await web(server, pod)
    address = await ip(server, pod)
    assert await answers(address, 8080) == "web"
    for _ in range(2):
        await getattr(server, how)()
        assert await answers(address, 8080) == "web"
        assert await get("127.0.0.1", port) == "web"


@pytest.mark.parametrize("how", ["StopContainer", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox", "close"])
async def test_the_end_cuts_connections_and_leaves_nothing(server: InProcess, how: str) -> None:
    pod = await server.run_pod()
    app = await web(server, pod)
    address = await ip(server, pod)
    await answers(address, 8080)
    reader, writer = await asyncio.open_connection(address, 8080)
    writer.write(b"GET /")  # the rest never comes
    await writer.drain()
    if how == "close":
        await server.close()
    else:
        call: Any = getattr(server.rpc, how)
        await call(**({"container_id": app} if "Container" in how else {"pod_sandbox_id": pod}))
    assert await is_shut(address, 8080)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    if how == "close":
        await server.open()


async def test_an_address_serves_the_next_pod(server: InProcess) -> None:
    seen = set()
    for number in range(3):
        pod = await server.run_pod(f"pod-{number}", hostname=f"pod-{number}")
        await web(server, pod)
        address = await ip(server, pod)
        assert await answers(address, 8080) == f"pod-{number}"
        seen.add(address)
        await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    assert len(seen) == 1


async def test_a_port_that_is_taken_costs_a_warning(server: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    pod = await server.run_pod("crowded")
    address = await ip(server, pod)
    there = await asyncio.start_server(lambda *_: None, address, 8080)
    async with there:
        app = await web(server, pod)
        warning = await until(lambda: [record for record in caplog.records if record.levelname == "WARNING"])
        facts = vars(warning[0])
        assert "crowded" in facts["pod"]
        assert facts["address"] == f"{address}:8080"
        assert "Address already in use" in facts["error"]
        assert (await server.exec(app, "wget", "-qO-", "http://localhost:8080")).exit_code == 0
    await server.rpc.StopContainer(container_id=app)
    await web(server, pod, name="again")
    assert await answers(address, 8080)


async def test_a_health_check_from_outside_is_in_the_log(server: InProcess) -> None:
    pod = await server.run_pod("logged")
    await web(server, pod)
    await answers(await ip(server, pod), 8080)
    path = server.logs / "logged" / "app.log"
    await until(lambda: '"GET / HTTP/1.1" 200' in path.read_text(), what="the request is logged")
