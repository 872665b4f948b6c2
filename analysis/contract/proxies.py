"""Addresses that are never reached through a proxy, whatever http_proxy says: this machine, the nodes of a cluster,
and the metadata service of a cloud.

A proxy cannot reach them, and would see in clear what is sent to them, tokens among it.
"""

from __future__ import annotations

from collections.abc import MutableMapping

_LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1", "[::1]")
"""Loopback in the forms that libraries compare: urllib and botocore know no ranges, and leave IPv6 in brackets."""
_METADATA = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")
"""A cloud's services for one machine. Through a proxy they would give the credentials of the proxy's machine."""
_ALL = "*"


def bypass_proxies(environment: MutableMapping[str, str], *nodes: str) -> None:
    """Add loopback, the host of RAY_ADDRESS and these nodes to no_proxy and NO_PROXY, and keep what is there.

    Most libraries read the lower-case variable first, so both are set.
    """
    head = environment.get("RAY_ADDRESS", "").rpartition("//")[2].rpartition(":")[0].strip("[]")
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    # gRPC reads no_grpc_proxy before the others, if it is set.
    for name in ("no_proxy", "NO_PROXY", *(["no_grpc_proxy"] if environment.get("no_grpc_proxy") else [])):
        own = environment.get(name) or given
        if own.strip() != _ALL:
            hosts = [*(host.strip() for host in own.split(",")), *_LOOPBACK, *_METADATA, head, *nodes]
            environment[name] = ",".join(dict.fromkeys(filter(None, hosts)))
