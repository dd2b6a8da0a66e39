"""What is asked of the port → what is asked of Docker Engine (``POST /containers/create``, Docker Engine API).

Nothing is left to the engine's defaults that CRI decides, and nothing that the engine cannot do is passed over in
silence. What create has no field for is in :func:`after_start`.
"""

from __future__ import annotations

import json
import posixpath
import re
from fnmatch import fnmatchcase
from typing import Any

from criadapt.backends.base import ContainerSpec
from criadapt.backends.docker.facts import EngineFacts
from criadapt.backends.docker.mounts import mounts
from criadapt.backends.docker.resources import AfterStart, after_start, limits, oom_score_adj, resources_update
from criadapt.backends.docker.security import MACHINE, Machine, devices, identity, privileged_by_parts, privileges
from criadapt.errors import InvalidArgument
from criadapt.model.linux import NamespaceMode
from criadapt.model.runtime import CgroupDriver
from criadapt.model.signals import Signal

__all__ = ["AfterStart", "EngineFacts", "after_start", "create_body", "notes", "resources_update"]

SHM_SIZE = 64 << 20
"""Bytes of a pod's /dev/shm, as in containerd and CRI-O, whatever the engine's default."""

ANNOTATIONS = (1, 43)

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_KIND, _SANDBOX = "criadapt.io/kind", "sandbox"
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def create_body(spec: ContainerSpec, facts: EngineFacts, *, machine: Machine = MACHINE) -> dict[str, Any]:
    """Body of ``POST /containers/create?name=``:attr:`ContainerSpec.name`.

    On the `machine` a seccomp profile is read, the list of loaded AppArmor profiles, and, for privileged containers of
    some engines, /dev: files, so better not in the event loop. Raises InvalidArgument for what contradicts itself,
    Unsupported (or a class made for it) for what this engine cannot do, both naming the field.
    """
    _demand_name(spec.name)
    if spec.checkpoint:
        raise facts.unsupported("checkpoint: the Docker backend cannot resume a container from a file")
    if not spec.args or not spec.args[0]:
        raise InvalidArgument("args: there is no program to run")
    after_start(spec.resources, facts)
    user, groups = identity(spec)
    ports = _ports(spec)
    host: dict[str, Any] = {
        **_namespaces(spec, facts),
        **privileges(spec, facts, machine),
        **devices(spec, facts, machine),
        **mounts(spec.mounts, facts),
        **limits(spec.resources, facts),
        "GroupAdd": groups,
        "Sysctls": _sysctls(spec),
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
        "Init": False,
    }
    if spec.infra is None:
        host["PortBindings"] = ports
    if log := _log(spec, facts):
        host["LogConfig"] = log
    if spec.handler:
        if spec.handler not in facts.runtimes:
            known = ", ".join(sorted(facts.runtimes))
            raise InvalidArgument(f"handler {spec.handler!r} is not a runtime of this Docker Engine; it has {known}")
        host["Runtime"] = spec.handler
    if parent := _cgroup_parent(spec.cgroup_parent, facts):
        host["CgroupParent"] = parent
    if annotations := _annotations(spec, facts):
        host["Annotations"] = annotations
    body: dict[str, Any] = {
        "Image": spec.image_id,
        # As entrypoint: then neither the image's own nor its arguments are added.
        "Entrypoint": list(spec.args),
        "Cmd": [],
        "Env": _environment(spec, facts),
        "WorkingDir": posixpath.join("/", spec.cwd),
        "User": user,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin_once,
        "StopSignal": _signal(spec.stop_signal),
        "Labels": dict(spec.labels),
        "Healthcheck": {"Test": ["NONE"]},
        "ExposedPorts": {port: {} for port in ports},
        "HostConfig": host,
    }
    if spec.infra is None and spec.hostname and spec.namespaces.network is not NamespaceMode.NODE:
        body["Hostname"] = spec.hostname
    _demand_text(body, facts)
    return body


def notes(spec: ContainerSpec, facts: EngineFacts) -> tuple[str, ...]:
    """Where the container gets less than it asks for, for the log. Each is the same for many containers."""
    found = []
    asked = spec.resources.oom_score_adj
    if oom_score_adj(asked, facts) != asked:
        found.append(
            f"oom_score_adj {asked} becomes {facts.oom_floor}: Docker Engine runs without CAP_SYS_RESOURCE "
            "and cannot go below its own"
        )
    if privileged_by_parts(spec, facts):
        found.append(
            "a privileged container gets the capabilities that Docker Engine has itself, and a read-only /sys "
            "that it may remount: this engine cannot start one as it is"
        )
    return tuple(found)


def _demand_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"name {name!r}: Docker takes two characters or more of a-z, A-Z, 0-9, _, . and -")


def _demand_text(body: dict[str, Any], facts: EngineFacts) -> None:
    """The engine would replace what is not UTF-8, such as the bytes of an old file name, without a word."""
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        excerpt = error.object[max(0, error.start - 40) : error.end]
        raise facts.unsupported(f"{excerpt!r} is not UTF-8, and Docker's API takes nothing else") from error


