"""Where the service listens and what it accepts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from orchestrator.settings.section import Duration, Section, Size, setting
from orchestrator.settings.url import LOOPBACK_NAMES

Port = Annotated[int, Field(ge=1, le=65535)]


class Listener(Section):
    """One more port, with a dialect for the paths that two contracts claim."""

    port: Port = setting(description="Port to listen on.")
    host: str | None = setting(None, "Address to bind; none means the one of server.host.", min_length=1)
    dialect: Literal["fleet", "hive", "registry"] = setting("fleet", "Whose form of a disputed path to answer with.")


class Server(Section):
    """Sockets and limits of the HTTP server."""

    host: str = setting("127.0.0.1", "Address to bind. Any but a loopback one needs auth.enabled.", min_length=1)
    port: int = setting(9000, "Port of the main listener; 0 picks a free one.", ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = setting(
        (),
        "Names accepted in the Host header besides the loopback names and server.host; '*' accepts every name.",
    )
    max_body: Size = setting(64 * 1024**2, "Largest request body, in bytes.", ge=1024)
    max_header: Size = setting(64 * 1024, "Largest request head, in bytes.", ge=1024)
    keep_alive: Duration = setting(65.0, "How long an idle client connection stays open, in seconds.", ge=0)
    header_timeout: Duration = setting(10.0, "How long a client may take to send a request head, in seconds.", gt=0)
    grace: Duration = setting(30.0, "How long open requests may go on after SIGTERM, in seconds.", ge=0)
    data_plane: Literal["protocol", "asgi"] = setting(
        "protocol", "Where inference is served: below ASGI (faster), or as an ASGI application (any server)."
    )
    cors_origins: tuple[str, ...] = setting((), "Web origins that may call the API from a browser; '*' means all.")
    listeners: tuple[Listener, ...] = setting((), "More ports, for clients of a predecessor.")

    @property
    def host_names(self) -> frozenset[str] | None:
        """Names accepted in a Host header, without ports, in lower case; None: every name."""
        if "*" in self.allowed_hosts:
            return None
        return LOOPBACK_NAMES | {name.strip("[]").lower() for name in (self.host, *self.allowed_hosts)}


class Security(Section):
    """Limits on the administration surface, per key or, without one, per address."""

    rate_limit_window: Duration = setting(300.0, "Length of the counting window, in seconds.", live=True, gt=0)
    rate_limit_max: int | None = setting(
        631, "Administration calls allowed in a window; none for no limit.", live=True, ge=1
    )
    admin_rate_limit_max: int | None = setting(
        50, "Administration calls that change something, allowed in a window; none for no limit.", live=True, ge=1
    )
