"""Names and labels that criadapt gives to an engine's containers.

Names exist to make creation idempotent and to be read by people; facts are never parsed back out of them. The
labels are for people, for telling our containers from others, and for adoption after a lost journal.
"""

from __future__ import annotations

import hashlib
import re

from criadapt.model.container import ContainerMetadata
from criadapt.model.sandbox import PodSandboxMetadata

KIND = "criadapt.io/kind"
SANDBOX = "criadapt.io/sandbox"
POD = "criadapt.io/pod"
CONTAINER = "criadapt.io/container"

KIND_SANDBOX = "sandbox"
KIND_CONTAINER = "container"

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_READABLE = 80  # characters; engines bind names to 128 or 255


def sandbox_key(metadata: PodSandboxMetadata) -> tuple[str, ...]:
    """What makes a sandbox unique."""
    return (metadata.namespace, metadata.name, metadata.uid, str(metadata.attempt))


def container_key(sandbox_id: str, metadata: ContainerMetadata) -> tuple[str, ...]:
    """What makes a container unique."""
    return (sandbox_id, metadata.name, str(metadata.attempt))


def infra_name(pod: PodSandboxMetadata) -> str:
    """Engine name of a sandbox's infra container."""
    return _engine_name("POD", *sandbox_key(pod))


def container_name(sandbox_id: str, pod: PodSandboxMetadata, metadata: ContainerMetadata) -> str:
    """Engine name of a pod's container."""
    return _engine_name(metadata.name, *sandbox_key(pod), *container_key(sandbox_id, metadata))


def _engine_name(*parts: str) -> str:
    """A readable name that every engine accepts, unique per `parts`: ``k8s_app_default_web_3f2a…``."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    readable = "_".join(_UNSAFE.sub("-", part)[:40] for part in parts if part)[:_READABLE]
    return f"k8s_{readable}_{digest}"


def sandbox_labels(metadata: PodSandboxMetadata) -> dict[str, str]:
    """Labels of an infra container."""
    return {KIND: KIND_SANDBOX, POD: _pod(metadata)}


def container_labels(sandbox_id: str, pod: PodSandboxMetadata, metadata: ContainerMetadata) -> dict[str, str]:
    """Labels of a pod's container."""
    return {
        KIND: KIND_CONTAINER,
        SANDBOX: sandbox_id,
        POD: _pod(pod),
        CONTAINER: f"{metadata.attempt}/{metadata.name}",
    }


def adopted_pod(label: str) -> PodSandboxMetadata:
    """Metadata back from the pod label, for a sandbox whose journal was lost."""
    namespace, _, rest = label.partition("/")
    uid, _, rest = rest.partition("/")
    attempt, _, name = rest.partition("/")
    return PodSandboxMetadata(name=name or "unknown", uid=uid, namespace=namespace, attempt=_attempt(attempt))


def adopted_container(label: str) -> ContainerMetadata:
    """Metadata back from the container label."""
    attempt, _, name = label.partition("/")
    return ContainerMetadata(name=name or "unknown", attempt=_attempt(attempt))


def _attempt(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0


def _pod(metadata: PodSandboxMetadata) -> str:
    return f"{metadata.namespace}/{metadata.uid}/{metadata.attempt}/{metadata.name}"
