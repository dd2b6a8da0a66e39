"""Validation: what no engine could make sense of is refused by the name of its field; what critest sends is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from criadapt.core import validate
from criadapt.errors import InvalidArgument
from criadapt.model.container import (
    ContainerConfig,
    ContainerMetadata,
    KeyValue,
    LinuxContainerConfig,
    Mount,
)
from criadapt.model.image import ImageSpec
from criadapt.model.linux import (
    Capability,
    CDIDevice,
    Device,
    HugepageLimit,
    IDMapping,
    LinuxContainerResources,
    LinuxContainerSecurityContext,
    LinuxSandboxSecurityContext,
    MountPropagation,
    NamespaceMode,
    NamespaceOption,
    ProfileType,
    SecurityProfile,
    SELinuxOption,
    UserNamespace,
)
from criadapt.model.sandbox import (
    DNSConfig,
    LinuxPodSandboxConfig,
    PodSandboxConfig,
    PodSandboxMetadata,
    PortMapping,
    Protocol,
)
from criadapt.model.signals import Signal
from criadapt.testing.factories import container_config, sandbox_config, sandbox_record

M = NamespaceMode
ONE = (IDMapping(host_id=100000, container_id=0, length=65536),)
LOCALHOST = ProfileType.LOCALHOST


def numbered(table: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Ids that tell two bad values of one field apart."""
    return [f"{number}-{field}" for number, (field, _) in enumerate(table)]


def in_sandbox(**context: Any) -> dict[str, Any]:
    return {"linux": LinuxPodSandboxConfig(security_context=LinuxSandboxSecurityContext(**context))}


def pod_namespaces(**options: Any) -> dict[str, Any]:
    return in_sandbox(namespace_options=NamespaceOption(**options))


def pod_userns(**userns: Any) -> dict[str, Any]:
    return pod_namespaces(userns_options=UserNamespace(**userns))


def sysctl(name: str, **options: Any) -> dict[str, Any]:
    context = LinuxSandboxSecurityContext(namespace_options=NamespaceOption(**options))
    return {"linux": LinuxPodSandboxConfig(sysctls={name: "1"}, security_context=context)}


def pod_limits(field: str, **limits: Any) -> dict[str, Any]:
    return {"linux": LinuxPodSandboxConfig(**{field: LinuxContainerResources(**limits)})}


def named(**metadata: Any) -> dict[str, Any]:
    return {"metadata": PodSandboxMetadata(**{"name": "web", **metadata})}


def port(**mapping: Any) -> dict[str, Any]:
    return {"port_mappings": (PortMapping(**mapping),)}


