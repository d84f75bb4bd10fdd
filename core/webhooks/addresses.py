"""Where a webhook may go. The address is a person's wish that this server carries out from
inside its own network, so it must not open doors there (server-side request forgery): the
name is resolved when something is sent, each address checked, and the connection made to
the address that was checked, not to the name again.
"""

import asyncio
import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

from core.errors import Invalid

MAX_URL = 2_000
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds keep the credentials of the machine itself, outside the link-local ranges.
_METADATA = {ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Refused(Exception):
    """Nothing is sent there, and why."""


def checked_url(url: str) -> str:
    """The address as it is kept. Raises Invalid, saying what is wrong."""
    url = url.strip()
    if not url or len(url) > MAX_URL or any(ord(sign) <= 32 or ord(sign) == 127 for sign in url):
        raise Invalid(f"url: an address of at most {MAX_URL:,} characters, without spaces.")
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        raise Invalid("url: this is no address.", "For instance https://example.org/hooks.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise Invalid("url: it begins with https:// or http://, and names a host.")
    if parts.username or parts.password:
        raise Invalid("url: no user name or password in it.", "Deliveries are signed.")
    if parts.fragment:
        raise Invalid("url: without #…; it is never sent.")
    return url


def why_not(address: Address, private: bool) -> str | None:
    """Why nothing may be sent to an address; None when it may. `private`: addresses of the
    own network and of this machine are allowed."""
    inner = _inner(address)
    if inner is not None:
        return why_not(inner, private)
    if address.is_link_local or address in _METADATA:
        return f"{address} is a link-local or metadata address, which is never allowed"
    if address.is_multicast or address.is_unspecified:
        return f"{address} is not the address of one machine"
    if not address.is_global and not private:
        return (
            f"{address} is an address of this machine or of a private network; "
            "PREFLOOP_WEBHOOK_PRIVATE=true allows those"
        )
    return None


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


async def resolved(parts: SplitResult, private: bool) -> str:
    """The address to connect to: the first of the host's that may be used. Raises Refused."""
    host = str(parts.hostname)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        raise OSError(f"the name {host} could not be resolved") from problem
    why = f"{host} has no address"
    for *_, place in found:
        # Without the zone of a scoped address, which names an interface of this machine.
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        reason = why_not(address, private)
        if reason is None:
            return str(address)
        why = reason
    raise Refused(why)
