"""Docker Engine, by aiodocker."""

from orchestrator.adapters.docker.containers import DockerContainers

__all__ = ["DockerContainers"]
