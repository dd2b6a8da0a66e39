"""Docker Engine as a container engine."""

from criadapt.backends.docker.engine import DockerBackend
from criadapt.backends.docker.options import DockerOptions

__all__ = ["DockerBackend", "DockerOptions"]