SANDBOX: list[tuple[str, dict[str, Any]]] = [
    ("config.metadata", {"metadata": None}),
    ("config.metadata.name is missing", named(name="")),
    ("config.metadata.name", named(name="x" * 254)),
    ("config.metadata.name", named(name="a\nb")),
    ("config.metadata.namespace", named(namespace="x" * 254)),
    ("config.metadata.namespace", named(namespace="\0")),
    ("config.metadata.uid", named(uid="\x7f")),
    ("config.labels", {"labels": {"k": "x" * (1 << 20)}}),
    ("config.annotations", {"annotations": {"k": "x" * (1 << 20)}}),
    ("config.hostname", {"hostname": "x" * 65}),
    ("config.hostname", {"hostname": "a b"}),
    ("config.hostname", {"hostname": "-a"}),
    ("config.hostname", {"hostname": "a\n"}),
    ("config.log_directory", {"log_directory": "relative"}),
    ("config.log_directory", {"log_directory": "/a\0b"}),
    ("config.dns_config.servers", {"dns_config": DNSConfig(servers=("1.1.1.1\noptions x",))}),
    ("config.dns_config.searches", {"dns_config": DNSConfig(searches=("",))}),
    ("config.dns_config.options", {"dns_config": DNSConfig(options=("a b",))}),
    ("host_port 65536", port(container_port=1, host_port=65536)),
    ("container_port -1", port(container_port=-1)),
    ("host_port without container_port", port(host_port=1)),
    ("host_ip", port(container_port=1, host_port=1, host_ip="localhost")),
    ("namespace_options.network", pod_namespaces(network=M.CONTAINER)),
    ("namespace_options.network", pod_namespaces(network=M.TARGET)),
    ("namespace_options.ipc", pod_namespaces(ipc=M.CONTAINER)),
    ("namespace_options.pid TARGET", pod_namespaces(pid=M.TARGET)),
    ("userns_options.mode", pod_userns(mode=M.CONTAINER, uids=ONE, gids=ONE)),
    ("userns_options.mode", pod_userns(mode=M.TARGET, uids=ONE, gids=ONE)),
    ("userns_options: mode NODE", pod_userns(mode=M.NODE, uids=ONE)),
    ("userns_options.uids", pod_userns(gids=ONE)),
    ("userns_options.gids", pod_userns(uids=ONE)),
    ("userns_options.uids", pod_userns(uids=ONE * 2, gids=ONE)),
    ("userns_options.uids", pod_userns(uids=(IDMapping(container_id=1, length=5),), gids=ONE)),
    ("userns_options.gids", pod_userns(uids=ONE, gids=(IDMapping(host_id=5),))),
    ("config.linux.sysctls", sysctl("nodots")),
    ("config.linux.sysctls", sysctl("a..b")),
    ("config.linux.sysctls", sysctl("../../etc/passwd")),
    ("config.linux.sysctls", sysctl("net.core.somaxconn", network=M.NODE)),
    ("config.linux.sysctls", sysctl("net/core/somaxconn", network=M.NODE)),
    ("config.linux.sysctls", sysctl("kernel.shm_rmid_forced", ipc=M.NODE)),
    ("config.linux.sysctls", sysctl("fs.mqueue.msg_max", ipc=M.NODE)),
    ("run_as_group needs", in_sandbox(run_as_group=1)),
    ("run_as_user -1", in_sandbox(run_as_user=-1)),
    ("run_as_user 4294967296", in_sandbox(run_as_user=2**32)),
    ("supplemental_groups", in_sandbox(supplemental_groups=(-1,))),
    ("seccomp.localhost_ref", in_sandbox(seccomp=SecurityProfile(profile_type=LOCALHOST))),
    ("apparmor.localhost_ref", in_sandbox(apparmor=SecurityProfile(profile_type=LOCALHOST))),
    ("cgroup_parent", {"linux": LinuxPodSandboxConfig(cgroup_parent="/a\nb")}),
    ("config.linux.resources.cpu_shares", pod_limits("resources", cpu_shares=-1)),
    ("config.linux.overhead.cpu_quota", pod_limits("overhead", cpu_quota=-2)),
]


@pytest.mark.parametrize(("field", "bad"), SANDBOX, ids=numbered(SANDBOX))
def test_a_bad_sandbox_is_refused_by_the_name_of_the_field(field: str, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate.sandbox(sandbox_config(**bad))
    assert field in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_missing_sandbox_config_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="config is missing"):
        validate.sandbox(None)


