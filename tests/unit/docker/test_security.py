"""What a container may do, and what it sees of the host, in the words of Docker Engine."""

from dataclasses import replace
from typing import Any

import pytest

from criadapt.backends.base import ContainerSpec
from criadapt.backends.docker.facts import EngineFacts
from criadapt.backends.docker.mounts import mounts
from criadapt.backends.docker.security import Machine, devices, privileges
from criadapt.errors import FailedPrecondition, InvalidArgument, RecursiveReadOnlyUnsupported, Unsupported
from criadapt.model.container import Mount
from criadapt.model.image import ImageSpec
from criadapt.model.linux import (
    Capability,
    CDIDevice,
    Device,
    MountPropagation,
    ProfileType,
    SecurityProfile,
    SELinuxOption,
)

OLD = EngineFacts(api=(1, 41))
NEW = EngineFacts(api=(1, 51), recursive_read_only=True)
HARDENED = replace(NEW, security=frozenset({"seccomp", "apparmor", "selinux"}))
LACKING = replace(OLD, capabilities=frozenset({"CHOWN", "SYS_ADMIN", "BPF"}))
APP = ContainerSpec(name="app", image_id="sha256:1", args=("sh",), infra="f" * 64)
UNCONFINED = SecurityProfile(profile_type=ProfileType.UNCONFINED)
PROFILE = '{"defaultAction": "SCMP_ACT_ALLOW"}'


class PaperMachine(Machine):
    """A host of a few files."""

    def __init__(self, **files: bytes) -> None:
        self._files = {f"/{name}": content for name, content in files.items()}
        self._files["/sys/kernel/security/apparmor/profiles"] = b"docker-default (enforce)\nmine (complain)\n"

    def read(self, path: str) -> bytes:
        if path not in self._files:
            raise FileNotFoundError(2, "No such file or directory")
        return self._files[path]

    def devices(self) -> list[str]:
        return ["/dev/null", "/dev/vda"]


MACHINE = PaperMachine(good=PROFILE.encode(), bad=b"{", empty=b"{}", binary=b"\xff")


def confined(facts: EngineFacts = OLD, **changes: Any) -> dict[str, Any]:
    return privileges(replace(APP, **changes), facts, MACHINE)


def options(facts: EngineFacts = OLD, **changes: Any) -> list[str]:
    found: list[str] = confined(facts, **changes)["SecurityOpt"]
    return [option for option in found if not option.startswith("no-new-privileges")]


def localhost(ref: str) -> SecurityProfile:
    return SecurityProfile(profile_type=ProfileType.LOCALHOST, localhost_ref=ref)


# ---------------------------------------------------------------------------------------------- profiles and labels


def test_no_seccomp_profile_means_unconfined() -> None:
    assert options() == options(seccomp=UNCONFINED) == ["seccomp=unconfined"]
    assert options(seccomp=SecurityProfile()) == []


def test_the_engine_gets_the_text_of_a_profile() -> None:
    assert options(seccomp=localhost("/good")) == [f"seccomp={PROFILE}"]


@pytest.mark.parametrize("path", ["/absent", "/bad", "/empty", "/binary"])
def test_a_profile_that_is_none_is_refused_at_once(path: str) -> None:
    with pytest.raises(InvalidArgument, match=f"seccomp.localhost_ref '{path}'"):
        options(seccomp=localhost(path))


def test_nothing_is_claimed_without_seccomp() -> None:
    without = replace(OLD, security=frozenset())
    assert options(without) == ["seccomp=unconfined"]
    with pytest.raises(Unsupported, match="seccomp"):
        options(without, seccomp=SecurityProfile())


def test_apparmor() -> None:
    assert options(HARDENED) == options(HARDENED, apparmor=SecurityProfile()) == ["seccomp=unconfined"]
    assert options(HARDENED, apparmor=UNCONFINED)[1:] == ["apparmor=unconfined"]
    assert options(HARDENED, apparmor=localhost("mine"))[1:] == ["apparmor=mine"]
    with pytest.raises(FailedPrecondition, match="'other' is not loaded"):
        options(HARDENED, apparmor=localhost("other"))


def test_apparmor_on_a_host_without() -> None:
    assert options(apparmor=UNCONFINED) == options(apparmor=SecurityProfile()) == options()
    with pytest.raises(Unsupported, match="no AppArmor"):
        options(apparmor=localhost("mine"))


def test_an_selinux_label_is_given_in_parts() -> None:
    label = SELinuxOption(user="u", role="r", type="t", level="s0:c1,c2")
    expected = ["label=user:u", "label=role:r", "label=type:t", "label=level:s0:c1,c2"]
    assert options(HARDENED, selinux=label)[1:] == expected


