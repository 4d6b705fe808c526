"""Bytes that work leaves behind."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from orchestrator.settings.section import Duration, Section, Size, setting

SCHEMES = ("s3", "gs", "az", "azure", "abfs", "abfss", "file", "memory")
_DAY = 86_400.0


class Artifacts(Section):
    """Where artifacts' bytes are, how many, and for how long."""

    path: Path | None = setting(
        None,
        "Folder for the bytes, and for uploads under way; replicas need one that they share. None: artifacts in "
        "data_dir.",
    )
    url: str | None = setting(
        None,
        "Object store for the bytes: s3://bucket/prefix, gs:// or az://, with the provider's own variables for "
        "credentials (needs the extra artifacts-cloud). None: the folder.",
    )
    max_size: Size = setting(16 * 1024**3, "Largest artifact, in bytes.", ge=1, live=True)
    max_result: Size = setting(
        64 * 1024**2,
        "Largest result of a task, in bytes; above 1 MiB it becomes an artifact. What comes by HTTP is held to "
        "server.max_body as well.",
        ge=1,
        live=True,
    )
    quota: Size | None = setting(None, "Bytes of all artifacts together; none for no limit.", ge=0, live=True)
    principal_quota: Size | None = setting(None, "Bytes of one key's artifacts; none for no limit.", ge=0, live=True)
    keep: Duration | None = setting(
        None,
        "How long uploaded artifacts are kept that name no end of their own, in seconds; none: until they are deleted. "
        "Results of tasks are kept for tasks.keep_finished.",
        gt=0,
        live=True,
    )
    upload_patience: Duration = setting(
        _DAY, "An upload in several requests is forgotten after so long without bytes, in seconds.", gt=0, live=True
    )
    sweep_interval: Duration = setting(
        300.0, "Time between two clean-ups, in seconds; the first is at the start.", ge=1, live=True
    )
    verify_after: Duration = setting(
        7 * _DAY,
        "Bytes that were not compared with their digest for so long are read again, in seconds.",
        gt=0,
        live=True,
    )
    verify_rate: Size = setting(
        8 * 1024**2, "Bytes a second that clean-ups read for that, on average; 0: one artifact each.", ge=0, live=True
    )

    @field_validator("url")
    @classmethod
    def _scheme(cls, value: str | None) -> str | None:
        if value is not None and value.partition("://")[0] not in SCHEMES:
            raise ValueError("must start with s3://, gs:// or az://")
        return value
