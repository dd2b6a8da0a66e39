"""CRI's nouns as frozen dataclasses: no protobuf, no I/O.

Classes and fields carry the names of the CRI v1 messages they mirror, which is what lets
:mod:`criadapt.cri.codec` derive the translation instead of spelling it out. Three conventions differ from the wire:

* a wrapper message (``Int64Value``, ``ContainerStateValue``, …) is a plain value or ``None``;
* a repeated field is a tuple, an unset message field is ``None``;
* Windows-only fields are left out.

Times are nanoseconds since the Unix epoch, sizes are bytes, unless a field says otherwise.
"""
