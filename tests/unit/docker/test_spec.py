"""Nothing that the port can ask for is lost on the way to Docker Engine: it has an effect, or is refused."""

import json
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from criadapt.backends.base import ContainerSpec
from criadapt.backends.docker.facts import EngineFacts
from criadapt.backends.docker.security import Machine
from criadapt.backends.docker.spec import after_start, create_body
from criadapt.errors import (
    CriadaptError,
    FailedPrecondition,
    ImageVolumeMountFailed,
    InvalidArgument,
    RecursiveReadOnlyUnsupported,
    Unsupported,
)
from criadapt.model.container import KeyValue, Mount
from criadapt.model.image import ImageSpec
from criadapt.model.linux import (
    Capability,
    CDIDevice,
    Device,
    HugepageLimit,
    IDMapping,
    LinuxContainerResources,
    LinuxContainerUser,
    MountPropagation,
    NamespaceMode,
    NamespaceOption,
    ProfileType,
    SecurityProfile,
    SELinuxOption,
    UserNamespace,
)
from criadapt.model.runtime import CgroupDriver
from criadapt.model.sandbox import PortMapping
from criadapt.model.signals import Signal

OLD = EngineFacts(api=(1, 41), cgroup_version=1)
NEW = EngineFacts(
    api=(1, 51),
    cgroup_version=2,
    cgroup_driver=CgroupDriver.SYSTEMD,
    security=frozenset({"seccomp", "apparmor", "selinux"}),
    runtimes=frozenset({"runc", "kata"}),
    recursive_read_only=True,
    annotations=("dev.kata.*",),
)
PROFILE = '{"defaultAction": "SCMP_ACT_ALLOW"}'
REFUSALS = (InvalidArgument, Unsupported, FailedPrecondition, RecursiveReadOnlyUnsupported, ImageVolumeMountFailed)
INFRA = ContainerSpec(name="pod", image_id="sha256:1", args=("/pause",))
APP = replace(INFRA, name="app", infra="f" * 64)
MiB = 1 << 20


class PaperMachine(Machine):
    """A host of a few files."""

    files = {  # noqa: RUF012
        "/profiles/good.json": PROFILE.encode(),
        "/profiles/bad.json": b"{",
        "/profiles/empty.json": b"{}",
        "/sys/kernel/security/apparmor/profiles": b"docker-default (enforce)\nmine (complain)\n",
    }

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory")
        return self.files[path]

    def devices(self) -> list[str]:
        return ["/dev/null", "/dev/vda"]


def localhost(ref: str) -> SecurityProfile:
    return SecurityProfile(profile_type=ProfileType.LOCALHOST, localhost_ref=ref)


UNCONFINED = SecurityProfile(profile_type=ProfileType.UNCONFINED)

# ---------------------------------------------------------------------------------------------- nothing is lost

