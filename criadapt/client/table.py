"""The 43 RPCs as a client sees them: where each goes, how long it may take, whether it may be asked again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from criadapt.cri.v1 import api_pb2 as pb

HOUR = 3600.0

LONG: Mapping[str, float] = {
    # kubelet gives changes two minutes and RunPodSandbox twice that, for an image of the sandbox may have to come.
    "RunPodSandbox": 240.0,
    "StopPodSandbox": 120.0,
    "RemovePodSandbox": 120.0,
    "UpdatePodSandboxResources": 120.0,
    "CreateContainer": 240.0,
    "StartContainer": 120.0,
    "StopContainer": 120.0,
    "RemoveContainer": 120.0,
    "UpdateContainerResources": 120.0,
    "RemoveImage": 120.0,
    # Figures are gathered while the caller waits, container by container on some runtimes.
    "ListContainerStats": 60.0,
    "StreamContainerStats": 60.0,
    "ListPodSandboxStats": 60.0,
    "StreamPodSandboxStats": 60.0,
    "ListPodSandboxMetrics": 60.0,
    "StreamPodSandboxMetrics": 60.0,
    # As long as the network, the disk or the command takes.
    "PullImage": HOUR,
    "CheckpointContainer": HOUR,
    "CheckpointPod": HOUR,
    "RestorePod": HOUR,
    "ExecSync": HOUR,
}
"""Seconds that an RPC may take where that is more than the client's own time-out."""

READS = re.compile(r"(List|Stream)\w+|Version|\w*Status|\w+Stats|RuntimeConfig|ImageFsInfo")
"""RPCs that change nothing: asking twice is as good as asking once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpc:
    """One RPC. `seconds` is its own default deadline, 0 where the client's is enough."""

    name: str
    path: str
    service: str
    answer: type[Message]
    streams: bool
    read: bool
    seconds: float


RPCS: Mapping[type[Message], Rpc] = {
    getattr(pb, method.input_type.name): Rpc(
        name=method.name,
        path=f"/{service.full_name}/{method.name}",
        service=service.name,
        answer=getattr(pb, method.output_type.name),
        streams=method.server_streaming,
        read=READS.fullmatch(method.name) is not None,
        seconds=LONG.get(method.name, 0.0),
    )
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
"""Every RPC by the class of its request: no two have the same."""
