"""Which addresses of the internet a source may be at. Everything else is ours, somebody's own, or no place at all.

- IPv4: all but the special-purpose blocks of the IANA registry (RFC 6890 and its updates), multicast and class E.
- IPv6: global unicast (2000::/3) but for its special blocks; what carries an IPv4 address inside is judged by it
  (NAT64, RFC 6052) or refused (mapped, compatible, 6to4, Teredo).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

REFUSED_4 = tuple(
    (IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier's own"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarks"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
REFUSED_6 = tuple(
    (IPv6Network(network), why)
    for network, why in (
        ("2001::/23", "protocol assignments, Teredo among them"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
    )
)
GLOBAL_6 = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")
LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


def refused(text: str) -> str:
    """Why a source may not be at this address; empty where it may."""
    try:
        address = ip_address(text)
    except ValueError:
        return "not an address"
    return _refused_4(address) if isinstance(address, IPv4Address) else _refused_6(address)


def is_loopback(text: str) -> bool:
    """Is it this machine, said plainly?"""
    address = ip_address(text)
    return any(address in network for network in LOOPBACK)


def _refused_4(address: IPv4Address) -> str:
    return next((why for network, why in REFUSED_4 if address in network), "")


def _refused_6(address: IPv6Address) -> str:
    if address in NAT64:
        return _refused_4(IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in GLOBAL_6 or address.scope_id:
        return "not global unicast"
    return next((why for network, why in REFUSED_6 if address in network), "")