def test_new_privileges_are_said_either_way() -> None:
    assert confined(no_new_privs=True)["SecurityOpt"][0] == "no-new-privileges=true"
    assert confined()["SecurityOpt"][0] == "no-new-privileges=false"


def test_empty_lists_of_paths_mean_none_and_not_the_engines() -> None:
    found = confined()
    assert (found["MaskedPaths"], found["ReadonlyPaths"]) == ([], [])


def test_privileged_means_unconfined_whatever_else_is_said() -> None:
    found = confined(
        HARDENED, privileged=True, seccomp=SecurityProfile(), masked_paths=("/x",), selinux=SELinuxOption(type="t")
    )
    assert (found["Privileged"], found["MaskedPaths"]) == (True, [])
    assert found["SecurityOpt"][1:] == ["seccomp=unconfined", "apparmor=unconfined", "label=disable"]


# ---------------------------------------------------------------------------------------------- capabilities, devices


@pytest.mark.parametrize(
    ("add", "drop", "given", "taken"),
    [
        ((), (), [], []),
        (("cap_sys_time", "SYS_TIME"), ("chown",), ["SYS_TIME"], ["CHOWN"]),
        (("ALL",), ("CHOWN",), ["ALL"], ["CHOWN"]),
        (("NET_RAW",), ("ALL",), ["NET_RAW"], ["ALL"]),
        (("ALL", "NET_RAW"), ("ALL",), ["NET_RAW"], ["ALL"]),
        (("NET_RAW", "SYS_TIME"), ("NET_RAW",), ["SYS_TIME"], ["NET_RAW"]),
        (("NET_RAW",), ("ALL", "NET_RAW"), [], ["ALL"]),
    ],
)
def test_what_is_dropped_is_dropped(
    add: tuple[str, ...], drop: tuple[str, ...], given: list[str], taken: list[str]
) -> None:
    found = confined(capabilities=Capability(add_capabilities=add, drop_capabilities=drop))
    assert (found["CapAdd"], found["CapDrop"]) == (given, taken)


def test_ambient_capabilities_pass_only_where_they_are_added_too() -> None:
    both = Capability(add_capabilities=("CHOWN",), add_ambient_capabilities=("CAP_CHOWN",))
    assert confined(capabilities=both)["CapAdd"] == ["CHOWN"]
    with pytest.raises(Unsupported, match="add_ambient_capabilities SYS_TIME"):
        confined(capabilities=Capability(add_ambient_capabilities=("SYS_TIME",)))


def test_all_means_all_that_the_engine_has() -> None:
    everything = Capability(add_capabilities=("ALL",), drop_capabilities=("CHOWN",))
    found = confined(LACKING, capabilities=everything)
    assert (found["CapAdd"], found["CapDrop"]) == (["SYS_ADMIN"], ["ALL"])  # Docker 20.10 does not know BPF
    assert confined(replace(LACKING, api=(1, 44)), capabilities=everything)["CapAdd"] == ["ALL"]
    with pytest.raises(Unsupported, match="SYS_TIME"):
        confined(LACKING, capabilities=Capability(add_capabilities=("SYS_TIME",)))


def test_privileged_on_an_engine_that_lacks_capabilities_is_put_together() -> None:
    spec = replace(APP, privileged=True, devices=(Device(host_path="/dev/vda", permissions="r"),))
    found = privileges(spec, LACKING, MACHINE)
    assert (found["Privileged"], found["CapAdd"], found["CapDrop"]) == (False, ["CHOWN", "SYS_ADMIN"], ["ALL"])
    assert found["DeviceCgroupRules"] == ["a *:* rwm"]
    assert [d["PathInContainer"] for d in devices(spec, LACKING, MACHINE)["Devices"]] == ["/dev/vda", "/dev/null"]
    assert privileges(spec, replace(LACKING, api=(1, 44)), MACHINE)["Privileged"]


def test_devices() -> None:
    asked = (Device(host_path="/dev/fuse"), Device(host_path="/dev/net", container_path="/dev/n", permissions="r"))
    assert devices(replace(APP, devices=asked), OLD, MACHINE)["Devices"] == [
        {"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"},
        {"PathOnHost": "/dev/net", "PathInContainer": "/dev/n", "CgroupPermissions": "r"},
    ]
    with pytest.raises(InvalidArgument, match=r"devices\[0\]"):
        devices(replace(APP, devices=(Device(host_path="/dev/x", permissions="x"),)), OLD, MACHINE)


