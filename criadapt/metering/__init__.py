"""What containers use, read from the kernel's own files: cgroups (v1 and v2), /proc, and the disk.

Backends whose containers are processes of this machine fill :class:`~criadapt.model.usage.Usage` from here and never
ask their engine for figures. :mod:`~criadapt.metering.meter` puts it together; parsers are apart from file access.
"""