@pytest.mark.parametrize(
    "config",
    [
        PodSandboxConfig(metadata=PodSandboxMetadata(name="only-a-name")),
        sandbox_config("x" * 253),
        sandbox_config("PodSandbox-with-Capitals_and.dots and spaces"),
        sandbox_config(hostname="x" * 64),
        sandbox_config(hostname="test-hostname"),
        sandbox_config(hostname="web-0.svc"),
        sandbox_config(labels={"": "", "é": "\n"}, annotations={"big": "x" * 256 * 1024}),
        sandbox_config(log_directory="/var/log/pods/default_web_uid"),
        sandbox_config(dns_config=DNSConfig()),
        sandbox_config(
            dns_config=DNSConfig(servers=("10.10.10.10",), searches=("google.com",), options=("ndots:8", "debug"))
        ),
        sandbox_config(**port(container_port=80)),
        sandbox_config(**port(container_port=80, host_port=12000, protocol=Protocol.UDP, host_ip="::1")),
        sandbox_config(**port()),
        sandbox_config(linux=LinuxPodSandboxConfig()),
        sandbox_config(linux=LinuxPodSandboxConfig(cgroup_parent="/test.slice")),
        sandbox_config(**in_sandbox()),
        sandbox_config(**pod_namespaces(network=M.NODE, pid=M.NODE, ipc=M.NODE)),
        sandbox_config(**pod_namespaces(pid=M.CONTAINER)),
        sandbox_config(**pod_userns(mode=M.NODE)),
        sandbox_config(**pod_userns(uids=ONE, gids=ONE)),
        sandbox_config(**sysctl("kernel.shm_rmid_forced")),
        sandbox_config(**sysctl("fs.mqueue.msg_max")),
        sandbox_config(**sysctl("net.ipv4.conf.eth0/100.forwarding")),
        sandbox_config(**sysctl("kernel.shm_rmid_forced", network=M.NODE)),
        sandbox_config(**in_sandbox(run_as_user=0, run_as_group=0, supplemental_groups=(0, 1234), privileged=True)),
        sandbox_config(**in_sandbox(seccomp=SecurityProfile(), apparmor=SecurityProfile(), readonly_rootfs=True)),
        sandbox_config(**pod_limits("overhead", cpu_quota=-1, memory_limit_in_bytes=1)),
    ],
)  # fmt: skip
def test_a_good_sandbox_passes_unchanged(config: PodSandboxConfig) -> None:
    assert validate.sandbox(config) is config


# ---------------------------------------------------------------------------------------------- containers


def secured(**context: Any) -> dict[str, Any]:
    return {"linux": LinuxContainerConfig(security_context=LinuxContainerSecurityContext(**context))}


def limited(**limits: Any) -> dict[str, Any]:
    return {"linux": LinuxContainerConfig(resources=LinuxContainerResources(**limits))}


def namespaces(**options: Any) -> dict[str, Any]:
    return secured(namespace_options=NamespaceOption(**options))


def mounted(**mount: Any) -> dict[str, Any]:
    return {"mounts": (Mount(container_path="/ok", host_path="/ok"), Mount(**{"container_path": "/c", **mount}))}


def image_mount(**mount: Any) -> dict[str, Any]:
    return mounted(**{"image": ImageSpec(image="busybox"), "readonly": True, **mount})


