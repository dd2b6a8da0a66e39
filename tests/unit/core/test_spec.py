"""ContainerSpec: every default of the interface has its answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from criadapt.backends.base import ImageConfig
from criadapt.core import names, spec
from criadapt.core.podfiles import pod_files
from criadapt.core.records import SandboxRecord
from criadapt.errors import InvalidArgument
from criadapt.model.container import KeyValue, LinuxContainerConfig, Mount
from criadapt.model.image import ImageSpec
from criadapt.model.linux import (
    Capability,
    Device,
    LinuxContainerResources,
    LinuxContainerSecurityContext,
    LinuxContainerUser,
    LinuxSandboxSecurityContext,
    NamespaceMode,
    NamespaceOption,
    ProfileType,
    SecurityProfile,
)
from criadapt.model.sandbox import LinuxPodSandboxConfig, PortMapping
from criadapt.model.signals import Signal
from criadapt.testing.factories import (
    container_config,
    engine_image,
    on_host_network,
    sandbox_config,
    sandbox_record,
)

FILES = pod_files(Path("/state"), "s1", sandbox_config(hostname="web-0"), host_network=False)
USER = LinuxContainerUser(uid=7, gid=8, supplemental_groups=(8,))
DEFAULT, UNCONFINED = SecurityProfile(), SecurityProfile(profile_type=ProfileType.UNCONFINED)


def local(ref: str) -> SecurityProfile:
    return SecurityProfile(profile_type=ProfileType.LOCALHOST, localhost_ref=ref)


def secured(**context: Any) -> LinuxContainerConfig:
    return LinuxContainerConfig(security_context=LinuxContainerSecurityContext(**context))


PLAIN, PAUSE = ImageConfig(), ImageConfig(entrypoint=("/pause",))


def made(pod: SandboxRecord | None = None, image: ImageConfig = PLAIN, **config: Any) -> spec.ContainerSpec:
    return spec.container(
        container_config(**config), pod or sandbox_record(), engine_image(config=image), USER, FILES, {}
    )


# ---------------------------------------------------------------------------------------------- process


@pytest.mark.parametrize(
    ("command", "args", "entrypoint", "cmd", "expected"),
    [
        (("a",), (), ("e",), ("c",), ("a",)),
        (("a", "b"), ("x",), ("e",), ("c",), ("a", "b", "x")),
        ((), ("x",), ("e",), ("c",), ("e", "x")),
        ((), (), ("e",), ("c",), ("e", "c")),
        ((), (), (), ("c",), ("c",)),
        ((), ("x",), (), ("c",), ("x",)),
        (("a", ""), (), (), (), ("a", "")),
    ],
)
def test_arguments_as_kubernetes_merges_them(
    command: tuple[str, ...],
    args: tuple[str, ...],
    entrypoint: tuple[str, ...],
    cmd: tuple[str, ...],
    expected: tuple[str, ...],
) -> None:
    config = container_config(command=command, args=args)
    assert spec.arguments(config, ImageConfig(entrypoint=entrypoint, cmd=cmd)) == expected


@pytest.mark.parametrize("image", [ImageConfig(), ImageConfig(cmd=("",))])
def test_without_any_command_there_is_nothing_to_run(image: ImageConfig) -> None:
    with pytest.raises(InvalidArgument, match=r"config\.command is missing"):
        spec.arguments(container_config(command=()), image)


def env(*pairs: tuple[str, bytes]) -> tuple[KeyValue, ...]:
    return tuple(KeyValue(key=key, value=value) for key, value in pairs)


@pytest.mark.parametrize(
    ("image", "asked", "tty", "expected"),
    [
        ((), (), False, env(("HOSTNAME", b"h"))),
        (("A=1", "B"), (), False, env(("A", b"1"), ("B", b""), ("HOSTNAME", b"h"))),
        (("A=1=2",), (), False, env(("A", b"1=2"), ("HOSTNAME", b"h"))),
        (("A=1", "Z=9"), env(("A", b"\xff"), ("N", b"x")), False,
         env(("A", b"\xff"), ("Z", b"9"), ("HOSTNAME", b"h"), ("N", b"x"))),
        (("HOSTNAME=image",), (), False, env(("HOSTNAME", b"image"))),
        ((), env(("HOSTNAME", b"mine")), False, env(("HOSTNAME", b"mine"))),
        ((), (), True, env(("HOSTNAME", b"h"), ("TERM", b"xterm"))),
        (("TERM=dumb",), (), True, env(("TERM", b"dumb"), ("HOSTNAME", b"h"))),
        ((), env(("A", b"1"), ("A", b"2")), False, env(("HOSTNAME", b"h"), ("A", b"2"))),
    ],
)  # fmt: skip
def test_environment_is_the_images_overridden_by_key(
    image: tuple[str, ...], asked: tuple[KeyValue, ...], tty: bool, expected: tuple[KeyValue, ...]
) -> None:
    assert spec.environment(container_config(envs=asked, tty=tty), ImageConfig(env=image), "h") == expected


@pytest.mark.parametrize(
    ("asked", "image", "expected"),
    [
        (Signal.RUNTIME_DEFAULT, "", Signal.SIGTERM),
        (Signal.RUNTIME_DEFAULT, "SIGQUIT", Signal.SIGQUIT),
        (Signal.RUNTIME_DEFAULT, "3", Signal.SIGQUIT),
        (Signal.RUNTIME_DEFAULT, "nonsense", Signal.SIGTERM),
        (Signal.SIGUSR1, "SIGQUIT", Signal.SIGUSR1),
    ],
)
def test_stop_signal_is_the_requests_then_the_images_then_sigterm(asked: Signal, image: str, expected: Signal) -> None:
    assert spec.stop_signal(container_config(stop_signal=asked), ImageConfig(stop_signal=image)) is expected


@pytest.mark.parametrize(
    ("asked", "image", "expected"), [("/a", "/b", "/a"), ("", "/b", "/b"), ("", "", "/"), ("rel", "", "rel")]
)
def test_working_dir_is_the_requests_then_the_images_then_the_root(asked: str, image: str, expected: str) -> None:
    assert made(working_dir=asked, image=ImageConfig(working_dir=image)).cwd == expected


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [
        ("/var/log/pods/x", "app/0.log", "/var/log/pods/x/app/0.log"),
        ("/var/log/pods/x/", "app/0.log", "/var/log/pods/x/app/0.log"),
        ("", "app/0.log", ""),
        ("/var/log/pods/x", "", ""),
        ("", "", ""),
    ],
)
def test_a_log_needs_a_folder_and_a_name(folder: str, name: str, expected: str) -> None:
    pod = sandbox_record(config=sandbox_config(log_directory=folder))
    assert spec.log_path(container_config(log_path=name), pod) == expected


# ---------------------------------------------------------------------------------------------- mounts

OWN = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]


def mounted(*mounts: Mount, images: dict[int, str] | None = None, **config: Any) -> tuple[Mount, ...]:
    return spec.mounts(container_config(mounts=mounts, **config), FILES, images or {})


def bind(path: str, source: str = "/src", **fields: Any) -> Mount:
    return Mount(container_path=path, host_path=source, **fields)


def test_the_pods_files_are_mounted() -> None:
    assert [(m.container_path, m.host_path, m.readonly) for m in mounted()] == [
        (path, str(source), False) for path, source in FILES.mounts()
    ]
    assert [m.container_path for m in mounted()] == OWN


@pytest.mark.parametrize("path", OWN)
@pytest.mark.parametrize("spelling", ["{}", "{}/", "//{}"])
def test_the_pods_files_do_not_cover_what_was_asked_for(path: str, spelling: str) -> None:
    found = mounted(bind(spelling.format(path)))
    assert sorted(m.container_path for m in found) == OWN
    assert [m.host_path for m in found if m.container_path == path] == ["/src"]


@pytest.mark.parametrize("path", ["/etc//hosts", "/etc/./hosts", "/x/../etc/hosts"])
def test_the_pods_files_do_not_cover_what_was_asked_for_in_odd_words(path: str) -> None:
    assert [m.host_path for m in mounted(bind(path)) if m.container_path == "/etc/hosts"] == ["/src"]


def test_the_pods_files_are_read_only_where_the_root_is() -> None:
    assert all(m.readonly for m in mounted(linux=secured(readonly_rootfs=True)))


def test_parents_are_mounted_before_children_and_equals_stay_in_order() -> None:
    found = mounted(bind("/a/b/c"), bind("/z"), bind("/a"), bind("/a/b"))
    assert [m.container_path for m in found if m.host_path == "/src"] == ["/z", "/a", "/a/b", "/a/b/c"]


def test_relative_paths_begin_at_the_root() -> None:
    assert mounted(bind("data/"))[0].container_path == "/data"


def test_a_mount_at_the_root_comes_first() -> None:
    assert mounted(bind("/a"), bind("/"))[0].container_path == "/"


def test_image_volumes_name_a_local_image() -> None:
    volume = Mount(container_path="/v", image=ImageSpec(image="busybox", annotations={"a": "b"}), readonly=True)
    found = mounted(bind("/x"), volume, images={1: "sha256:1"})
    assert found[1] == replace(volume, image=ImageSpec(image="sha256:1", annotations={"a": "b"}))


def test_options_of_a_mount_stay_as_they_are() -> None:
    mount = bind("/a", readonly=True, recursive_read_only=True, selinux_relabel=True, mount_options=("noexec",))
    assert mounted(mount)[0] == mount


def test_a_device_without_a_path_of_its_own_keeps_the_hosts() -> None:
    found = made(devices=(Device(host_path="/dev/a"), Device(host_path="/dev/a", container_path="/dev/b"))).devices
    assert [device.container_path for device in found] == ["/dev/a", "/dev/b"]


# ---------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("memory", "swap", "expected"), [(0, 0, 0), (100, 0, 100), (100, 150, 150), (100, -1, -1), (0, 150, 150)]
)
def test_a_memory_limit_alone_means_no_swap(memory: int, swap: int, expected: int) -> None:
    asked = LinuxContainerResources(memory_limit_in_bytes=memory, memory_swap_limit_in_bytes=swap, cpu_shares=5)
    found = spec.limits(container_config(linux=LinuxContainerConfig(resources=asked)))
    assert found == replace(asked, memory_swap_limit_in_bytes=expected)


def test_no_linux_part_means_no_limits() -> None:
    assert spec.limits(container_config()) == LinuxContainerResources()


# ---------------------------------------------------------------------------------------------- confinement


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({}, None),
        ({"seccomp": DEFAULT}, DEFAULT),
        ({"seccomp": UNCONFINED}, None),
        ({"seccomp": local("/p.json")}, local("/p.json")),
        ({"seccomp_profile_path": "unconfined"}, None),
        ({"seccomp_profile_path": "runtime/default"}, DEFAULT),
        ({"seccomp_profile_path": "docker/default"}, DEFAULT),
        ({"seccomp_profile_path": "localhost//p.json"}, local("/p.json")),
        ({"seccomp": UNCONFINED, "seccomp_profile_path": "runtime/default"}, None),
        ({"seccomp": DEFAULT, "seccomp_profile_path": "unconfined"}, DEFAULT),
        ({"seccomp": local("/p.json"), "privileged": True}, None),
    ],
)
def test_seccomp_is_folded_into_one_field(context: dict[str, Any], expected: SecurityProfile | None) -> None:
    assert made(linux=secured(**context)).seccomp == expected


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({}, None),
        ({"apparmor": DEFAULT}, DEFAULT),
        ({"apparmor": UNCONFINED}, UNCONFINED),
        ({"apparmor": local("p")}, local("p")),
        ({"apparmor": local("localhost/p")}, local("p")),
        ({"apparmor_profile": "runtime/default"}, None),
        ({"apparmor_profile": "unconfined"}, UNCONFINED),
        ({"apparmor_profile": "localhost/p"}, local("p")),
        ({"apparmor": local("new"), "apparmor_profile": "localhost/old"}, local("new")),
        ({"apparmor": local("p"), "privileged": True}, UNCONFINED),
    ],
)
def test_apparmor_is_folded_into_one_field(context: dict[str, Any], expected: SecurityProfile | None) -> None:
    assert made(linux=secured(**context)).apparmor == expected


@pytest.mark.parametrize("field", ["seccomp_profile_path", "apparmor_profile"])
def test_an_unknown_deprecated_profile_is_refused_by_name(field: str) -> None:
    with pytest.raises(InvalidArgument, match=field):
        made(linux=secured(**{field: "nonsense"}))


def test_a_privileged_container_has_no_confinement_left() -> None:
    found = made(linux=secured(privileged=True, masked_paths=("/m",), readonly_paths=("/r",), readonly_rootfs=True))
    assert (found.privileged, found.masked_paths, found.readonly_paths) == (True, (), ())
    assert found.capabilities == Capability(add_capabilities=("ALL",))
    assert found.readonly_rootfs


def test_an_unprivileged_container_keeps_its_paths_as_asked() -> None:
    found = made(linux=secured(masked_paths=("/m",), readonly_paths=("/r",), no_new_privs=True))
    assert (found.masked_paths, found.readonly_paths, found.no_new_privs) == (("/m",), ("/r",), True)


def test_capabilities_have_one_spelling() -> None:
    asked = Capability(
        add_capabilities=("cap_net_admin", "NET_ADMIN", "Sys_Time"),
        drop_capabilities=("all",),
        add_ambient_capabilities=("CAP_CHOWN",),
    )
    assert made(linux=secured(capabilities=asked)).capabilities == Capability(
        add_capabilities=("NET_ADMIN", "SYS_TIME"), drop_capabilities=("ALL",), add_ambient_capabilities=("CHOWN",)
    )


# ---------------------------------------------------------------------------------------------- the pod


def test_network_and_ipc_follow_the_sandbox_and_pid_is_the_containers_own() -> None:
    pod = sandbox_record(config=on_host_network(sandbox_config()))
    own = NamespaceOption(network=NamespaceMode.POD, ipc=NamespaceMode.NODE, pid=NamespaceMode.CONTAINER)
    found = made(pod, linux=secured(namespace_options=own)).namespaces
    assert (found.network, found.ipc, found.pid) == (NamespaceMode.NODE, NamespaceMode.POD, NamespaceMode.CONTAINER)


def test_a_container_belongs_to_its_pod() -> None:
    linux = LinuxPodSandboxConfig(cgroup_parent="/kubepods", sysctls={"a.b": "1"})
    pod = sandbox_record(config=sandbox_config(linux=linux), handler="kata")
    found = made(pod)
    assert (found.infra, found.handler, found.cgroup_parent, found.hostname) == ("s1", "kata", "/kubepods", "web-0")
    assert found.labels == names.container_labels("s1", pod.metadata, container_config().metadata)  # type: ignore[arg-type]
    assert (found.user, found.image_id) == (USER, engine_image().id)


# ---------------------------------------------------------------------------------------------- the infra container


def infra(image: ImageConfig = PAUSE, **config: Any) -> spec.ContainerSpec:
    return spec.infra(sandbox_config(**config), "", engine_image("a", config=image), "web-0")


def test_the_infra_container_is_small_and_the_last_to_be_killed() -> None:
    found = infra()
    assert (found.args, found.infra, found.hostname) == (("/pause",), None, "web-0")
    assert (found.resources.cpu_shares, found.resources.oom_score_adj) == (2, -998)
    assert found.readonly_rootfs
    assert found.no_new_privs
    assert found.labels[names.KIND] == names.KIND_SANDBOX


def test_only_ports_with_a_host_port_are_published() -> None:
    published = PortMapping(container_port=80, host_port=8080)
    assert infra(port_mappings=(PortMapping(container_port=81), published)).port_mappings == (published,)


def test_a_pod_on_the_hosts_network_publishes_nothing() -> None:
    config = replace(on_host_network(sandbox_config()), port_mappings=(PortMapping(container_port=80, host_port=80),))
    assert spec.infra(config, "", engine_image("a"), "h").port_mappings == ()


def test_the_sandboxes_security_applies_to_the_infra_process_alone() -> None:
    context = LinuxSandboxSecurityContext(
        run_as_user=5, run_as_group=6, supplemental_groups=(9, 7), seccomp_profile_path="runtime/default"
    )
    found = infra(linux=LinuxPodSandboxConfig(security_context=context))
    assert found.user == LinuxContainerUser(uid=5, gid=6, supplemental_groups=(6, 7, 9))
    assert found.seccomp == DEFAULT
    assert infra().seccomp is None


def test_apparmor_is_folded_for_the_infra_container_too() -> None:
    context = LinuxSandboxSecurityContext(apparmor=local("localhost/p"))
    assert infra(linux=LinuxPodSandboxConfig(security_context=context)).apparmor == local("p")
