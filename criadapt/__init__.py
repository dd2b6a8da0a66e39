"""Kubernetes Container Runtime Interface for Python: serve any engine as CRI, talk to any CRI runtime."""

__version__ = "0.1.0"