CONTAINER: list[tuple[str, dict[str, Any]]] = [
    ("config.metadata", {"metadata": None}),
    ("config.metadata.name is missing", {"metadata": ContainerMetadata()}),
    ("config.metadata.name", {"metadata": ContainerMetadata(name="a\tb")}),
    ("config.image.image", {"image": ImageSpec()}),
    ("config.labels", {"labels": {"k": "x" * (1 << 20)}}),
    ("config.annotations", {"annotations": {"k" * (1 << 20): "x"}}),
    ("config.command", {"command": ("a\0",)}),
    ("config.args", {"args": ("\0",)}),
    ("config.envs", {"envs": (KeyValue(key="", value=b"x"),)}),
    ("config.envs", {"envs": (KeyValue(key="A=B"),)}),
    ("config.envs", {"envs": (KeyValue(key="A\0"),)}),
    ("config.envs", {"envs": (KeyValue(key="A", value=b"\0"),)}),
    ("config.working_dir", {"working_dir": "/a\0"}),
    ("config.log_path", {"log_path": "/absolute"}),
    ("config.log_path", {"log_path": "../../etc/cron.d/x"}),
    ("config.log_path", {"log_path": "a/../../b"}),
    ("config.log_path", {"log_path": "a\0"}),
    ("config.mounts[1].container_path", mounted(container_path="", host_path="/h")),
    ("config.mounts[1].container_path", mounted(container_path="/a\0", host_path="/h")),
    ("config.mounts[1].host_path is missing", mounted()),
    ("config.mounts[1].host_path", mounted(host_path="relative")),
    ("config.mounts[1].host_path", mounted(host_path="/a\0b")),
    ("config.mounts[1].mount_options", mounted(host_path="/h", mount_options=("suid",))),
    ("config.mounts[1].image_sub_path", mounted(host_path="/h", image_sub_path="x")),
    ("config.mounts[1].recursive_read_only", mounted(host_path="/h", recursive_read_only=True)),
    ("config.mounts[1].recursive_read_only needs private",
     mounted(host_path="/h", readonly=True, recursive_read_only=True, propagation=MountPropagation.BIDIRECTIONAL)),
    ("config.mounts[1]: host_path and image", image_mount(host_path="/h")),
    ("config.mounts[1].readonly", image_mount(readonly=False)),
    ("config.mounts[1].propagation", image_mount(propagation=MountPropagation.HOST_TO_CONTAINER)),
    ("config.devices[0].host_path", {"devices": (Device(host_path="dev/x"),)}),
    ("config.devices[0].container_path", {"devices": (Device(host_path="/dev/x", container_path="x"),)}),
    ("config.devices[0].permissions", {"devices": (Device(host_path="/dev/x", permissions="rwx"),)}),
    ("config.CDI_devices[0].name", {"cdi_devices": (CDIDevice(name="vendor/class"),)}),
    ("config.CDI_devices[0].name", {"cdi_devices": (CDIDevice(name=""),)}),
    ("cpu_period is negative", limited(cpu_period=-1)),
    ("cpu_shares is negative", limited(cpu_shares=-1)),
    ("memory_limit_in_bytes is negative", limited(memory_limit_in_bytes=-1)),
    ("cpu_quota", limited(cpu_quota=-2)),
    ("memory_swap_limit_in_bytes", limited(memory_swap_limit_in_bytes=-2)),
    ("memory_swap_limit_in_bytes", limited(memory_limit_in_bytes=2, memory_swap_limit_in_bytes=1)),
    ("oom_score_adj 1001", limited(oom_score_adj=1001)),
    ("oom_score_adj -1001", limited(oom_score_adj=-1001)),
    ("cpuset_cpus", limited(cpuset_cpus="0-")),
    ("cpuset_mems", limited(cpuset_mems="a")),
    ("hugepage_limits", limited(hugepage_limits=(HugepageLimit(page_size="big"),))),
    ("unified", limited(unified={"../cgroup.procs": "1"})),
    ("unified", limited(unified={"": "1"})),
    ("unified", limited(unified={"..": "1"})),
    ("run_as_user and run_as_username", secured(run_as_user=1, run_as_username="x")),
    ("run_as_group needs", secured(run_as_group=1)),
    ("run_as_user -1", secured(run_as_user=-1)),
    ("run_as_group 2147483648", secured(run_as_user=1, run_as_group=2**31)),
    ("supplemental_groups", secured(supplemental_groups=(2**31,))),
    ("privileged", secured(privileged=True)),
    ("seccomp.localhost_ref", secured(seccomp=SecurityProfile(profile_type=LOCALHOST))),
    ("apparmor.localhost_ref", secured(apparmor=SecurityProfile(profile_type=LOCALHOST))),
    ("masked_paths", secured(masked_paths=("proc/x",))),
    ("readonly_paths", secured(readonly_paths=("",))),
    ("namespace_options.network", namespaces(network=M.CONTAINER)),
    ("namespace_options.ipc", namespaces(ipc=M.TARGET)),
    ("namespace_options.target_id", namespaces(pid=M.TARGET)),
    ("userns_options.uids", namespaces(userns_options=UserNamespace())),
    ("userns_options differs", namespaces(userns_options=UserNamespace(uids=ONE, gids=ONE))),
]  # fmt: skip