def _environment(spec: ContainerSpec, facts: EngineFacts) -> list[str]:
    found: dict[str, str] = {}
    for pair in spec.env:
        try:
            found[pair.key] = f"{pair.key}={pair.value.decode()}"
        except UnicodeDecodeError as error:
            raise facts.unsupported(
                f"env {pair.key!r}: its value is not UTF-8, and Docker takes nothing else"
            ) from error
    # A bare name takes out what the engine would add.
    for name in ("HOSTNAME", "TERM") if spec.tty else ("HOSTNAME",):
        found.setdefault(name, name)
    return list(found.values())


def _signal(signal: Signal) -> str:
    if signal is Signal.RUNTIME_DEFAULT:
        return "SIGTERM"
    return signal.name.replace("PLUS", "+").replace("MINUS", "-")


def _namespaces(spec: ContainerSpec, facts: EngineFacts) -> dict[str, Any]:
    options = spec.namespaces
    if options.userns_options is not None and options.userns_options.mode is not NamespaceMode.NODE:
        raise facts.unsupported("namespaces.userns_options: Docker has no user namespaces for single pods")
    for field in ("network", "ipc"):
        if getattr(options, field) not in (NamespaceMode.POD, NamespaceMode.NODE):
            raise InvalidArgument(f"namespaces.{field} must be POD or NODE")
    on_host = options.network is NamespaceMode.NODE
    private_cgroup = facts.cgroup_version >= 2 and not spec.privileged
    shared = f"container:{spec.infra}"
    host: dict[str, Any] = {
        # The engine's own user namespace (userns-remap) cannot be combined with the host's other namespaces.
        "UsernsMode": "host",
        "CgroupnsMode": "private" if private_cgroup else "host",
        "UTSMode": "host" if on_host else "",
        "PidMode": _pid_mode(spec),
    }
    if spec.infra is not None:
        host["NetworkMode"] = "host" if on_host else shared
        host["IpcMode"] = "host" if options.ipc is NamespaceMode.NODE else shared
    else:
        host["NetworkMode"] = "host" if on_host else "bridge" if spec.connected else "none"
        host["IpcMode"] = "host" if options.ipc is NamespaceMode.NODE else "shareable"
        host["ShmSize"] = SHM_SIZE
    return host


def _pid_mode(spec: ContainerSpec) -> str:
    options = spec.namespaces
    if options.pid is NamespaceMode.NODE:
        return "host"
    if options.pid is NamespaceMode.TARGET:
        if spec.infra is None or not options.target_id:
            raise InvalidArgument("namespaces.pid TARGET needs a target_id, and is for containers of a pod")
        return f"container:{options.target_id}"
    if options.pid is NamespaceMode.POD and spec.infra is not None:
        return f"container:{spec.infra}"
    return ""


def _ports(spec: ContainerSpec) -> dict[str, list[dict[str, str]]]:
    """Bindings by port. None where the engine does not connect the pod, or it is on the host's network anyway."""
    published = [mapping for mapping in spec.port_mappings if mapping.host_port]
    if published and spec.infra is not None:
        raise InvalidArgument("port_mappings are for an infra container: it holds the pod's network")
    found: dict[str, list[dict[str, str]]] = {}
    if spec.namespaces.network is NamespaceMode.NODE or not spec.connected:
        return found
    for mapping in published:
        port = f"{mapping.container_port}/{mapping.protocol.name.lower()}"
        binding = {"HostIp": mapping.host_ip, "HostPort": str(mapping.host_port)}
        found.setdefault(port, []).append(binding)
    return found


def _sysctls(spec: ContainerSpec) -> dict[str, str]:
    """A pod's are set once, with its infra container; another container would set back what was changed since.

    Only what belongs to a namespace of its own (uts) is set with each.
    """
    named = {_dotted(key): value for key, value in spec.sysctls.items()}
    if spec.infra is None:
        return named
    return {key: value for key, value in named.items() if not key.startswith(("net.", *_IPC_SYSCTLS))}


def _dotted(key: str) -> str:
    """The spelling with dots; the other one, ``net/ipv4/conf/eth0.1/forwarding``, has them exchanged (sysctl.d(5))."""
    first = next((character for character in key if character in "./"), ".")
    return key.translate({ord("/"): ".", ord("."): "/"}) if first == "/" else key


def _log(spec: ContainerSpec, facts: EngineFacts) -> dict[str, Any]:
    """Nobody reads what a pod's infra container writes."""
    if spec.infra is None and spec.labels.get(_KIND) == _SANDBOX:
        return {"Type": "none"}
    return dict(facts.log)


def _cgroup_parent(parent: str, facts: EngineFacts) -> str:
    """A path, or, where systemd makes the cgroups, the last slice of it: the ones above are in its name."""
    if not parent:
        return ""
    path = posixpath.normpath("/" + parent.lstrip("/"))
    if facts.cgroup_driver is CgroupDriver.CGROUPFS:
        return path
    slice_ = posixpath.basename(path)
    if not slice_.endswith(".slice"):
        raise InvalidArgument(f"cgroup_parent {parent!r} must end in a slice: Docker Engine makes cgroups by systemd")
    return slice_


def _annotations(spec: ContainerSpec, facts: EngineFacts) -> dict[str, str]:
    """Those that the OCI runtime shall see; core remembers them all by itself."""
    found = {
        key: value
        for key, value in spec.annotations.items()
        if any(fnmatchcase(key, pattern) for pattern in facts.annotations)
    }
    if found:
        facts.demand(*ANNOTATIONS, f"annotations: to hand {', '.join(sorted(found))} to the runtime")
    return found
