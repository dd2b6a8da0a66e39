"""A pod of a manifest → its plan."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping

import msgspec

from criadapt.client.manifest import schema
from criadapt.client.manifest.context import Context, unused
from criadapt.client.manifest.environment import environment, expand
from criadapt.client.manifest.plan import (
    NODE_HOSTS,
    POD_IP,
    ContainerPlan,
    HostFile,
    HostPath,
    ImagePlan,
    PodPlan,
    PullPolicy,
    encoded,
)
from criadapt.client.manifest.pull import pull_policy
from criadapt.client.manifest.resources import overhead, resources
from criadapt.client.manifest.security import container_security, must_not_be_root, sandbox_security
from criadapt.client.manifest.volumes import VolumePlan, mounts, volumes
from criadapt.errors import InvalidArgument
from criadapt.model.container import (
    ContainerConfig,
    ContainerMetadata,
    KeyValue,
    LinuxContainerConfig,
    Mount,
)
from criadapt.model.image import ImageSpec
from criadapt.model.sandbox import (
    DNSConfig,
    LinuxPodSandboxConfig,
    PodSandboxConfig,
    PodSandboxMetadata,
    PortMapping,
    Protocol,
)
from criadapt.model.signals import Signal

HOSTS_FILE = "etc-hosts"
MAX_HOSTNAME = 63  # characters: a DNS label

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PROTOCOLS = {"TCP": Protocol.TCP, "UDP": Protocol.UDP, "SCTP": Protocol.SCTP}


def pod_plan(context: Context) -> PodPlan:
    """The plan of a pod. Raises InvalidArgument that begins with the path of the field at fault."""
    spec, where = context.spec, context.where
    _check(context)
    context.notes.extend(f"{path} is not acted on" for path in unused(spec, where))
    if spec.dns_policy == "ClusterFirstWithHostNet":
        context.notes.append(f"{where}.dnsPolicy is not acted on: there is no cluster's DNS; the node's is used")
    known = volumes(context)
    folders = [volume.folder for volume in known.values() if volume.folder]
    files = [file for volume in known.values() for file in volume.files or ()]
    hosts = _hosts(context)
    if hosts is not None:
        files.append(hosts)
    made = {
        path: _container(context, container, path, known, folders, hosts) for path, container in context.containers()
    }
    init = len(spec.init_containers)
    return PodPlan(
        sandbox=_sandbox(context),
        init_containers=tuple(made.values())[:init],
        containers=tuple(made.values())[init:],
        images=_images(context, known),
        folders=tuple(dict.fromkeys(folders)),
        files=tuple(files),
        host_paths=_host_paths(known),
        runtime_handler=spec.runtime_class_name,
        grace=spec.termination_grace_period_seconds,
        restart_policy=spec.restart_policy,
        notes=tuple(context.notes),
    )


def _check(context: Context) -> None:
    spec, where = context.spec, context.where
    if not spec.containers:
        raise InvalidArgument(f"{where}.containers: empty; a pod needs a container")
    if not spec.host_users:
        raise InvalidArgument(f"{where}.hostUsers: false is not supported; nobody here gives out ranges of user ids")
    if spec.os is not None and spec.os.name != "linux":
        raise InvalidArgument(f"{where}.os.name: {spec.os.name!r} is not supported; only linux is")
    if spec.share_process_namespace and spec.host_pid:
        raise InvalidArgument(f"{where}.shareProcessNamespace: excludes hostPID")
    if spec.termination_grace_period_seconds < 0:
        raise InvalidArgument(f"{where}.terminationGracePeriodSeconds: must not be negative")
    if spec.hostname and not _LABEL.fullmatch(spec.hostname):
        raise InvalidArgument(f"{where}.hostname: {spec.hostname!r} is not a host name of at most 63 characters")
    names: set[str] = set()
    for path, container in context.containers():
        if not _LABEL.fullmatch(container.name):
            raise InvalidArgument(
                f"{path}.name: {container.name!r} must consist of a-z, 0-9 and '-', at most 63 characters"
            )
        if container.name in names:
            raise InvalidArgument(f"{path}.name: {container.name!r} is the name of another container")
        names.add(container.name)


def _sandbox(context: Context) -> PodSandboxConfig:
    spec = context.spec
    hostname = spec.hostname or context.name[:MAX_HOSTNAME].rstrip("-.")
    return PodSandboxConfig(
        metadata=PodSandboxMetadata(name=context.name, namespace=context.namespace, uid=context.uid),
        hostname="" if spec.host_network else hostname,
        dns_config=_dns(context),
        port_mappings=tuple(
            mapping for path, container in context.containers() for mapping in _ports(context, container, path)
        ),
        labels={**context.labels, **_pod_labels(context)},
        annotations=context.annotations,
        linux=LinuxPodSandboxConfig(
            security_context=sandbox_security(context),
            sysctls={sysctl.name: sysctl.value for sysctl in spec.security_context.sysctls},
            overhead=overhead(context),
        ),
    )


def _container(
    context: Context,
    container: schema.Container,
    where: str,
    known: Mapping[str, VolumePlan],
    folders: list[str],
    hosts: HostFile | None,
) -> ContainerPlan:
    env = environment(context, container, where)
    mounted = mounts(context, container, where, known, env, folders)
    if hosts is not None and not any(mount.container_path == "/etc/hosts" for mount in mounted):
        mounted += (Mount(container_path="/etc/hosts", host_path=hosts.path, selinux_relabel=True),)
    is_init = where.startswith(f"{context.where}.initContainers")
    if container.restart_policy and not is_init:
        context.notes.append(f"{where}.restartPolicy is not acted on")
    config = ContainerConfig(
        metadata=ContainerMetadata(name=container.name),
        image=ImageSpec(image=container.image, user_specified_image=container.image),
        command=tuple(expand(word, env) for word in container.command),
        args=tuple(expand(word, env) for word in container.args),
        working_dir=container.working_dir,
        envs=tuple(KeyValue(key=key, value=encoded(value)) for key, value in env.items()),
        mounts=mounted,
        labels={"io.kubernetes.container.name": container.name, **_pod_labels(context)},
        annotations=_annotations(context, container),
        log_path=f"{container.name}/0.log",
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        stop_signal=_stop_signal(container, where),
        linux=LinuxContainerConfig(
            resources=resources(context, container, where),
            security_context=container_security(context, container, where),
        ),
    )
    return ContainerPlan(
        config=config,
        run_as_non_root=must_not_be_root(context, container, where),
        sidecar=is_init and container.restart_policy == "Always",
    )


def _pod_labels(context: Context) -> dict[str, str]:
    return {
        "io.kubernetes.pod.name": context.name,
        "io.kubernetes.pod.namespace": context.namespace,
        "io.kubernetes.pod.uid": context.uid,
    }


def _annotations(context: Context, container: schema.Container) -> dict[str, str]:
    """What kubelet notes on a container (pkg/kubelet/kuberuntime/labels.go)."""
    found = {
        "io.kubernetes.container.hash": f"{zlib.crc32(msgspec.json.encode(container)):x}",
        "io.kubernetes.container.restartCount": "0",
        "io.kubernetes.container.terminationMessagePath": container.termination_message_path or "/dev/termination-log",
        "io.kubernetes.container.terminationMessagePolicy": container.termination_message_policy or "File",
        "io.kubernetes.pod.terminationGracePeriod": str(context.spec.termination_grace_period_seconds),
    }
    if container.ports:
        found["io.kubernetes.container.ports"] = json.dumps([msgspec.to_builtins(port) for port in container.ports])
    return found


def _stop_signal(container: schema.Container, where: str) -> Signal:
    if not container.lifecycle.stop_signal:
        return Signal.RUNTIME_DEFAULT
    try:
        return Signal.parse(container.lifecycle.stop_signal)
    except InvalidArgument as error:
        raise InvalidArgument(f"{where}.lifecycle.stopSignal: {error}") from error


def _ports(context: Context, container: schema.Container, where: str) -> list[PortMapping]:
    found = []
    for number, port in enumerate(container.ports):
        place = f"{where}.ports[{number}]"
        for field, value, least in (("containerPort", port.container_port, 1), ("hostPort", port.host_port, 0)):
            if not least <= value <= 65535:
                raise InvalidArgument(f"{place}.{field}: {value} is not within {least} and 65535")
        if context.spec.host_network and port.host_port not in (0, port.container_port):
            raise InvalidArgument(f"{place}.hostPort: on the host's network it must be the containerPort")
        found.append(
            PortMapping(
                protocol=_PROTOCOLS[port.protocol],
                container_port=port.container_port,
                host_port=port.container_port if context.spec.host_network else port.host_port,
                host_ip=port.host_ip,
            )
        )
    return found


def _images(context: Context, known: Mapping[str, VolumePlan]) -> tuple[ImagePlan, ...]:
    """Every image once; if one of several wants it pulled always, it is."""
    found: dict[str, set[PullPolicy]] = {}
    for path, container in context.containers():
        if not container.image:
            raise InvalidArgument(f"{path}.image: missing")
        policy = pull_policy(container.image, container.image_pull_policy, f"{path}.image")
        found.setdefault(container.image, set()).add(policy)
    for volume in known.values():
        if volume.image is not None:
            found.setdefault(volume.image.image, set()).add(volume.image.pull)
    order: tuple[PullPolicy, ...] = ("always", "missing", "never")
    return tuple(ImagePlan(image=image, pull=min(wanted, key=order.index)) for image, wanted in found.items())


def _host_paths(known: Mapping[str, VolumePlan]) -> tuple[HostPath, ...]:
    return tuple(volume.host_path for volume in known.values() if volume.host_path is not None)


def _dns(context: Context) -> DNSConfig | None:
    """Lines of resolv.conf; None leaves it to the runtime, which takes the node's."""
    given, where = context.spec.dns_config, f"{context.where}.dnsConfig"
    own = DNSConfig(
        servers=given.nameservers,
        searches=given.searches,
        options=tuple(f"{option.name}:{option.value}" if option.value else option.name for option in given.options),
    )
    if context.spec.dns_policy == "None":
        if not own.servers:
            raise InvalidArgument(f"{where}.nameservers: missing; dnsPolicy None needs one")
        return own
    if own == DNSConfig():
        return None
    node = _resolv_conf(context.node.resolv_conf)
    return DNSConfig(
        servers=tuple(dict.fromkeys((*node.servers, *own.servers))),
        searches=tuple(dict.fromkeys((*node.searches, *own.searches))),
        options=tuple({word.partition(":")[0]: word for word in (*node.options, *own.options)}.values()),
    )


def _resolv_conf(text: str) -> DNSConfig:
    """The node's lines (resolv.conf(5)): servers add up, of searches the last line counts."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        match line.split():
            case ["nameserver", address, *_]:
                servers.append(address)
            case ["search", *names]:
                searches = names
            case ["options", *names]:
                options += names
    return DNSConfig(servers=tuple(servers), searches=tuple(searches), options=tuple(options))


def _hosts(context: Context) -> HostFile | None:
    """/etc/hosts with the pod's aliases; without any the runtime makes that file."""
    spec = context.spec
    if not spec.host_aliases:
        return None
    lines = ["# Made by criadapt for this pod.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    if spec.host_network:
        lines = [NODE_HOSTS]
    else:
        lines.append(f"{POD_IP}\t{spec.hostname or context.name}")
    lines += [f"{alias.ip}\t{' '.join(alias.hostnames)}" for alias in spec.host_aliases]
    return HostFile(path=HOSTS_FILE, content=encoded("\n".join(lines) + "\n"))