def test_cdi_needs_a_newer_engine() -> None:
    spec = replace(APP, cdi_devices=(CDIDevice(name="v/c=1"), CDIDevice(name="v/c=1")))
    assert devices(spec, NEW, MACHINE)["DeviceRequests"] == [{"Driver": "cdi", "DeviceIDs": ["v/c=1"]}]
    with pytest.raises(Unsupported, match=r"cdi_devices v/c=1 needs API 1\.44.*1\.41"):
        devices(spec, OLD, MACHINE)


def test_the_devices_of_this_machine_are_device_nodes() -> None:
    found = Machine().devices()
    assert "/dev/null" in found
    assert not [path for path in found if path.startswith(("/dev/pts/", "/dev/shm/", "/dev/console"))]


# ---------------------------------------------------------------------------------------------- mounts


def mount(facts: EngineFacts = OLD, **changes: Any) -> dict[str, Any]:
    asked = Mount(**{"host_path": "/data", "container_path": "/x", **changes})
    found: dict[str, Any] = mounts((asked,), facts)
    return found


def bind(facts: EngineFacts = OLD, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = mount(facts, **changes)["Mounts"][0]["BindOptions"]
    return found


def test_a_bind_mount() -> None:
    assert mount() == {
        "Mounts": [
            {
                "Type": "bind",
                "Source": "/data",
                "Target": "/x",
                "ReadOnly": False,
                "BindOptions": {"Propagation": "rprivate"},
            }
        ]
    }
    assert mounts((), OLD) == {}


def test_propagation() -> None:
    assert bind(propagation=MountPropagation.HOST_TO_CONTAINER) == {"Propagation": "rslave"}
    assert bind(propagation=MountPropagation.BIDIRECTIONAL) == {"Propagation": "rshared"}


@pytest.mark.parametrize("path", ["/", "/var", "/var/lib/docker", "/var/lib/docker/x", "/var/lib/doc"])
def test_around_its_own_directory_the_engine_chooses(path: str) -> None:
    assert bind(host_path=path) == {}
    assert bind(host_path=path, propagation=MountPropagation.BIDIRECTIONAL) == {"Propagation": "rshared"}


def test_read_only_is_not_recursive_unless_asked_for() -> None:
    assert bind(readonly=True) == {"Propagation": "rprivate"}
    assert bind(NEW, readonly=True) == {"Propagation": "rprivate", "ReadOnlyNonRecursive": True}
    recursive = bind(NEW, readonly=True, recursive_read_only=True)
    assert recursive == {"Propagation": "rprivate", "ReadOnlyForceRecursive": True}


@pytest.mark.parametrize(
    ("facts", "changes"),
    [
        (OLD, {}),
        (replace(NEW, recursive_read_only=False), {}),
        (NEW, {"host_path": "/var"}),
        (HARDENED, {"selinux_relabel": True}),
    ],
)
def test_recursive_read_only_is_enforced_or_refused(facts: EngineFacts, changes: dict[str, Any]) -> None:
    with pytest.raises(RecursiveReadOnlyUnsupported, match=r"^RROUnsupported: .*recursive_read_only"):
        mount(facts, readonly=True, recursive_read_only=True, **changes)


def test_relabelling_happens_where_there_are_labels() -> None:
    assert "Binds" not in mount(selinux_relabel=True)
    assert mount(HARDENED, selinux_relabel=True, readonly=True) == {"Binds": ["/data:/x:ro,Z,rprivate"]}
    assert mount(HARDENED, selinux_relabel=True, host_path="/var") == {"Binds": ["/var:/x:rw,Z"]}
    with pytest.raises(Unsupported, match="colon"):
        mount(HARDENED, selinux_relabel=True, host_path="/a:b")


def test_image_volumes_need_docker_28() -> None:
    volume = {"image": ImageSpec(image="sha256:9"), "host_path": "", "readonly": True}
    expected = {"Type": "image", "Source": "sha256:9", "Target": "/x", "ReadOnly": True}
    assert mount(NEW, **volume)["Mounts"] == [expected]
    found = mount(NEW, **volume, image_sub_path="a/b")["Mounts"][0]
    assert found["ImageOptions"] == {"Subpath": "a/b"}
    with pytest.raises(Unsupported, match=r"mounts\['/x'\].image needs API 1\.48"):
        mount(**volume)


@pytest.mark.parametrize(
    "changes",
    [
        {"container_path": "x"},
        {"host_path": ""},
        {"image_sub_path": "a"},
        {"recursive_read_only": True},
        {"image": ImageSpec(image="sha256:9"), "host_path": "", "readonly": True, "image_sub_path": "../etc"},
        {"image": ImageSpec(image="sha256:9"), "host_path": ""},
    ],
)
def test_a_mount_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="mounts"):
        mount(NEW, **changes)
