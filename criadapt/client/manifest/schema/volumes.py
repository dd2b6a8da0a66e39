"""Volumes and their mounts."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from criadapt.client.manifest.schema.parts import FieldSelector, Number, Part, ResourceSelector, Unused


class KeyToPath(Part, frozen=True):
    """A key that becomes a file."""

    key: str
    path: str
    mode: int | None = None


class DownwardFile(Part, frozen=True):
    """A file with a field of the pod."""

    path: str
    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceSelector | None = None
    mode: int | None = None


class ConfigMapSource(Part, frozen=True):
    """Files from a ConfigMap."""

    name: str = ""
    items: tuple[KeyToPath, ...] | None = None
    default_mode: int | None = None
    optional: bool = False


class SecretSource(Part, frozen=True):
    """Files from a Secret; as a projection it is called `name`, as a volume `secretName`."""

    name: str = ""
    secret_name: str = ""
    items: tuple[KeyToPath, ...] | None = None
    default_mode: int | None = None
    optional: bool = False


class DownwardSource(Part, frozen=True):
    """Files from the pod itself."""

    items: tuple[DownwardFile, ...] = ()
    default_mode: int | None = None


class Projection(Part, frozen=True):
    """One of several sources of a volume."""

    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    downward_api: DownwardSource | None = field(default=None, name="downwardAPI")
    service_account_token: Unused = None
    cluster_trust_bundle: Unused = None
    pod_certificate: Unused = None


class ProjectedSource(Part, frozen=True):
    """Several sources in one volume."""

    sources: tuple[Projection, ...] = ()
    default_mode: int | None = None


class EmptyDirSource(Part, frozen=True):
    """An empty folder that goes with the pod."""

    medium: str = ""
    size_limit: Number = 0


class HostPathSource(Part, frozen=True):
    """A file or folder of the host."""

    path: str
    type: Literal[
        "", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"
    ] = ""


class ImageSource(Part, frozen=True):
    """The content of an image."""

    reference: str = ""
    pull_policy: Literal["Always", "Never", "IfNotPresent", ""] = ""


class Volume(Part, frozen=True):
    """A volume; exactly one source is set, or none for an empty folder."""

    name: str
    empty_dir: EmptyDirSource | None = None
    host_path: HostPathSource | None = None
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    downward_api: DownwardSource | None = field(default=None, name="downwardAPI")
    projected: ProjectedSource | None = None
    image: ImageSource | None = None
    aws_elastic_block_store: Unused = None
    azure_disk: Unused = None
    azure_file: Unused = None
    cephfs: Unused = None
    cinder: Unused = None
    csi: Unused = None
    ephemeral: Unused = None
    fc: Unused = None
    flex_volume: Unused = None
    flocker: Unused = None
    gce_persistent_disk: Unused = None
    git_repo: Unused = None
    glusterfs: Unused = None
    iscsi: Unused = None
    nfs: Unused = None
    persistent_volume_claim: Unused = None
    photon_persistent_disk: Unused = None
    portworx_volume: Unused = None
    quobyte: Unused = None
    rbd: Unused = None
    scale_io: Unused = field(default=None, name="scaleIO")
    storageos: Unused = None
    vsphere_volume: Unused = None


class VolumeMount(Part, frozen=True):
    """A volume at a place in the container."""

    name: str
    mount_path: str
    read_only: bool = False
    recursive_read_only: Literal["Disabled", "IfPossible", "Enabled", ""] = ""
    sub_path: str = ""
    sub_path_expr: str = ""
    mount_propagation: Literal["None", "HostToContainer", "Bidirectional", ""] = ""
