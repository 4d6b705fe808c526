"""Where tasks of the type `http` may connect to: the caller of the API names the URL, this service connects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from orchestrator.domain.webhook_hosts import METADATA, inner_address
from orchestrator.domain.worker_hosts import Address, WorkerHosts

NOWHERE = WorkerHosts()
WIDEST = 7  # bits: a wider network means public addresses only (fc00::/7 is the widest private one)


@dataclass(frozen=True, slots=True)
class HttpHosts:
    """The operator's rule. Without entries nothing is allowed. A named host may be at public addresses; an address that
    is not public (loopback, private, link-local, ...) is allowed only where a network names it."""

    entries: WorkerHosts = NOWHERE

    @classmethod
    def of(cls, entries: Iterable[str]) -> HttpHosts:
        """Raises ValueError for an entry that is no name, address or network."""
        return cls(WorkerHosts.of(entries))

    def __bool__(self) -> bool:
        return bool(self.entries.names or self.entries.networks)

    def permits(self, host: str, address: Address) -> bool:
        """Whether a connection may go to this address of this host."""
        address = inner_address(address)
        networks = [network for network in self.entries.networks if address in network]
        if address in METADATA:
            return any(network.num_addresses == 1 for network in networks)
        public = address.is_global and not address.is_multicast
        if public:
            return bool(networks) or self.entries.named(host)
        return any(_means(network, address) for network in networks)


def _means(network: IPv4Network | IPv6Network, address: Address) -> bool:
    """Whether the operator had an address in mind that is not public."""
    return network.prefixlen >= WIDEST and (network.is_link_local or not address.is_link_local)