@pytest.mark.parametrize(("field", "bad"), CONTAINER, ids=numbered(CONTAINER))
def test_a_bad_container_is_refused_by_the_name_of_the_field(field: str, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate.container(replace(container_config(), **bad), sandbox_record())
    assert field in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "config", [None, container_config(image=""), ContainerConfig(metadata=ContainerMetadata(name="a"))]
)
def test_a_container_without_what_is_required_is_refused(config: ContainerConfig | None) -> None:
    with pytest.raises(InvalidArgument, match="is missing"):
        validate.container(config, sandbox_record())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"command": (), "args": ()},
        {"image": ImageSpec(image="sha256:" + "0" * 64)},
        {"envs": (KeyValue(key="A", value=b"\xff\n"), KeyValue(key="A"), KeyValue(key="a.b-c", value=b"="))},
        {"log_path": "app/0.log"},
        {"log_path": "..a/b..log"},
        {"stdin": True, "stdin_once": True, "tty": True},
        {"working_dir": "relative"},
        {"stop_signal": Signal.SIGRTMAX},
        {"labels": {"": "é\n"}, "annotations": {"big": "x" * 256 * 1024}},
        mounted(host_path="/h", propagation=MountPropagation.BIDIRECTIONAL, selinux_relabel=True),
        mounted(container_path="relative", host_path="/h"),
        mounted(host_path="/h", readonly=True, recursive_read_only=True, mount_options=("noexec", "nodev", "nosuid")),
        image_mount(),
        image_mount(image_sub_path="etc"),
        mounted(host_path="/h", image=ImageSpec()),
        {"devices": (Device(host_path="/dev/null", container_path="", permissions="rwm"),)},
        {"cdi_devices": (CDIDevice(name="vendor.com/class=dev:0.1"),)},
        limited(cpu_period=100000, cpu_quota=-1, cpu_shares=2, oom_score_adj=-998, cpuset_cpus="0-3,8"),
        limited(memory_limit_in_bytes=2, memory_swap_limit_in_bytes=2, unified={"memory.oom.group": "1"}),
        limited(memory_limit_in_bytes=2, memory_swap_limit_in_bytes=-1, cpuset_mems="0"),
        limited(hugepage_limits=(HugepageLimit(page_size="2MB", limit=0), HugepageLimit(page_size="1GB", limit=5))),
        secured(),
        secured(run_as_user=0, run_as_group=0, supplemental_groups=(0, 2**31 - 1)),
        secured(run_as_username="nobody", run_as_group=5),
        secured(capabilities=Capability(add_capabilities=("ALL",)), no_new_privs=True, readonly_rootfs=True),
        secured(selinux_options=SELinuxOption(user="u", role="r", type="t", level="s0:c1,c2")),
        secured(masked_paths=("/proc/kcore",), readonly_paths=("/proc/sys",)),
        secured(seccomp=SecurityProfile(profile_type=LOCALHOST, localhost_ref="/p.json")),
        secured(apparmor=SecurityProfile(profile_type=LOCALHOST, localhost_ref="localhost/p"), apparmor_profile="x"),
        namespaces(pid=M.TARGET, target_id="c1"),
        namespaces(network=M.NODE, pid=M.NODE, ipc=M.NODE),
        namespaces(userns_options=UserNamespace(mode=M.NODE)),
    ],
)  # fmt: skip
def test_a_good_container_passes_unchanged(fields: dict[str, Any]) -> None:
    config = replace(container_config(), **fields)
    assert validate.container(config, sandbox_record()) is config


def test_stdin_once_without_stdin_means_nothing() -> None:
    validate.container(container_config(stdin_once=True), sandbox_record())


def test_a_privileged_sandbox_may_have_privileged_containers() -> None:
    pod = sandbox_record(config=sandbox_config(**in_sandbox(privileged=True)))
    validate.container(container_config(**secured(privileged=True)), pod)


def test_a_container_shares_the_user_namespace_of_its_sandbox() -> None:
    pod = sandbox_record(config=sandbox_config(**pod_userns(uids=ONE, gids=ONE)))
    same, other = UserNamespace(uids=ONE, gids=ONE), UserNamespace(uids=ONE, gids=(IDMapping(host_id=5, length=1),))
    validate.container(container_config(**namespaces(userns_options=same)), pod)
    with pytest.raises(InvalidArgument, match="userns_options differs"):
        validate.container(container_config(**namespaces(userns_options=other)), pod)


@pytest.mark.parametrize("value", ["\u0661-\u0662", "0\n"])
def test_a_list_of_cpus_is_written_in_ascii(value: str) -> None:
    with pytest.raises(InvalidArgument):
        validate.resources(LinuxContainerResources(cpuset_cpus=value), "linux")
