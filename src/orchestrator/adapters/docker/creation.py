"""What a container is created with: the body of `POST /containers/create` (Engine API 1.41 and later)."""

from __future__ import annotations

from typing import Any

from orchestrator.ports.containers import ContainerOrder

LABEL = "orchestrator.installation"
ENDS = "orchestrator.ends"
NOBODY = "65534:65534"
_SCRATCH = 64 << 20  # bytes of /tmp, and of shared memory
_FILES = 1024  # open at a time


def body_of(order: ContainerOrder, installation: str) -> dict[str, Any]:
    return {
        "Image": order.image,
        "Cmd": list(order.command),
        "Env": [f"{name}={value}" for name, value in order.environment.items()],
        "WorkingDir": order.workdir,
        "User": NOBODY,
        "Labels": {LABEL: installation, ENDS: str(int(order.ends_at))},
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "NetworkDisabled": not order.network,
        "HostConfig": _host(order),
    }


def _host(order: ContainerOrder) -> dict[str, Any]:
    return {
        "NetworkMode": "bridge" if order.network else "none",
        "Memory": order.memory,
        "MemorySwap": order.memory,  # the sum of both: no swap
        "NanoCpus": int(order.cpus * 1_000_000_000),
        "PidsLimit": order.pids,
        "ReadonlyRootfs": order.read_only,
        "Tmpfs": {"/tmp": f"rw,noexec,nosuid,nodev,size={_SCRATCH}"},  # noqa: S108 - the container's own
        "ShmSize": _SCRATCH,
        "CapDrop": ["ALL"],
        "CapAdd": [],
        "SecurityOpt": ["no-new-privileges:true"],
        "Privileged": False,
        "Binds": [],
        "Mounts": [],
        "Devices": [],
        "IpcMode": "private",
        "PidMode": "",
        "Init": True,
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "none", "Config": {}},  # nothing that it writes is kept on the host's disk
        "Ulimits": [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "nofile", "Soft": _FILES, "Hard": _FILES},
        ],
    }
