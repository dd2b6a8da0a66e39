"""Version, Status and the configuration of the runtime: what kubelet asks before anything else exists."""

import json
from pathlib import Path

import grpc
import pytest

from criadapt.backends.mock import MockOptions
from criadapt.config import FaultRule
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.inprocess import InProcess, serving_inprocess


async def test_version_fills_all_four_fields_with_what_kubelet_expects(server: InProcess) -> None:
    version = await server.rpc.Version(version="0.1.0")
    assert version.version == "0.1.0"
    assert version.runtime_api_version == "v1"
    assert version.runtime_name not in ("", "docker")  # critest treats "docker" apart
    assert version.runtime_version.count(".") == 2


async def test_the_version_asked_for_is_only_information(server: InProcess) -> None:
    assert (await server.rpc.Version(version="something else")).version == "0.1.0"


async def test_both_conditions_are_true_on_a_healthy_node(server: InProcess) -> None:
    conditions = {c.type: c.status for c in (await server.rpc.Status()).status.conditions}
    assert conditions == {"RuntimeReady": True, "NetworkReady": True}


async def test_the_default_handler_is_listed_under_the_empty_name(server: InProcess) -> None:
    handlers = {handler.name: handler for handler in (await server.rpc.Status()).runtime_handlers}
    assert "" in handlers
    assert handlers[""].features.recursive_read_only_mounts
    assert not handlers[""].features.user_namespaces


async def test_features_that_are_not_claimed_are_refused(server: InProcess) -> None:
    features = (await server.rpc.Status()).features
    assert features.supplemental_groups_policy
    assert features.mount_options
    assert not features.user_namespaces_host_network


async def test_status_tells_details_only_when_asked(server: InProcess) -> None:
    assert not (await server.rpc.Status()).info
    info = (await server.rpc.Status(verbose=True)).info
    assert Path(json.loads(info["config"])["stateDir"]).is_dir()
    for text in info.values():
        assert isinstance(json.loads(text), dict)


async def test_an_engine_out_of_reach_is_a_condition_and_not_an_error(server: InProcess) -> None:
    server.backend.set_rules([FaultRule(call="containers", error="Unavailable", message="the engine is away")])
    server.mock._feed.close()  # its event stream ends, as when the daemon stops

    async def ready() -> pb.RuntimeCondition:
        (condition,) = [c for c in (await server.rpc.Status()).status.conditions if c.type == "RuntimeReady"]
        return condition

    while (condition := await ready()).status:
        pass
    assert condition.reason == "EngineUnavailable"
    assert condition.message
    server.backend.set_rules(())
    while not (await ready()).status:
        pass


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
async def test_the_cgroup_driver_is_the_engine_s(tmp_path: Path, driver: str) -> None:
    async with serving_inprocess(tmp_path, options=MockOptions(cgroup_driver=driver)) as server:
        answer = await server.rpc.RuntimeConfig()
    assert answer.HasField("linux")
    assert pb.CgroupDriver.Name(answer.linux.cgroup_driver) == driver.upper()


@pytest.mark.parametrize("cidr", ["10.1.0.0/24", "10.1.0.0/24,fd00::/64", ""])
async def test_the_node_s_pod_range_is_accepted(server: InProcess, cidr: str) -> None:
    await server.rpc.UpdateRuntimeConfig(runtime_config={"network_config": {"pod_cidr": cidr}})


async def test_a_range_is_not_needed(server: InProcess) -> None:
    await server.rpc.UpdateRuntimeConfig()


async def test_the_image_filesystem_is_known_before_the_first_image(tmp_path: Path) -> None:
    async with serving_inprocess(tmp_path, options=MockOptions()) as server:
        answer = await server.rpc.ImageFsInfo()
    (usage,) = answer.image_filesystems
    assert usage.timestamp > 0
    assert usage.HasField("used_bytes")
    assert usage.HasField("inodes_used")
    assert Path(usage.fs_id.mountpoint).is_dir()
    assert [other.fs_id.mountpoint for other in answer.container_filesystems] == [usage.fs_id.mountpoint]


async def test_a_client_s_unknown_fields_are_ignored(server: InProcess) -> None:
    raw = server.channel.unary_unary("/runtime.v1.RuntimeService/Version")
    answer = await raw(b"\xba\x3e\x05newer", timeout=5)
    assert pb.VersionResponse.FromString(answer).version == "0.1.0"


async def test_an_rpc_of_the_future_is_unimplemented(server: InProcess) -> None:
    raw = server.channel.unary_unary("/runtime.v1.RuntimeService/TeleportPod")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_alpha_interface_is_not_served(server: InProcess) -> None:
    raw = server.channel.unary_unary("/runtime.v1alpha2.RuntimeService/Version")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_bytes_that_are_no_message_do_not_harm(server: InProcess) -> None:
    raw = server.channel.unary_unary("/runtime.v1.RuntimeService/RunPodSandbox")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw(b"\xff\xff\xff\xff", timeout=5)
    assert caught.value.code() is not grpc.StatusCode.OK
    assert (await server.rpc.Version()).version == "0.1.0"
    server.errors.clear()  # gRPC itself logs the bytes it could not read


async def test_several_clients_share_the_socket(server: InProcess) -> None:
    for _ in range(5):
        async with server.connect() as channel:
            raw = channel.unary_unary("/runtime.v1.ImageService/ImageFsInfo")
            assert await raw(b"", timeout=5)