CHANGES: dict[str, list[tuple[ContainerSpec, Any]]] = {
    "name": [(APP, "other")],
    "image_id": [(APP, "sha256:2")],
    "args": [(APP, ("sh", "-c", "x"))],
    "env": [(APP, (KeyValue(key="A", value=b"b"),))],
    "cwd": [(APP, "/srv")],
    "user": [
        (APP, LinuxContainerUser(uid=1)),
        (APP, LinuxContainerUser(gid=1)),
        (APP, LinuxContainerUser(supplemental_groups=(5,))),
    ],
    "hostname": [(INFRA, "web")],
    "tty": [(APP, True)],
    "stdin": [(APP, True)],
    "stdin_once": [(APP, True)],
    "stop_signal": [(APP, Signal.SIGQUIT)],
    "labels": [(APP, {"a": "b"})],
    "annotations": [(APP, {"dev.kata.x": "1"})],
    "mounts": [(APP, (Mount(host_path="/a", container_path="/b"),))],
    "devices": [(APP, (Device(host_path="/dev/fuse", permissions="rw"),))],
    "cdi_devices": [(APP, (CDIDevice(name="v.com/c=1"),))],
    "infra": [(APP, "e" * 64), (APP, None)],
    "namespaces": [
        (APP, NamespaceOption(network=NamespaceMode.NODE)),
        (APP, NamespaceOption(pid=NamespaceMode.CONTAINER)),
        (APP, NamespaceOption(pid=NamespaceMode.NODE)),
        (APP, NamespaceOption(ipc=NamespaceMode.NODE)),
        (APP, NamespaceOption(pid=NamespaceMode.TARGET, target_id="d" * 64)),
        (APP, NamespaceOption(userns_options=UserNamespace())),
    ],
    "connected": [(INFRA, False)],
    "handler": [(APP, "kata")],
    "cgroup_parent": [(APP, "/a/b.slice")],
    "resources": [
        (APP, LinuxContainerResources(**{name: value}))
        for name, value in {
            "cpu_period": 50000,
            "cpu_quota": 5000,
            "cpu_shares": 512,
            "memory_limit_in_bytes": 64 * MiB,
            "oom_score_adj": 5,
            "cpuset_cpus": "0",
            "cpuset_mems": "0",
            "hugepage_limits": (HugepageLimit(page_size="2MB", limit=4 * MiB),),
            "unified": {"memory.oom.group": "1"},
            "memory_swap_limit_in_bytes": -1,
        }.items()
    ],
    "sysctls": [(INFRA, {"net.core.somaxconn": "7"}), (APP, {"kernel.domainname": "x"})],
    "port_mappings": [(INFRA, (PortMapping(container_port=80, host_port=8080),))],
    "privileged": [(APP, True)],
    "capabilities": [
        (APP, Capability(add_capabilities=("SYS_TIME",))),
        (APP, Capability(drop_capabilities=("CHOWN",))),
        (APP, Capability(add_ambient_capabilities=("CHOWN",))),
    ],
    "no_new_privs": [(APP, True)],
    "readonly_rootfs": [(APP, True)],
    "masked_paths": [(APP, ("/proc/kcore",))],
    "readonly_paths": [(APP, ("/proc/sys",))],
    "seccomp": [(APP, SecurityProfile()), (APP, localhost("/profiles/good.json"))],
    "apparmor": [(APP, UNCONFINED), (APP, localhost("mine"))],
    "selinux": [(APP, SELinuxOption(level="s0:c1,c2"))],
    "checkpoint": [(APP, "/c")],
}
MOUNT_CHANGES: dict[str, dict[str, Any]] = {
    "container_path": {"container_path": "/c"},
    "host_path": {"host_path": "/c"},
    "readonly": {"readonly": True},
    "selinux_relabel": {"selinux_relabel": True},
    "propagation": {"propagation": MountPropagation.HOST_TO_CONTAINER},
    "uid_mappings": {"uid_mappings": (IDMapping(length=1),)},
    "gid_mappings": {"gid_mappings": (IDMapping(length=1),)},
    "recursive_read_only": {"recursive_read_only": True, "readonly": True},
    "image": {"image": ImageSpec(image="sha256:9"), "host_path": "", "readonly": True},
    "image_sub_path": {"image_sub_path": "x"},
    "mount_options": {"mount_options": ("noexec",)},
}


def outcome(spec: ContainerSpec, facts: EngineFacts) -> Any:
    """All that comes of a spec: requests, what is left to be done, or a refusal."""
    try:
        request = create_body(spec, facts, machine=PaperMachine())
    except REFUSALS as error:
        return str(error)
    return spec.name, request, after_start(spec.resources, facts)


def test_the_table_of_changes_names_every_field() -> None:
    assert set(CHANGES) == {field.name for field in fields(ContainerSpec)}
    assert set(MOUNT_CHANGES) == {field.name for field in fields(Mount)}
    limits = {name for _, each in CHANGES["resources"] for name in vars_of(each)}
    assert limits == {field.name for field in fields(LinuxContainerResources)}


