"""Where tasks may be pushed to: a worker names a host, and this service connects to it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}(?<!-))?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}(?<!-))?)*\Z"
)
_NUMBER = re.compile(r"(0[xX][0-9A-Fa-f]*|[0-9]+)\Z")  # as the last part: an address in an unusual form


def read_address(host: str) -> Address | None:
    """The address that a host is written as, None for a name."""
    try:
        found = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def is_host(host: str) -> bool:
    """Whether it is an address or a name, and not an address in disguise."""
    if read_address(host) is not None:
        return True
    return bool(_NAME.match(host)) and not _NUMBER.match(host.rpartition(".")[2])


@dataclass(frozen=True, slots=True)
class WorkerHosts:
    """The operator's rule. Without a list: any host but link-local addresses (where clouds keep their metadata),
    multicast and unspecified ones. With a list: what it names, and nothing else."""

    names: frozenset[str] = frozenset()  # lower case; `*.example.com` is any name below
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> WorkerHosts:
        """Raises ValueError for an entry that is no name, address or network."""
        names: set[str] = set()
        networks: list[IPv4Network | IPv6Network] = []
        for entry in entries:
            try:
                networks.append(ip_network(entry, strict=False))
            except ValueError:
                if not is_host(entry.removeprefix("*.")):
                    raise ValueError(f"{entry!r} is no name, address or network") from None
                names.add(entry.lower())
        return cls(frozenset(names), tuple(networks))

    def allows(self, host: str) -> bool:
        """Whether a worker may register this host. The addresses of a name are looked at when it is connected to."""
        address = read_address(host)
        if address is not None:
            return self.permits(host, address)
        return not (self.names or self.networks) or self.named(host)

    def permits(self, host: str, address: Address) -> bool:
        """Whether a connection may go to this address of this host."""
        if self.named(host) or any(address in network for network in self.networks):
            return True
        return not (self.names or self.networks) and not _never(address)

    def named(self, host: str) -> bool:
        """Whether the list has this name, or one above it with `*`."""
        name = host.lower().rstrip(".")
        if name in self.names:
            return True
        parts = name.split(".")
        return any(f"*.{'.'.join(parts[start:])}" in self.names for start in range(1, len(parts)))


def _never(address: Address) -> bool:
    broadcast = isinstance(address, IPv4Address) and address.is_reserved
    return address.is_link_local or address.is_multicast or address.is_unspecified or broadcast
