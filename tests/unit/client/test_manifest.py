"""Kubernetes manifests as plans: what kubelet would make of them, and what is said about what cannot be."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from criadapt.client.manifest import ContainerPlan, HostFile, HostPath, ImagePlan, Node, PodPlan, read_manifest
from criadapt.client.manifest.environment import expand
from criadapt.client.manifest.folder import prepare
from criadapt.client.manifest.simple import simple_plan
from criadapt.errors import InvalidArgument, NotFound
from criadapt.model.container import Mount
from criadapt.model.image import ImageSpec
from criadapt.model.linux import (
    Capability,
    HugepageLimit,
    LinuxContainerResources,
    LinuxContainerSecurityContext,
    LinuxSandboxSecurityContext,
    MountPropagation,
    NamespaceMode,
    NamespaceOption,
    ProfileType,
    SecurityProfile,
    SELinuxOption,
    SupplementalGroupsPolicy,
)
from criadapt.model.quantity import ceiling, parse_quantity
from criadapt.model.sandbox import DNSConfig, PortMapping, Protocol
from criadapt.model.signals import Signal

GIB = 1 << 30
NODE = Node(
    name="node-1",
    memory=16 * GIB,
    resolv_conf="# made by hand\nnameserver 10.0.0.2\nsearch old.example\nsearch example.org\noptions ndots:2 rotate\n",
    hosts="127.0.0.1 localhost\n",
)
MINIMAL: Mapping[str, Any] = {"name": "app", "image": "me/app:1"}


def pod(*containers: Mapping[str, Any], metadata: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    given = [{**MINIMAL, **container} for container in containers or ({},)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", **(metadata or {})},
        "spec": {"containers": given, **spec},
    }


def plan_of(*documents: Mapping[str, Any]) -> PodPlan:
    (plan,) = read_manifest(yaml.safe_dump_all(documents, sort_keys=False), node=NODE)
    return plan


def plan(*containers: Mapping[str, Any], **spec: Any) -> PodPlan:
    return plan_of(pod(*containers, **spec))


def only(plan: PodPlan) -> ContainerPlan:
    (container,) = plan.containers
    return container


def env(plan: PodPlan, ip: str = "10.1.2.3") -> dict[str, str]:
    return {pair.key: pair.value.decode() for pair in only(plan).at(Path("/pod"), [ip]).envs}


def mounts(plan: PodPlan) -> tuple[Mount, ...]:
    return only(plan).at(Path("/pod"), []).mounts


def resources(plan: PodPlan) -> LinuxContainerResources:
    linux = only(plan).config.linux
    assert linux is not None
    assert linux.resources is not None
    return linux.resources


def security(plan: PodPlan) -> LinuxContainerSecurityContext:
    linux = only(plan).config.linux
    assert linux is not None
    assert linux.security_context is not None
    return linux.security_context


def sandbox_security(plan: PodPlan) -> LinuxSandboxSecurityContext:
    assert plan.sandbox.linux is not None
    assert plan.sandbox.linux.security_context is not None
    return plan.sandbox.linux.security_context


def refusal(*documents: Mapping[str, Any]) -> str:
    with pytest.raises(InvalidArgument) as caught:
        read_manifest(yaml.safe_dump_all(documents, sort_keys=False), node=NODE)
    return str(caught.value)


CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cfg"}, "data": {"a": "1", "b": "2"}}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "key"},
    "data": {"raw": base64.b64encode(b"\xff\n").decode()},
    "stringData": {"word": "sesame"},
}

# ---------------------------------------------------------------------------------------------- quantities


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", Fraction(1, 2)),
        ("1Gi", GIB),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("2E-1", Fraction(1, 5)),
        ("1.5Ki", 1536),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("100n", Fraction(1, 10**7)),
        ("7u", Fraction(7, 10**6)),
        ("12k", 12_000),
        ("1Ei", 1 << 60),
        ("-1", -1),
        ("+3M", 3_000_000),
        (2, 2),
        (0.1, Fraction(1, 10)),
        (1e21, 10**21),
    ],
)
def test_quantities(text: Any, value: Any) -> None:
    assert parse_quantity(text, "x") == value


@pytest.mark.parametrize("text", ["", "1 Gi", "Gi", "1gi", "1K", "0x10", "1e", "1e3m", "1mi", ".", "١", "1\n", True])
def test_what_is_no_quantity(text: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^limits\.cpu: .* is not a quantity such as 500m"):
        parse_quantity(text, "limits.cpu")


@given(
    st.integers(-(10**15), 10**15), st.integers(0, 12), st.sampled_from(["", "k", "M", "Ki", "Gi", "m", "e2", "E-3"])
)
def test_quantities_are_exact(number: int, digits: int, suffix: str) -> None:
    text = f"{abs(number):0{digits + 1}}"
    written = f"{'-' if number < 0 else ''}{text[:-digits]}.{text[-digits:]}" if digits else str(number)
    factor = {"": 1, "k": 1000, "M": 10**6, "Ki": 1024, "Gi": GIB, "m": Fraction(1, 1000), "e2": 100}
    assert parse_quantity(written + suffix, "x") == Fraction(number, 10**digits) * factor.get(suffix, Fraction(1, 1000))


@given(st.fractions())
def test_rounding_up(value: Fraction) -> None:
    assert 0 <= ceiling(value) - value < 1


# ---------------------------------------------------------------------------------------------- sources


def test_a_manifest_may_be_a_mapping_a_text_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(yaml.safe_dump(pod()))
    for source in (pod(), yaml.safe_dump(pod()), path, str(path), json.dumps(pod())):
        (found,) = read_manifest(source)
        assert (found.name, found.namespace) == ("web", "default")


def test_what_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.yaml' does not exist"):
        read_manifest(tmp_path / "none.yaml")
    for text, words in (
        ("a: [\n", "is no YAML"),
        ("- 1\n- 2\n", "expected a mapping with apiVersion and kind"),
        ("x: 1\ny: 2\n", "apiVersion and kind: missing"),
        ("--- \n---\n", "no pod in the manifest"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n", "found: Service 'a'"),
        ("apiVersion: v1\nkind: &a [*a]\nmetadata: *a\n", "contains itself"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            read_manifest(text)


def test_without_a_node_it_is_this_one() -> None:
    node = Node.here()
    assert node.name == socket.gethostname()
    assert node.memory > 1 << 20


@pytest.mark.parametrize(
    ("kind", "version", "spec", "names"),
    [
        ("Deployment", "apps/v1", {"replicas": 2, "strategy": {"type": "Recreate"}}, ["web-0", "web-1"]),
        ("ReplicaSet", "apps/v1", {"replicas": 0}, []),
        ("StatefulSet", "apps/v1", {"serviceName": "web"}, ["web-0"]),
        ("DaemonSet", "apps/v1", {}, ["web-0"]),
        ("Job", "batch/v1", {"parallelism": 3, "completions": 9}, ["web-0", "web-1", "web-2"]),
    ],
)
def test_workloads_give_the_pods_of_their_template(
    kind: str, version: str, spec: dict[str, Any], names: list[str]
) -> None:
    template = {"metadata": {"labels": {"app": "web"}, "creationTimestamp": None}, "spec": pod()["spec"]}
    metadata = {"name": "web", "namespace": "prod"}
    workload = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": {**spec, "template": template}}
    plans = read_manifest(workload)
    assert [plan.name for plan in plans] == names
    assert {plan.namespace for plan in plans} <= {"prod"}
    assert len({plan.uid for plan in plans}) == len(plans)
    assert all(plan.sandbox.labels["app"] == "web" for plan in plans)


def test_all_documents_of_a_stream_count_and_those_of_lists() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"}}
    both = {"apiVersion": "v1", "kind": "List", "items": [pod(), pod(metadata={"name": "other"})]}
    plans = read_manifest(yaml.safe_dump_all([service, None, both]))
    assert [plan.name for plan in plans] == ["web", "other"]
    assert plans[0].notes == ("Service 'front' is not acted on",)


def test_errors_say_where() -> None:
    template = {"spec": {"containers": [{**MINIMAL, "volumeMounts": [{"name": "x", "mountPath": "/x"}]}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {"template": template},
    }
    assert refusal(CONFIG, deployment) == (
        "document 2 (Deployment): spec.template.spec.containers[0].volumeMounts[0].name: no volume 'x'"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spec": {}}, "spec.containers: missing"),
        ({"spec": {"containers": []}}, "spec.containers: empty; a pod needs a container"),
        ({"spec": {"containers": "app"}}, "spec.containers: expected a list, got 'app'"),
        ({"metadata": {}}, "metadata.name: '' must consist of"),
        ({"metadata": {"name": "Web"}}, "metadata.name: 'Web' must consist of a-z, 0-9, '-' and '.'"),
        ({"metadata": {"name": "web", "labels": {"a": 1}}}, "metadata.labels.a: expected text, got 1; quote it"),
        ({"metadata": {"name": "web", "labels": {1: "a"}}}, "metadata.labels: a key is not text; quote it"),
        ({"metadata": {"name": "web", "label": {}}}, "metadata.label: unknown field, did you mean 'labels'?"),
        ({"extra": 1}, "extra: unknown field"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], words: str) -> None:
    assert refusal({**pod(), **change}).startswith(words)


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"comand": ["a"]}, "comand: unknown field, did you mean 'command'?"),
        ({"command": "sleep 1"}, "command: expected a list, got 'sleep 1'"),
        ({"command": ["sleep", 1]}, "command[1]: expected text, got 1; quote it"),
        ({"args": [True]}, "args[0]: expected text, got True; quote it"),
        ({"tty": "yes"}, "tty: expected true or false, got 'yes'"),
        ({"image": ""}, "image: missing"),
        ({"image": "Nginx"}, "image: image reference 'Nginx'"),
        (
            {"imagePullPolicy": "Sometimes"},
            "imagePullPolicy: expected one of Always, Never, IfNotPresent, got 'Sometimes'",
        ),
        ({"name": "App"}, "name: 'App' must consist of a-z, 0-9 and '-'"),
        ({"env": [{"name": "A", "value": 1}]}, "env[0].value: expected text, got 1; quote it"),
        ({"env": [{"name": "A=B"}]}, "env[0].name: 'A=B' is not the name of a variable"),
        ({"env": [{"name": "A", "valueFrom": {}}]}, "env[0].valueFrom: empty; give one of fieldRef"),
        ({"env": [{"name": "A", "value": "1", "valueFrom": {}}]}, "env[0]: value and valueFrom exclude each other"),
        ({"env": [{"name": "A", "valueFrom": {"fileKeyRef": {}}}]}, "env[0].valueFrom.fileKeyRef: is not supported"),
        ({"envFrom": [{}]}, "envFrom[0]: empty; give configMapRef or secretRef"),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            "env[0].valueFrom.secretKeyRef.name: there is no Secret 's' in namespace 'default' of this manifest; "
            "without a cluster it must stand in the same YAML stream",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}]},
            "env[0].valueFrom.fieldRef.fieldPath: 'status.hostIP' is not known here; known: metadata.name",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]},
            "env[0].valueFrom.resourceFieldRef.resource: container 'app' has no limits.cpu",
        ),
        ({"ports": [{"containerPort": 0}]}, "ports[0].containerPort: 0 is not within 1 and 65535"),
        (
            {"ports": [{"containerPort": 80, "protocol": "HTTP"}]},
            "ports[0].protocol: expected one of TCP, UDP, SCTP, got 'HTTP'",
        ),
        ({"resources": {"limits": {"cpu": "fast"}}}, "resources.limits.cpu: 'fast' is not a quantity"),
        ({"resources": {"limits": {"cpu": -1}}}, "resources.limits.cpu: -1 is negative"),
        (
            {"resources": {"limits": {"cpu": 1}, "requests": {"cpu": 2}}},
            "resources.requests.cpu: 2 is more than the limit",
        ),
        ({"resources": {"limits": {"hugepages-3": 1}}}, "resources.limits.hugepages-3: '3' is not the size of a huge"),
        ({"lifecycle": {"stopSignal": "SIGFOO"}}, "lifecycle.stopSignal: 'SIGFOO' is not a signal"),
        (
            {"securityContext": {"seccompProfile": {"type": "Localhost"}}},
            "securityContext.seccompProfile.localhostProfile: goes with type Localhost",
        ),
        (
            {"securityContext": {"runAsUser": 0, "runAsNonRoot": True}},
            "securityContext: runAsNonRoot is true and runAsUser is 0",
        ),
        (
            {"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}},
            "securityContext.allowPrivilegeEscalation: cannot be false in a privileged container",
        ),
        ({"securityContext": {"runAsUser": "me"}}, "securityContext.runAsUser: expected a whole number, got 'me'"),
    ],
)
def test_what_does_not_fit_in_a_container_is_named(container: dict[str, Any], words: str) -> None:
    assert refusal(pod(container)).startswith(f"spec.containers[0].{words}")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"hostUsers": False}, "spec.hostUsers: false is not supported"),
        ({"os": {"name": "windows"}}, "spec.os.name: 'windows' is not supported"),
        ({"shareProcessNamespace": True, "hostPID": True}, "spec.shareProcessNamespace: excludes hostPID"),
        ({"hostname": "a.b"}, "spec.hostname: 'a.b' is not a host name"),
        ({"terminationGracePeriodSeconds": -1}, "spec.terminationGracePeriodSeconds: must not be negative"),
        ({"dnsPolicy": "None"}, "spec.dnsConfig.nameservers: missing"),
        ({"initContainers": [MINIMAL]}, "spec.containers[0].name: 'app' is the name of another container"),
        ({"overhead": {"cpu": "x"}}, "spec.overhead.cpu: 'x' is not a quantity"),
        (
            {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
            "spec.volumes[0].persistentVolumeClaim: needs a cluster; use emptyDir",
        ),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
            "spec.volumes[0].projected.sources[0].serviceAccountToken: needs a cluster",
        ),
        ({"volumes": [{"name": "v"}, {"name": "v"}]}, "spec.volumes[1].name: 'v' must be a name of its own"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "a"}}]}, "spec.volumes[0].hostPath.path: 'a' is not an abs"),
        ({"volumes": [{"name": "v", "image": {}}]}, "spec.volumes[0].image.reference: missing"),
        ({"volumes": [{"name": "v", "emptyDir": {}, "image": {}}]}, "spec.volumes[0]: more than one source"),
        ({"volumes": [{"name": "v", "configMap": {}}]}, "spec.volumes[0].configMap.name: missing; which ConfigMap?"),
    ],
)
def test_what_does_not_fit_in_a_pod_is_named(spec: dict[str, Any], words: str) -> None:
    assert refusal(pod(**spec)).startswith(words)


def test_what_nobody_acts_on_is_noted() -> None:
    probe = {"httpGet": {"path": "/", "port": 80}}
    found = plan(
        {"livenessProbe": probe, "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}, "restartPolicy": "Never"},
        nodeSelector={"disk": "ssd"},
        imagePullSecrets=[{"name": "s"}],
        dnsPolicy="ClusterFirstWithHostNet",
        volumes=[{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}],
        securityContext={"fsGroupChangePolicy": "Always"},
    )
    assert sorted(note.partition(" is not acted on")[0] for note in found.notes) == [
        "spec.containers[0].lifecycle.preStop",
        "spec.containers[0].livenessProbe",
        "spec.containers[0].restartPolicy",
        "spec.dnsPolicy",
        "spec.imagePullSecrets",
        "spec.nodeSelector",
        "spec.securityContext.fsGroupChangePolicy",
        "spec.volumes[0].emptyDir.medium",
        "spec.volumes[0].emptyDir.sizeLimit",
    ]


# ---------------------------------------------------------------------------------------------- the sandbox


def test_the_sandbox_carries_the_pod_s_identity() -> None:
    found = plan_of(
        pod(metadata={"namespace": "prod", "uid": "u-1", "labels": {"app": "web"}, "annotations": {"note": "x"}})
    )
    metadata = found.sandbox.metadata
    assert metadata is not None
    assert (metadata.name, metadata.namespace, metadata.uid, metadata.attempt) == ("web", "prod", "u-1", 0)
    assert found.sandbox.labels == {
        "app": "web",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "prod",
        "io.kubernetes.pod.uid": "u-1",
    }
    assert found.sandbox.annotations == {"note": "x"}
    assert found.sandbox.hostname == "web"


def test_names_and_uids_are_made_up_where_they_are_missing() -> None:
    generated = pod()
    generated["metadata"] = {"generateName": "job-"}
    one, other = plan_of(generated), plan_of(generated)
    assert one.name.startswith("job-")
    assert one.name != other.name
    assert one.uid != other.uid


def test_a_plain_pod_s_namespaces_and_dns_are_kubelet_s() -> None:
    found = plan()
    assert sandbox_security(found).namespace_options == NamespaceOption(pid=NamespaceMode.CONTAINER)
    assert security(found).namespace_options == NamespaceOption(pid=NamespaceMode.CONTAINER)
    assert found.sandbox.dns_config is None
    assert found.restart_policy == "Always"
    assert found.grace == 30


def test_the_host_s_namespaces() -> None:
    node = NamespaceMode.NODE
    found = plan({"ports": [{"containerPort": 80}]}, hostNetwork=True, hostPID=True, hostIPC=True)
    assert sandbox_security(found).namespace_options == NamespaceOption(network=node, pid=node, ipc=node)
    assert found.sandbox.hostname == ""
    assert found.sandbox.port_mappings == (PortMapping(container_port=80, host_port=80),)
    assert "hostPort: on the host's network" in refusal(
        pod({"ports": [{"containerPort": 80, "hostPort": 81}]}, hostNetwork=True)
    )
    shared = plan(shareProcessNamespace=True)
    assert security(shared).namespace_options == NamespaceOption(pid=NamespaceMode.POD)


def test_dns() -> None:
    own = {
        "nameservers": ["1.1.1.1"],
        "searches": ["a.b"],
        "options": [{"name": "ndots", "value": "5"}, {"name": "edns0"}],
    }
    assert plan(dnsPolicy="None", dnsConfig=own).sandbox.dns_config == DNSConfig(
        servers=("1.1.1.1",), searches=("a.b",), options=("ndots:5", "edns0")
    )
    assert plan(dnsPolicy="Default", dnsConfig=own).sandbox.dns_config == DNSConfig(
        servers=("10.0.0.2", "1.1.1.1"), searches=("example.org", "a.b"), options=("ndots:5", "rotate", "edns0")
    )


def test_ports() -> None:
    ports = [
        {"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1", "name": "http"},
        {"containerPort": 53, "protocol": "UDP"},
    ]
    found = plan({"ports": ports})
    assert found.sandbox.port_mappings == (
        PortMapping(container_port=80, host_port=8080, host_ip="127.0.0.1"),
        PortMapping(container_port=53, protocol=Protocol.UDP),
    )
    assert '"containerPort": 80' in only(found).config.annotations["io.kubernetes.container.ports"]


def test_sysctls_overhead_and_runtime_class() -> None:
    found = plan(
        securityContext={"sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]},
        overhead={"cpu": "250m", "memory": "64Mi"},
        runtimeClassName="kata",
    )
    assert found.sandbox.linux is not None
    assert found.sandbox.linux.sysctls == {"net.core.somaxconn": "1024"}
    assert found.sandbox.linux.overhead == LinuxContainerResources(
        cpu_period=100_000, cpu_quota=25_000, cpu_shares=256, memory_limit_in_bytes=64 << 20
    )
    assert found.runtime_handler == "kata"


def test_host_aliases_make_a_hosts_file() -> None:
    aliases = [{"ip": "10.9.8.7", "hostnames": ["db", "db.local"]}]
    found = plan(hostAliases=aliases)
    (file,) = found.files
    assert (file.path, only(found).config.mounts[0].container_path) == ("etc-hosts", "/etc/hosts")
    assert file.content.endswith(b"\0podIP\0\tweb\n10.9.8.7\tdb db.local\n")
    own = {"volumeMounts": [{"name": "v", "mountPath": "/etc/hosts", "subPath": "hosts"}]}
    chosen = plan(own, hostAliases=aliases, volumes=[{"name": "v"}])
    assert [mount.host_path for mount in mounts(chosen)] == ["/pod/volumes/v/hosts"]


def test_a_hosts_file_on_the_host_s_network_begins_with_the_node_s(tmp_path: Path) -> None:
    found = plan(hostAliases=[{"ip": "10.9.8.7", "hostnames": ["db"]}], hostNetwork=True)
    prepare(found, tmp_path, [])
    written = (tmp_path / "etc-hosts").read_text()
    assert written == Path("/etc/hosts").read_text() + "\n10.9.8.7\tdb\n"


# ---------------------------------------------------------------------------------------------- containers


def test_a_container_carries_what_kubelet_notes_on_it() -> None:
    config = only(plan_of(pod({"terminationMessagePath": "/end"}, metadata={"uid": "u-1"}))).config
    assert config.labels == {
        "io.kubernetes.container.name": "app",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "default",
        "io.kubernetes.pod.uid": "u-1",
    }
    assert len(config.annotations.pop("io.kubernetes.container.hash")) <= 8  # type: ignore[attr-defined]
    assert config.annotations == {
        "io.kubernetes.container.restartCount": "0",
        "io.kubernetes.container.terminationMessagePath": "/end",
        "io.kubernetes.container.terminationMessagePolicy": "File",
        "io.kubernetes.pod.terminationGracePeriod": "30",
    }
    assert config.log_path == "app/0.log"


def test_plain_fields_are_passed_on() -> None:
    config = only(
        plan(
            {
                "command": ["a"],
                "args": ["b"],
                "workingDir": "/w",
                "tty": True,
                "stdin": True,
                "stdinOnce": True,
                "lifecycle": {"stopSignal": "SIGUSR1"},
            }
        )
    ).config
    assert (config.command, config.args, config.working_dir) == (("a",), ("b",), "/w")
    assert (config.tty, config.stdin, config.stdin_once, config.stop_signal) == (True, True, True, Signal.SIGUSR1)


def test_images_and_their_policies() -> None:
    found = plan(
        {"image": "nginx"},
        {"name": "b", "image": "nginx:1.27"},
        {"name": "c", "image": "nginx:1.27", "imagePullPolicy": "Never"},
        {"name": "d", "image": "busybox:latest", "imagePullPolicy": "IfNotPresent"},
        {"name": "e", "image": "a" * 64},
        volumes=[{"name": "v", "image": {"reference": "me/data:1", "pullPolicy": "Always"}}],
    )
    assert found.images == (
        ImagePlan(image="nginx", pull="always"),
        ImagePlan(image="nginx:1.27", pull="missing"),
        ImagePlan(image="busybox:latest", pull="missing"),
        ImagePlan(image="a" * 64, pull="missing"),
        ImagePlan(image="me/data:1", pull="always"),
    )


def test_init_containers_and_sidecars() -> None:
    found = plan(
        initContainers=[{**MINIMAL, "name": "first"}, {**MINIMAL, "name": "beside", "restartPolicy": "Always"}]
    )
    assert [(container.name, container.sidecar) for container in found.init_containers] == [
        ("first", False),
        ("beside", True),
    ]
    assert [container.name for container in found.containers] == ["app"]


# ---------------------------------------------------------------------------------------------- variables


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)-$(B)", "1-2"),
        ("$(C)", "$(C)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("$", "$"),
        ("$$", "$"),
        ("$()", "$()"),
        ("$($(A))", "$($(A))"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, result: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == result


def test_variables_in_variables_commands_and_sub_paths() -> None:
    found = plan(
        {
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "value": "$(A)2 $(C)"},
                {"name": "C", "value": "3"},
                {"name": "A", "value": "$(A)+"},
            ],
            "command": ["$(B)"],
            "args": ["$(C)", "$(D)"],
            "volumeMounts": [{"name": "v", "mountPath": "/v", "subPathExpr": "x/$(C)"}],
        },
        volumes=[{"name": "v"}],
    )
    assert list(env(found).items()) == [("B", "12 $(C)"), ("C", "3"), ("A", "1+")]
    assert only(found).config.command == ("12 $(C)",)
    assert only(found).config.args == ("3", "$(D)")
    assert mounts(found)[0].host_path == "/pod/volumes/v/x/3"


def test_fields_of_the_pod() -> None:
    fields = {
        "NAME": "metadata.name",
        "NS": "metadata.namespace",
        "UID_": "metadata.uid",
        "APP": "metadata.labels['app']",
        "NONE": "metadata.annotations['none']",
        "NODE": "spec.nodeName",
        "SA": "spec.serviceAccountName",
        "IP": "status.podIP",
        "IPS": "status.podIPs",
    }
    wanted = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
    wanted.append({"name": "URL", "value": "http://$(IP):80"})
    found = plan_of(pod({"env": wanted, "args": ["$(URL)"]}, metadata={"uid": "u-1", "labels": {"app": "front"}}))
    config = only(found).at(Path("/pod"), ["10.1.2.3", "fd00::1"])
    assert {pair.key: pair.value.decode() for pair in config.envs} == {
        "NAME": "web",
        "NS": "default",
        "UID_": "u-1",
        "APP": "front",
        "NONE": "",
        "NODE": "node-1",
        "SA": "default",
        "IP": "10.1.2.3",
        "IPS": "10.1.2.3,fd00::1",
        "URL": "http://10.1.2.3:80",
    }
    assert config.args == ("http://10.1.2.3:80",)


def test_resources_of_the_container() -> None:
    def ref(resource: str, **more: str) -> dict[str, Any]:
        return {"valueFrom": {"resourceFieldRef": {"resource": resource, **more}}}

    found = plan(
        {
            "resources": {"limits": {"cpu": "1500m", "memory": "100M"}, "requests": {"cpu": "100m"}},
            "env": [
                {"name": "CPU", **ref("limits.cpu")},
                {"name": "MILLI", **ref("requests.cpu", divisor="1m")},
                {"name": "MIB", **ref("limits.memory", divisor="1Mi")},
                {"name": "BYTES", **ref("requests.memory")},
            ],
        }
    )
    assert env(found) == {"CPU": "2", "MILLI": "100", "MIB": "96", "BYTES": "100000000"}


def test_variables_from_config_maps_and_secrets() -> None:
    container = {
        "envFrom": [
            {"configMapRef": {"name": "cfg"}, "prefix": "X_"},
            {"secretRef": {"name": "none", "optional": True}},
        ],
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "a"}}},
            {"name": "RAW", "valueFrom": {"secretKeyRef": {"name": "key", "key": "raw"}}},
            {"name": "NO", "valueFrom": {"secretKeyRef": {"name": "key", "key": "no", "optional": True}}},
        ],
    }
    found = {pair.key: pair.value for pair in only(plan_of(CONFIG, pod(container), SECRET)).config.envs}
    assert found == {"X_a": b"1", "X_b": b"2", "A": b"1", "RAW": b"\xff\n"}
    missing = {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "no"}}}]}
    assert refusal(CONFIG, pod(missing)).endswith("configMapKeyRef.key: ConfigMap 'cfg' has no key 'no'")
    assert "data.raw: is not base64" in refusal({**SECRET, "data": {"raw": "!"}}, pod())


def test_an_object_counts_in_its_namespace_only() -> None:
    elsewhere = {**CONFIG, "metadata": {"name": "cfg", "namespace": "other"}}
    container = {"envFrom": [{"configMapRef": {"name": "cfg"}}]}
    assert "there is no ConfigMap 'cfg' in namespace 'default'" in refusal(elsewhere, pod(container))


# ---------------------------------------------------------------------------------------------- volumes


def test_folders_are_made_for_the_pod() -> None:
    container = {
        "volumeMounts": [
            {"name": "v", "mountPath": "/v"},
            {"name": "v", "mountPath": "/sub", "subPath": "a/b", "readOnly": True},
        ]
    }
    found = plan(container, volumes=[{"name": "v", "emptyDir": {}}])
    assert found.folders == ("volumes/v", "volumes/v/a/b")
    assert mounts(found) == (
        Mount(container_path="/v", host_path="/pod/volumes/v", selinux_relabel=True),
        Mount(container_path="/sub", host_path="/pod/volumes/v/a/b", readonly=True, selinux_relabel=True),
    )


def test_paths_of_the_host_and_how_they_are_mounted() -> None:
    container = {
        "volumeMounts": [
            {"name": "v", "mountPath": "/a", "mountPropagation": "HostToContainer"},
            {"name": "v", "mountPath": "/b", "subPath": "s", "readOnly": True, "recursiveReadOnly": "Enabled"},
            {"name": "v", "mountPath": "/c", "mountPropagation": "Bidirectional"},
        ]
    }
    found = plan(container, volumes=[{"name": "v", "hostPath": {"path": "/data", "type": "Directory"}}])
    assert found.host_paths == (HostPath(path="/data", type="Directory", field="spec.volumes[0].hostPath"),)
    assert mounts(found) == (
        Mount(container_path="/a", host_path="/data", propagation=MountPropagation.HOST_TO_CONTAINER),
        Mount(container_path="/b", host_path="/data/s", readonly=True, recursive_read_only=True),
        Mount(container_path="/c", host_path="/data", propagation=MountPropagation.BIDIRECTIONAL),
    )


def test_images_as_volumes() -> None:
    container = {"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "etc"}]}
    found = plan(container, volumes=[{"name": "v", "image": {"reference": "me/data:1"}}])
    image = ImageSpec(image="me/data:1", user_specified_image="me/data:1")
    assert mounts(found) == (Mount(container_path="/v", image=image, image_sub_path="etc", readonly=True),)


def test_files_from_config_maps_secrets_and_the_pod(tmp_path: Path) -> None:
    downward = [
        {"path": "pod/labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "ip", "fieldRef": {"fieldPath": "status.podIP"}, "mode": 0o400},
        {"path": "cpu", "resourceFieldRef": {"containerName": "app", "resource": "limits.cpu"}},
    ]
    items = [{"key": "raw", "path": "deep/raw", "mode": 0o600}]
    volumes = [
        {"name": "c", "configMap": {"name": "cfg"}},
        {"name": "s", "secret": {"secretName": "key", "defaultMode": 0o440, "items": items}},
        {"name": "d", "downwardAPI": {"items": downward}},
        {
            "name": "p",
            "projected": {
                "defaultMode": 0o444,
                "sources": [
                    {"configMap": {"name": "cfg", "items": [{"key": "a", "path": "one"}]}},
                    {"secret": {"name": "key", "items": [{"key": "word", "path": "two"}]}},
                    {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                ],
            },
        },
    ]
    container = {
        "resources": {"limits": {"cpu": 2}},
        "volumeMounts": [
            {"name": "c", "mountPath": "/c"},
            {"name": "c", "mountPath": "/a", "subPath": "a"},
        ],
    }
    found = plan_of(CONFIG, SECRET, pod(container, volumes=volumes, metadata={"labels": {"b": '"', "a": "1"}}))
    assert found.files == (
        HostFile(path="volumes/c/a", content=b"1"),
        HostFile(path="volumes/c/b", content=b"2"),
        HostFile(path="volumes/s/deep/raw", content=b"\xff\n", mode=0o600),
        HostFile(path="volumes/d/pod/labels", content=b'a="1"\nb="\\""'),
        HostFile(path="volumes/d/ip", content=b"\0podIP\0", mode=0o400),
        HostFile(path="volumes/d/cpu", content=b"2"),
        HostFile(path="volumes/p/one", content=b"1", mode=0o444),
        HostFile(path="volumes/p/two", content=b"sesame", mode=0o444),
        HostFile(path="volumes/p/name", content=b"web", mode=0o444),
    )
    assert [(mount.host_path, mount.readonly) for mount in mounts(found)] == [
        ("/pod/volumes/c", True),
        ("/pod/volumes/c/a", True),
    ]
    prepare(found, tmp_path, ["10.1.2.3"])
    assert (tmp_path / "volumes/d/ip").read_text() == "10.1.2.3"
    assert (tmp_path / "volumes/s/deep/raw").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "volumes/s/deep").stat().st_mode & 0o777 == 0o777


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ({"name": "no"}, "name: no volume 'no'"),
        ({"mountPath": ""}, "mountPath: '' must be a path of its own"),
        ({"subPath": "../x"}, "subPath: '../x' is not a path inside the volume"),
        ({"subPath": "/x"}, "subPath: '/x' is not a path inside the volume"),
        ({"subPath": "x"}, "subPath: the volume has no file 'x'"),
        ({"subPath": "x", "subPathExpr": "y"}, ": subPath and subPathExpr exclude each other"),
        ({"recursiveReadOnly": "Enabled"}, "recursiveReadOnly: needs readOnly: true"),
        (
            {"recursiveReadOnly": "Enabled", "readOnly": True, "mountPropagation": "Bidirectional"},
            "recursiveReadOnly: needs mountPropagation None",
        ),
    ],
)
def test_mounts_that_cannot_be(mount: dict[str, Any], words: str) -> None:
    container = {"volumeMounts": [{"name": "v", "mountPath": "/v", **mount}]}
    volumes = [{"name": "v", "configMap": {"name": "cfg"}}]
    assert f"spec.containers[0].volumeMounts[0].{words}".replace(".:", ":") in refusal(
        CONFIG, pod(container, volumes=volumes)
    )


# ---------------------------------------------------------------------------------------------- resources, security


def test_limits_become_cgroup_values() -> None:
    limits = {"cpu": "250m", "memory": "1Gi", "hugepages-2Mi": "4Mi", "hugepages-1Gi": "1Gi", "example.com/gpu": 1}
    found = plan({"resources": {"limits": limits, "requests": {"cpu": "100m", "memory": "512Mi"}}})
    assert resources(found) == LinuxContainerResources(
        cpu_period=100_000,
        cpu_quota=25_000,
        cpu_shares=102,
        memory_limit_in_bytes=GIB,
        oom_score_adj=1000 - 1000 * 512 // (16 * 1024),
        hugepage_limits=(HugepageLimit(page_size="2MB", limit=4 << 20), HugepageLimit(page_size="1GB", limit=GIB)),
    )
    assert found.notes == ("spec.containers[0].resources.limits.example.com/gpu is not acted on",)


@pytest.mark.parametrize(
    ("given", "score", "shares", "quota"),
    [
        ({}, 1000, 2, 0),
        ({"limits": {"cpu": 1, "memory": "1Gi"}}, -997, 1024, 100_000),
        ({"requests": {"cpu": "1m"}}, 999, 2, 0),
        ({"requests": {"memory": "16Gi"}}, 3, 2, 0),
        ({"limits": {"cpu": "1m"}}, 999, 2, 1000),
        ({"requests": {"cpu": 1000}}, 999, 262_144, 0),
        ({"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"memory": "512Mi"}}, 969, 1024, 100_000),
    ],
)
def test_quality_of_service(given: dict[str, Any], score: int, shares: int, quota: int) -> None:
    found = resources(plan({"resources": given}))
    assert (found.oom_score_adj, found.cpu_shares, found.cpu_quota) == (score, shares, quota)


def test_security_is_the_pod_s_where_the_container_says_nothing() -> None:
    given = {
        "runAsUser": 1000,
        "runAsGroup": 2000,
        "runAsNonRoot": True,
        "supplementalGroups": [5],
        "supplementalGroupsPolicy": "Strict",
        "fsGroup": 3000,
        "seccompProfile": {"type": "RuntimeDefault"},
        "appArmorProfile": {"type": "Localhost", "localhostProfile": "mine"},
        "seLinuxOptions": {"level": "s0:c1"},
    }
    found = plan(securityContext=given)
    assert only(found).run_as_non_root
    context = security(found)
    assert (context.run_as_user, context.run_as_group, context.supplemental_groups) == (1000, 2000, (5, 3000))
    assert context.supplemental_groups_policy is SupplementalGroupsPolicy.STRICT
    assert context.seccomp == SecurityProfile()
    assert context.apparmor == SecurityProfile(profile_type=ProfileType.LOCALHOST, localhost_ref="mine")
    assert context.selinux_options == SELinuxOption(level="s0:c1")
    sandbox = sandbox_security(found)
    assert (sandbox.run_as_user, sandbox.run_as_group, sandbox.supplemental_groups) == (1000, 2000, (5, 3000))
    assert not sandbox.privileged


def test_a_container_s_own_security_goes_first() -> None:
    own = {
        "runAsUser": 7,
        "runAsNonRoot": False,
        "privileged": False,
        "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"},
        "procMount": "Unmasked",
    }
    found = plan({"securityContext": own}, securityContext={"runAsUser": 1, "runAsNonRoot": True})
    context = security(found)
    assert not only(found).run_as_non_root
    assert context.run_as_user == 7
    assert context.capabilities == Capability(add_capabilities=("NET_ADMIN",), drop_capabilities=("ALL",))
    assert context.readonly_rootfs
    assert context.no_new_privs
    assert (context.masked_paths, context.readonly_paths) == ((), ())
    assert context.seccomp == SecurityProfile(
        profile_type=ProfileType.LOCALHOST, localhost_ref="/var/lib/kubelet/seccomp/a.json"
    )


def test_by_default_nothing_is_confined_but_proc() -> None:
    context = security(plan())
    assert context.seccomp == SecurityProfile(profile_type=ProfileType.UNCONFINED)
    assert "/proc/kcore" in context.masked_paths
    assert "/proc/sys" in context.readonly_paths
    assert not context.no_new_privs


def test_one_privileged_container_makes_a_privileged_sandbox() -> None:
    found = plan({}, {"name": "b", "securityContext": {"privileged": True}})
    assert sandbox_security(found).privileged


# ---------------------------------------------------------------------------------------------- few words


def test_a_plan_from_few_words() -> None:
    found = simple_plan("quay.io/me/My_Tool:1".lower(), command=["echo", "$(HOME)"], env={"A": "$$"})
    assert found.name.startswith("my-tool-")
    assert only(found).config.command == ("echo", "$(HOME)")
    assert env(found) == {"A": "$$"}
    assert found.images == (ImagePlan(image="quay.io/me/my_tool:1", pull="missing"),)
    assert (found.grace, found.restart_policy) == (5, "Never")