def vars_of(value: Any) -> set[str]:
    return {field.name for field in fields(value) if getattr(value, field.name)}


@pytest.mark.parametrize("name", CHANGES)
def test_every_field_has_an_effect_or_is_refused(name: str) -> None:
    for spec, value in CHANGES[name]:
        assert outcome(replace(spec, **{name: value}), NEW) != outcome(spec, NEW), (name, value)


@pytest.mark.parametrize("name", MOUNT_CHANGES)
def test_every_field_of_a_mount_has_an_effect_or_is_refused(name: str) -> None:
    mount = Mount(container_path="/b", host_path="/a")
    changed = replace(mount, **MOUNT_CHANGES[name])
    assert outcome(replace(APP, mounts=(changed,)), NEW) != outcome(replace(APP, mounts=(mount,)), NEW)


def strategy(kind: Any) -> st.SearchStrategy[Any]:
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: strategy(hints[field.name]) for field in fields(kind)})
    return st.from_type(kind)


for _kind in (Mount, LinuxContainerResources, NamespaceOption, SecurityProfile, Capability, Device, KeyValue):
    st.register_type_strategy(_kind, st.deferred(lambda kind=_kind: strategy(kind)))

SMALL = st.integers(-1, 10**6)
PATHS = st.from_regex(r"/[a-z/]{0,8}", fullmatch=True) | st.just("/var")
PLAUSIBLE_MOUNTS = st.builds(
    Mount,
    container_path=PATHS,
    host_path=PATHS,
    readonly=st.booleans(),
    selinux_relabel=st.booleans(),
    propagation=st.sampled_from(MountPropagation),
    recursive_read_only=st.booleans(),
)
PLAUSIBLE = st.builds(
    ContainerSpec,
    name=st.just("app"),
    image_id=st.just("sha256:1"),
    args=st.just(("sh",)),
    infra=st.sampled_from([None, "f" * 64]),
    env=st.lists(st.builds(KeyValue, key=st.text(min_size=1), value=st.text().map(str.encode))).map(tuple),
    user=st.builds(LinuxContainerUser, uid=SMALL, gid=SMALL),
    mounts=st.lists(PLAUSIBLE_MOUNTS, max_size=3).map(tuple),
    stop_signal=st.sampled_from(Signal),
    privileged=st.booleans(),
    capabilities=st.builds(
        Capability,
        add_capabilities=st.lists(st.sampled_from(["ALL", "CHOWN", "BPF"])).map(tuple),
        drop_capabilities=st.lists(st.sampled_from(["ALL", "CHOWN", "BPF"])).map(tuple),
    ),
    resources=st.builds(LinuxContainerResources, cpu_shares=SMALL, cpu_quota=SMALL, memory_limit_in_bytes=SMALL),
    seccomp=st.none() | st.builds(SecurityProfile, localhost_ref=st.just("/profiles/good.json")),
)


def check(spec: ContainerSpec, facts: EngineFacts) -> None:
    """A request that can be sent, or one of the refusals."""
    with suppress(*REFUSALS):
        found = create_body(spec, facts, machine=PaperMachine())
        assert json.loads(json.dumps(found, ensure_ascii=False).encode()) == found


@given(spec=strategy(ContainerSpec), facts=st.sampled_from([OLD, NEW]))
def test_whatever_is_asked_gives_json_or_a_refusal(spec: ContainerSpec, facts: EngineFacts) -> None:
    check(spec, facts)


@given(spec=PLAUSIBLE, facts=st.sampled_from([OLD, NEW, replace(OLD, capabilities=frozenset({"CHOWN"}))]))
def test_so_does_what_looks_like_a_container(spec: ContainerSpec, facts: EngineFacts) -> None:
    check(spec, facts)


def test_refusals_are_errors_of_criadapt() -> None:
    assert all(issubclass(kind, CriadaptError) for kind in REFUSALS)
