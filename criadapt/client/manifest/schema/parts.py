"""What manifests of all kinds have in common, and where texts in them come from."""

from __future__ import annotations

import msgspec
from msgspec import field

Unused = object
Number = int | float | str
"""A quantity as YAML may spell it."""


class Part(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Base of all: fields are in camelCase, unknown ones are refused."""


class ObjectMeta(Part, frozen=True):
    """Name and labels of an object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generate_name: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    creation_timestamp: Unused = None
    deletion_grace_period_seconds: Unused = None
    deletion_timestamp: Unused = None
    finalizers: Unused = None
    generation: Unused = None
    managed_fields: Unused = None
    owner_references: Unused = None
    resource_version: Unused = None
    self_link: Unused = None


class KeySelector(Part, frozen=True):
    """One value of a ConfigMap or a Secret."""

    key: str
    name: str = ""
    optional: bool = False


class FieldSelector(Part, frozen=True):
    """A field of the pod, ``metadata.name``."""

    field_path: str
    api_version: str = "v1"


class ResourceSelector(Part, frozen=True):
    """A limit or request of a container, ``limits.cpu``, in units of `divisor`."""

    resource: str
    container_name: str = ""
    divisor: Number = "0"


class EnvSource(Part, frozen=True):
    """Where the value of a variable comes from; exactly one is set."""

    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None
    file_key_ref: Unused = None


class EnvVar(Part, frozen=True):
    """A variable."""

    name: str
    value: str = ""
    value_from: EnvSource | None = None


class ObjectName(Part, frozen=True):
    """Another object by its name."""

    name: str = ""
    optional: bool = False


class EnvFrom(Part, frozen=True):
    """Variables for all keys of an object."""

    prefix: str = ""
    config_map_ref: ObjectName | None = None
    secret_ref: ObjectName | None = None
