"""Where webhooks may go: a client names a URL, and this service connects to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Network, ip_address

from orchestrator.domain.worker_hosts import Address, WorkerHosts

# Where clouds keep credentials beside the link-local 169.254.169.254: AWS by IPv6, Alibaba, Azure, Oracle.
METADATA = frozenset(
    ip_address(text) for text in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class WebhookHosts:
    """`listed` is the operator's list; where it is empty, everything but link-local, multicast and unspecified
    addresses, those of clouds' metadata and, unless `loopback`, this machine's own."""

    listed: WorkerHosts = field(default_factory=WorkerHosts)
    loopback: bool = False

    @classmethod
    def of(cls, entries: Iterable[str], *, loopback: bool) -> WebhookHosts:
        """Raises ValueError for an entry that is no name, address or network."""
        return cls(WorkerHosts.of(entries), loopback)

    def permits(self, host: str, address: Address) -> bool:
        """Whether a connection may go to this address of this host."""
        inner = inner_address(address)
        if not self.listed.permits(host, inner):
            return False
        if self.listed.names or self.listed.networks:
            return True
        return inner not in METADATA and (self.loopback or not inner.is_loopback)


def inner_address(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
