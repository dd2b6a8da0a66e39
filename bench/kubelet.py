"""Requests as kubelet sends them: the labels, annotations and security settings of an ordinary pod."""

from __future__ import annotations

from criadapt.cri.v1 import api_pb2 as pb

IMAGE = "bench.example/pause:3.10"  # its process ends at once when it is told to

RUNTIME = "/runtime.v1.RuntimeService/"
IMAGES = "/runtime.v1.ImageService/"


def pull() -> bytes:
    """PullImageRequest for the containers' image."""
    return pb.PullImageRequest(image=pb.ImageSpec(image=IMAGE)).SerializeToString()


def run_pod(number: int) -> bytes:
    """RunPodSandboxRequest of pod `number`."""
    name, uid = f"web-{number:06d}", f"5f3759df-0000-4000-8000-{number:012d}"
    return pb.RunPodSandboxRequest(
        config=pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(name=name, namespace="default", uid=uid),
            hostname=name,
            dns_config=pb.DNSConfig(
                servers=["10.96.0.10"],
                searches=["default.svc.cluster.local", "svc.cluster.local", "cluster.local"],
                options=["ndots:5"],
            ),
            labels={
                "app": "web",
                "pod-template-hash": "6d4b75cb6d",
                "io.kubernetes.pod.name": name,
                "io.kubernetes.pod.namespace": "default",
                "io.kubernetes.pod.uid": uid,
            },
            annotations={
                "kubernetes.io/config.seen": "2026-11-23T12:01:07.412000000Z",
                "kubernetes.io/config.source": "api",
            },
            linux=pb.LinuxPodSandboxConfig(
                cgroup_parent=f"/kubepods/burstable/pod{uid}",
                security_context=pb.LinuxSandboxSecurityContext(
                    namespace_options=pb.NamespaceOption(pid=pb.CONTAINER),
                    seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault),
                ),
            ),
        )
    ).SerializeToString()


def create_container(sandbox_id: str, pod: int, name: str) -> bytes:
    """CreateContainerRequest of a container of pod number `pod`."""
    pod_name, uid = f"web-{pod:06d}", f"5f3759df-0000-4000-8000-{pod:012d}"
    return pb.CreateContainerRequest(
        pod_sandbox_id=sandbox_id,
        config=pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name=name),
            image=pb.ImageSpec(image=IMAGE, user_specified_image=IMAGE),
            envs=[
                pb.KeyValue(key="KUBERNETES_SERVICE_HOST", value=b"10.96.0.1"),
                pb.KeyValue(key="KUBERNETES_SERVICE_PORT", value=b"443"),
                pb.KeyValue(key="POD_NAME", value=pod_name.encode()),
            ],
            labels={
                "io.kubernetes.container.name": name,
                "io.kubernetes.pod.name": pod_name,
                "io.kubernetes.pod.namespace": "default",
                "io.kubernetes.pod.uid": uid,
            },
            annotations={
                "io.kubernetes.container.hash": f"{pod:08x}",
                "io.kubernetes.container.restartCount": "0",
                "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
                "io.kubernetes.container.terminationMessagePolicy": "File",
                "io.kubernetes.pod.terminationGracePeriod": "30",
            },
            linux=pb.LinuxContainerConfig(
                resources=pb.LinuxContainerResources(
                    cpu_period=100_000, cpu_quota=50_000, cpu_shares=256, memory_limit_in_bytes=128 << 20
                ),
                security_context=pb.LinuxContainerSecurityContext(
                    namespace_options=pb.NamespaceOption(pid=pb.CONTAINER),
                    masked_paths=["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
                    readonly_paths=["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
                    seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault),
                ),
            ),
        ),
    ).SerializeToString()
