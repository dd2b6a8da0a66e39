"""The CNI network over plugins that the tests write."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from criadapt.errors import EngineError, InvalidArgument, NotFound, Unavailable
from criadapt.model.sandbox import PodSandboxConfig, PodSandboxMetadata, PortMapping
from criadapt.network import plugin
from criadapt.network.base import READY
from criadapt.network.cni import CNINetwork

from .conftest import ID, POD, World
from .fakes import Call, result

BOUND = 10.0


def names(calls: list[Call]) -> list[str]:
    return [str(call) for call in calls]


async def until(condition: Any) -> None:
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.005)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ------------------------------------------------------------------ ADD


async def test_a_chain_is_called_in_order_with_what_the_specification_says(world: World) -> None:
    world.chain("one", "two", "three")
    assert await world.network.attach(ID, POD) == ("10.0.0.5",)
    one, two, three = world.fakes.calls()
    assert names([one, two, three]) == ["one ADD", "two ADD", "three ADD"]
    told = {key: value for key, value in one.env.items() if key.startswith("CNI_")}
    assert told == {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": ID,
        "CNI_NETNS": str(world.namespace),
        "CNI_IFNAME": "eth0",
        "CNI_PATH": f"{world.fakes.base}/none:{world.fakes.bin}",
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;"
        f"K8S_POD_INFRA_CONTAINER_ID={ID};K8S_POD_UID=u-1",
    }
    assert one.config == {"cniVersion": "1.0.0", "name": "podnet", "type": "one"}
    assert two.config == {
        "cniVersion": "1.0.0",
        "name": "podnet",
        "type": "two",
        "prevResult": result("10.0.0.5/24", by="one"),
    }
    assert three.config["prevResult"] == result("10.0.0.5/24", by="two")


async def test_capabilities_go_to_the_plugins_that_declare_them(world: World) -> None:
    world.chain("one", "two")
    world.fakes.configure(
        {
            "cniVersion": "1.0.0",
            "name": "podnet",
            "plugins": [
                {"type": "one", "capabilities": {"ipRanges": True, "portMappings": False}, "mtu": 1400},
                {"type": "two", "capabilities": {"portMappings": True, "bandwidth": True}},
            ],
        }
    )
    world.network.set_pod_cidr("10.7.0.0/24")
    config = PodSandboxConfig(metadata=POD.metadata, port_mappings=(PortMapping(container_port=80, host_port=8080),))
    await world.network.attach(ID, config)
    one, two = world.fakes.calls()
    assert one.config["runtimeConfig"] == {"ipRanges": [[{"subnet": "10.7.0.0/24"}]]}
    assert one.config["mtu"] == 1400
    assert two.config["runtimeConfig"] == {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
    assert "capabilities" not in one.config | two.config


async def test_criadapts_own_environment_is_not_the_plugins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRIADAPT__SECRET", "x")
    monkeypatch.setenv("CNI_STRANGE", "x")
    monkeypatch.setenv("NOTIFY_SOCKET", "x")
    monkeypatch.setenv("HTTP_PROXY", "kept")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    world.chain("one")
    await world.network.attach(ID, POD)
    (call,) = world.fakes.calls()
    assert not {"CRIADAPT__SECRET", "CNI_STRANGE", "NOTIFY_SOCKET"} & call.env.keys()
    assert call.env["HTTP_PROXY"] == "kept"
    assert {"/usr/sbin", "/sbin"} <= set(call.env["PATH"].split(":"))


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
async def test_every_version_is_spoken(world: World, version: str) -> None:
    world.chain("one", version=version)
    if version < "0.3.0":
        world.fakes.answer("one", "ADD", {"cniVersion": version, "ip4": {"ip": "10.0.0.5/24"}})
    assert await world.network.attach(ID, POD) == ("10.0.0.5",)
    await world.network.detach(ID, POD)
    add, delete = world.fakes.calls()
    assert add.config["cniVersion"] == delete.config["cniVersion"] == version
    assert ("prevResult" in delete.config) == (version >= "0.4.0")


async def test_the_newest_version_that_all_plugins_know_is_used(world: World) -> None:
    world.chain("one", "two", cniVersions=["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
    world.fakes.install("two", result("10.0.0.5/24"), versions=["0.3.1", "0.4.0"])
    await world.network.attach(ID, POD)
    assert {call.config["cniVersion"] for call in world.fakes.calls()} == {"0.4.0"}
    await world.network.attach("other", POD)
    assert len(world.fakes.calls("VERSION")) == 2  # asked once of each


async def test_a_plugin_that_cannot_tell_its_versions_is_taken_at_the_configurations_word(world: World) -> None:
    world.chain("one")
    world.fakes.answer("one", "VERSION", "what?", status=1)
    assert await world.network.attach(ID, POD) == ("10.0.0.5",)


async def test_dual_stack_gives_ipv4_first(world: World) -> None:
    world.chain("one")
    world.fakes.answer("one", "ADD", result("fd00::5/64", "10.0.0.5/24"))
    assert await world.network.attach(ID, POD) == ("10.0.0.5", "fd00::5")


async def test_a_pod_that_is_attached_keeps_its_addresses(world: World) -> None:
    world.chain("one")
    await world.network.attach(ID, POD)
    assert await world.open().attach(ID, POD) == ("10.0.0.5",)
    assert names(world.fakes.calls()) == ["one ADD"]


async def test_a_pod_name_that_would_be_arguments_is_refused_before_anything_is_done(world: World) -> None:
    world.chain("one")
    with pytest.raises(InvalidArgument, match="name the pod differently"):
        await world.network.attach(ID, PodSandboxConfig(metadata=PodSandboxMetadata(name="a;b")))
    assert world.fakes.calls() == []
    assert world.cached() == []


@pytest.mark.parametrize("id", ["", "../x", "a/b", "-a", "a" * 200])
async def test_an_id_that_is_no_container_id_is_refused(world: World, id: str) -> None:
    world.chain("one")
    with pytest.raises(InvalidArgument, match="container id"):
        await world.network.attach(id, POD)


async def test_different_pods_go_on_beside_each_other_one_pod_does_not(world: World) -> None:
    world.chain("one")
    base = world.fakes.base
    world.fakes.on("one", "ADD", f"touch {base}/in.$CNI_CONTAINERID; while [ ! -e {base}/go ]; do sleep 0.01; done")
    tasks = [asyncio.create_task(world.network.attach(id, POD)) for id in ("a", "b", "c")]
    await until(lambda: len(list(base.glob("in.*"))) == 3)
    tasks.append(asyncio.create_task(world.network.detach("a", POD)))
    await asyncio.sleep(0.05)
    assert names(world.fakes.calls()) == ["one ADD"] * 3
    (base / "go").touch()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [call.env["CNI_CONTAINERID"] for call in world.fakes.calls("DEL")].count("a") >= 1


# ------------------------------------------------------------------ failures


async def fails(network: CNINetwork, kind: type[Exception], said: str) -> None:
    async with asyncio.timeout(BOUND):
        with pytest.raises(kind, match=said):
            await network.attach(ID, POD)


async def test_a_failed_add_is_told_in_full_and_taken_back_in_reverse(world: World) -> None:
    world.chain("one", "two", "three")
    world.fakes.answer("two", "ADD", {"code": 7, "msg": "bad subnet", "details": "10.0.0.0/99"}, status=1)
    await fails(
        world.network,
        EngineError,
        "^CNI plugin 'two' of network 'podnet' cannot add pod 'shop/web': bad subnet [(]CNI code 7[)]: 10.0.0.0/99$",
    )
    calls = world.fakes.calls()
    assert names(calls) == ["one ADD", "two ADD", "three DEL", "two DEL", "one DEL"]
    # What the chain had come to helps plugins that remove by addresses, such as firewall.
    assert calls[-1].config["prevResult"] == result("10.0.0.5/24", by="one")
    assert world.cached() == []


async def test_try_again_later_is_unavailable(world: World) -> None:
    world.chain("one")
    world.fakes.answer("one", "ADD", {"code": 11, "msg": "busy"}, status=1)
    await fails(world.network, Unavailable, "busy")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo garbage", "answered with what is not a JSON object: garbage"),
        ("exit 0", "answered with what is not a JSON object: nothing"),
        ("echo '[1]'", r"not a JSON object: \[1\]"),
        ("echo oops >&2; exit 3", "it ended with exit code 3 and said: oops"),
        ("exit 3", "it ended with exit code 3 and said nothing"),
        ("kill -SEGV $$", "it died of signal 11"),
        ("echo '{}'", "gave pod 'shop/web' no address on eth0; look at \"ipam\" in .*10-test.conflist"),
        ('echo \'{"ips": [{"address": "x"}]}\'', "its result makes no sense"),
        ("yes | head -c 20000000", "not a JSON object: y y y"),
    ],
)
async def test_whatever_a_plugin_does_is_an_error_and_taken_back(world: World, script: str, said: str) -> None:
    world.chain("one")
    world.fakes.on("one", "ADD", script)
    await fails(world.network, EngineError, said)
    assert names(world.fakes.calls()) == ["one ADD", "one DEL"]
    assert world.cached() == []


async def test_an_executable_that_is_none_is_told(world: World) -> None:
    world.chain("one")
    (world.fakes.bin / "one").write_bytes(b"\x7fELF")
    await fails(world.network, EngineError, "one cannot be run: Exec format error")


async def test_a_plugin_that_hangs_is_killed_with_its_children_and_taken_back(world: World) -> None:
    world.chain("one")
    world.fakes.on("one", "ADD", f"sleep 600 & echo $! $$ > {world.fakes.base}/pids; wait")
    await fails(world.open(plugin_seconds=0.5), EngineError, "it did not finish within 0.5 s and was killed")
    for pid in (world.fakes.base / "pids").read_text().split():
        await until(lambda pid=pid: not runs(int(pid)))
    assert names(world.fakes.calls()) == ["one ADD", "one DEL"]


async def test_cancelling_kills_the_plugin_and_takes_it_back_before_it_is_over(world: World) -> None:
    world.chain("one", "two")
    world.fakes.on("two", "ADD", f"sleep 600 & echo $! $$ > {world.fakes.base}/pids; wait")
    task = asyncio.create_task(world.network.attach(ID, POD))
    await until(lambda: (world.fakes.base / "pids").exists() and (world.fakes.base / "pids").read_text())
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()  # it has a moment to come to its end
    task.cancel()  # who is in a hurry does not get a leak
    with pytest.raises(asyncio.CancelledError):
        await task
    for pid in (world.fakes.base / "pids").read_text().split():
        await until(lambda pid=pid: not runs(int(pid)))
    assert names(world.fakes.calls()) == ["one ADD", "two ADD", "two DEL", "one DEL"]
    assert world.cached() == []


async def test_cancelling_lets_a_plugin_come_to_its_end_before_it_is_taken_back(world: World) -> None:
    world.chain("one")
    base = world.fakes.base
    world.fakes.on("one", "ADD", f"touch {base}/in; while [ ! -e {base}/go ]; do sleep 0.01; done; touch {base}/out")
    task = asyncio.create_task(world.network.attach(ID, POD))
    await until(lambda: (base / "in").exists())
    task.cancel()
    await asyncio.sleep(0.02)
    (base / "go").touch()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (base / "out").exists()
    assert names(world.fakes.calls()) == ["one ADD", "one DEL"]
    assert world.cached() == []


async def test_a_plugin_that_hangs_is_killed_when_it_is_cancelled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "GRACE_SECONDS", 0.1)
    world.chain("one")
    world.fakes.on("one", "ADD", f"touch {world.fakes.base}/in; sleep 600")
    task = asyncio.create_task(world.network.attach(ID, POD))
    await until(lambda: (world.fakes.base / "in").exists())
    task.cancel()
    async with asyncio.timeout(BOUND):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert names(world.fakes.calls()) == ["one ADD", "one DEL"]


async def test_a_del_that_gets_past_its_trouble_the_second_time_has_taken_back(world: World) -> None:
    world.chain("one")
    world.fakes.answer("one", "ADD", {"code": 100, "msg": "no"}, status=1)
    world.fakes.on("one", "DEL", f"! mkdir {world.fakes.base}/once")
    await fails(world.network, EngineError, "no")
    assert names(world.fakes.calls()) == ["one ADD", "one DEL", "one DEL"]
    assert world.cached() == []


async def test_a_daemon_that_holds_the_pipes_does_not_hold_up_the_pod(world: World) -> None:
    world.chain("one")
    answer = json.dumps(result("10.0.0.5/24"))
    world.fakes.on("one", "ADD", f"sleep 600 & echo $! > {world.fakes.base}/pid; echo '{answer}'; exit 0")
    async with asyncio.timeout(BOUND):
        assert await world.network.attach(ID, POD) == ("10.0.0.5",)
    os.kill(int((world.fakes.base / "pid").read_text()), 9)


async def test_a_plugin_that_does_not_read_its_configuration_does_no_harm(world: World) -> None:
    world.chain("one")
    path = world.fakes.bin / "one"
    path.write_text(f"#!/bin/sh\nexec echo '{json.dumps(result('10.0.0.5/24'))}'\n")
    config = PodSandboxConfig(metadata=POD.metadata, annotations={"long": "x" * 250_000})
    world.fakes.configure(
        {
            "cniVersion": "1.0.0",
            "name": "podnet",
            "plugins": [{"type": "one", "capabilities": {"io.kubernetes.cri.pod-annotations": True}}],
        }
    )
    assert await world.network.attach(ID, config) == ("10.0.0.5",)


async def test_what_cannot_be_taken_back_is_remembered_for_the_next_detach(world: World) -> None:
    world.chain("one", "two")
    world.fakes.answer("two", "ADD", {"code": 100, "msg": "no"}, status=1)
    world.fakes.answer("one", "DEL", {"code": 101, "msg": "neither"}, status=1)
    await fails(world.network, EngineError, "cannot add pod 'shop/web': no")
    assert world.cached() == [f"{ID}.json"]
    with pytest.raises(EngineError, match="'one' of network 'podnet' cannot remove pod 'shop/web': neither"):
        await world.open().detach(ID, POD)
    world.fakes.answer("one", "DEL", "")
    await world.open().detach(ID, POD)
    assert world.cached() == []


async def test_what_a_plugin_says_on_stderr_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.chain("one")
    world.fakes.on("one", "DEL", "echo a hint >&2")
    with caplog.at_level(logging.DEBUG, "criadapt.network"):
        await world.network.attach(ID, POD)
        await world.network.detach(ID, POD)
    (line,) = [record for record in caplog.records if record.message == "CNI plugin's stderr"]
    assert (line.plugin, line.command, line.said) == ("one", "DEL", "a hint")  # type: ignore[attr-defined]


# ------------------------------------------------------------------ DEL


async def test_del_goes_in_reverse_with_what_add_was_told_and_answered(world: World) -> None:
    world.chain("one", "two")
    await world.network.attach(ID, POD)
    await world.network.detach(ID, PodSandboxConfig())
    add, _, two, one = world.fakes.calls()
    assert names([two, one]) == ["two DEL", "one DEL"]
    assert two.config["prevResult"] == one.config["prevResult"] == result("10.0.0.5/24", by="two")
    same = ("CNI_ARGS", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_PATH")
    assert {key: one.env[key] for key in same} == {key: add.env[key] for key in same}
    assert world.cached() == []


async def test_del_works_when_the_configuration_is_gone_or_another(world: World) -> None:
    world.chain("one", "two")
    await world.network.attach(ID, POD)
    await world.network.attach("other", POD)
    world.fakes.configure({"cniVersion": "1.0.0", "name": "new", "plugins": [{"type": "two"}]})
    await world.open().detach(ID, POD)
    for file in world.fakes.configs.iterdir():
        file.unlink()
    await world.open().detach("other", POD)
    deletes = world.fakes.calls("DEL")
    assert names(deletes) == ["two DEL", "one DEL"] * 2
    assert {call.config["name"] for call in deletes} == {"podnet"}


async def test_del_without_a_namespace_is_told_so(world: World) -> None:
    world.chain("one")
    await world.network.attach(ID, POD)
    world.namespace.unlink()
    await world.network.detach(ID, POD)
    assert world.fakes.calls("DEL")[0].env["CNI_NETNS"] == ""


async def test_a_namespace_that_vanishes_under_del_is_no_failure(world: World) -> None:
    world.chain("one")
    await world.network.attach(ID, POD)
    world.fakes.on("one", "DEL", f'[ -z "$CNI_NETNS" ] || {{ rm {world.namespace}; exit 1; }}')
    await world.network.detach(ID, POD)
    assert [call.env["CNI_NETNS"] for call in world.fakes.calls("DEL")] == [str(world.namespace), ""]


async def test_a_path_that_leads_to_another_namespace_by_now_is_not_given_to_del(world: World) -> None:
    world.chain("one")
    await world.network.attach(ID, POD)
    file = world.state / "cni" / f"{ID}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"namespace": 1}))
    await world.network.detach(ID, POD)
    assert world.fakes.calls("DEL")[0].env["CNI_NETNS"] == ""


async def test_detaching_twice_and_what_was_never_attached_is_success(world: World) -> None:
    await world.network.detach(ID, POD)
    world.chain("one")
    await world.network.attach(ID, POD)
    await world.network.detach(ID, POD)
    await world.network.detach(ID, POD)
    last = world.fakes.calls()[-1]
    assert str(last) == "one DEL"  # plugins keep books by id: where ours are lost, theirs count
    assert last.env["CNI_NETNS"] == ""
    assert "prevResult" not in last.config


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"id": 1}'])
async def test_a_broken_memory_is_a_lost_one(world: World, content: str) -> None:
    world.chain("one")
    await world.network.attach(ID, POD)
    (world.state / "cni" / f"{ID}.json").write_text(content)
    await world.open().detach(ID, POD)
    assert names(world.fakes.calls("DEL")) == ["one DEL"]


async def test_an_add_cut_short_by_a_crash_is_deleted_before_it_is_tried_again(world: World) -> None:
    world.chain("one")
    await world.network.attach(ID, POD)
    file = world.state / "cni" / f"{ID}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"complete": False, "result": None}))
    assert await world.open().attach(ID, POD) == ("10.0.0.5",)
    assert names(world.fakes.calls()) == ["one ADD", "one DEL", "one ADD"]


async def test_a_state_that_cannot_be_written_stops_the_pod_before_any_plugin_runs(world: World) -> None:
    world.chain("one")
    world.state.mkdir()
    (world.state / "cni").touch()
    with pytest.raises(EngineError, match="cannot be written"):
        await world.network.attach(ID, POD)
    assert world.fakes.calls() == []


# ------------------------------------------------------------------ CHECK, clean-up


async def test_check_asks_in_order_with_the_last_result(world: World) -> None:
    world.chain("one", "two")
    await world.network.attach(ID, POD)
    await world.network.check(ID)
    one, two = world.fakes.calls("CHECK")
    assert names([one, two]) == ["one CHECK", "two CHECK"]
    assert one.config["prevResult"] == two.config["prevResult"] == result("10.0.0.5/24", by="two")
    world.fakes.answer("two", "CHECK", {"code": 100, "msg": "route is gone"}, status=1)
    with pytest.raises(EngineError, match="cannot find in order pod 'shop/web': route is gone"):
        await world.network.check(ID)


@pytest.mark.parametrize("more", [{"version": "0.3.1"}, {"disableCheck": True}])
async def test_check_is_not_called_where_it_may_not(world: World, more: dict[str, Any]) -> None:
    world.chain("one", **more)
    await world.network.attach(ID, POD)
    await world.network.check(ID)
    assert world.fakes.calls("CHECK") == []


async def test_a_pod_that_was_not_attached_cannot_be_checked(world: World) -> None:
    with pytest.raises(NotFound):
        await world.network.check(ID)


async def test_cleaning_up_detaches_the_dead_and_tells_plugins_who_lives(world: World) -> None:
    world.chain("one", version="1.1.0")
    for id in ("alive", "dead"):
        await world.network.attach(id, POD)
    assert await world.open().clean_up(["alive"], gc=True) == []
    assert [call.env["CNI_CONTAINERID"] for call in world.fakes.calls("DEL")] == ["dead"]
    (collect,) = world.fakes.calls("GC")
    assert collect.config["cni.dev/valid-attachments"] == [{"containerID": "alive", "ifname": "eth0"}]
    assert "CNI_CONTAINERID" not in collect.env
    assert world.cached() == ["alive.json"]


@pytest.mark.parametrize("more", [{"version": "1.0.0"}, {"version": "1.1.0", "disableGC": True}])
async def test_garbage_is_not_collected_where_it_may_not(world: World, more: dict[str, Any]) -> None:
    world.chain("one", **more)
    assert await world.network.clean_up([], gc=True) == []
    assert world.fakes.calls("GC") == []


async def test_what_cannot_be_cleaned_up_is_told_and_kept(world: World) -> None:
    world.chain("one")
    await world.network.attach(ID, POD)
    world.fakes.answer("one", "DEL", {"code": 100, "msg": "no"}, status=1)
    (failure,) = await world.network.clean_up([])
    assert failure.endswith("cannot remove pod 'shop/web': no (CNI code 100)")
    assert world.cached() == [f"{ID}.json"]


# ------------------------------------------------------------------ readiness


async def not_ready(network: CNINetwork) -> str:
    found = await network.readiness()
    assert not found.ready
    assert found.reason == "NetworkPluginNotReady"
    return found.message


async def test_readiness_follows_the_directory_and_says_what_to_do(world: World) -> None:
    assert f"no usable CNI configuration in {world.fakes.configs}: install" in await not_ready(world.network)
    with pytest.raises(Unavailable, match="no usable CNI configuration"):
        await world.network.attach(ID, POD)
    world.fakes.configure("{", "00-broken.conflist")
    assert "ignored: " in (message := await not_ready(world.network))
    assert "00-broken.conflist: not JSON" in message
    world.chain("one")
    found = await world.network.readiness()
    assert found.ready
    assert found.message.startswith("ignored: ")
    (world.fakes.configs / "00-broken.conflist").unlink()
    assert await world.network.readiness() == READY
    (world.fakes.bin / "one").chmod(0o644)
    message = await not_ready(world.network)
    assert "CNI plugin 'one' of network 'podnet'" in message
    assert f"is in none of {world.fakes.base}/none, {world.fakes.bin}: install it" in message


async def test_a_plugin_for_addresses_that_is_missing_is_told(world: World) -> None:
    world.chain("one")
    plugins = [{"type": "one", "ipam": {"type": "host-local"}}]
    world.fakes.configure({"cniVersion": "1.0.0", "name": "podnet", "plugins": plugins})
    assert "CNI plugin 'host-local'" in await not_ready(world.network)


async def test_versions_that_do_not_meet_are_told(world: World) -> None:
    world.chain("one", version="1.1.0")
    world.fakes.install("one", versions=["0.3.1", "0.4.0"])
    message = await not_ready(world.network)
    assert "is of version 1.1.0, but plugin 'one' knows 0.3.1, 0.4.0; change its cniVersion" in message


async def test_plugins_of_1_1_are_asked_for_their_status_not_too_often(world: World) -> None:
    world.chain("one", "two", version="1.1.0")
    world.fakes.answer("two", "STATUS", {"code": 50, "msg": "agent is away"}, status=1)
    message = await not_ready(world.network)
    assert message == "CNI plugin 'two' of network 'podnet' is not ready: agent is away (CNI code 50)"
    await asyncio.gather(*(not_ready(world.network) for _ in range(5)))
    assert names(world.fakes.calls("STATUS")) == ["one STATUS", "two STATUS"]
    call = world.fakes.calls("STATUS")[0]
    assert call.config == {"cniVersion": "1.1.0", "name": "podnet", "type": "one"}
    assert "CNI_CONTAINERID" not in call.env
    world.chain("one", version="1.1.0")  # another configuration is asked at once
    assert await world.network.readiness() == READY


async def test_a_plugin_that_does_not_know_status_is_ready(world: World) -> None:
    world.chain("one", version="1.1.0")
    world.fakes.answer("one", "STATUS", {"code": 4, "msg": "unknown CNI_COMMAND: STATUS"}, status=1)
    assert await world.network.readiness() == READY


async def test_older_plugins_are_not_asked_for_their_status(world: World) -> None:
    world.chain("one")
    assert await world.network.readiness() == READY
    assert world.fakes.calls("STATUS") == []


def test_a_pod_cidr_that_is_none_is_refused(world: World) -> None:
    with pytest.raises(InvalidArgument, match="pod_cidr"):
        world.network.set_pod_cidr("ten")
