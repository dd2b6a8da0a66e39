"""A Kubernetes manifest as a plan of CRI calls: what kubelet would ask of a runtime, without a cluster.

    for plan in read_manifest("web.yaml"):
        print(plan.name, plan.notes)

Reading is pure: no folder is made and no runtime asked. :meth:`~criadapt.client.AsyncClient.run_pod` plays a plan.
"""

from criadapt.client.manifest.plan import ContainerPlan, HostFile, HostPath, ImagePlan, Node, PodPlan
from criadapt.client.manifest.source import Source, read_manifest

__all__ = ["ContainerPlan", "HostFile", "HostPath", "ImagePlan", "Node", "PodPlan", "Source", "read_manifest"]
