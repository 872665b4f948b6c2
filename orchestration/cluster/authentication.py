"""Authentication of Ray: without it, anybody who reaches its ports could run any code, as its user, on every node.

The behaviour of the cluster counts: it is called without a token, as a stranger would, and has to refuse.
"""

from __future__ import annotations

import os
from pathlib import Path

import grpc

from orchestration.cluster.token_file import (
    MODE_VARIABLE,
    PATH_VARIABLE,
    TOKEN_VARIABLE,
    ensure_token,
    read_token,
    token_file,
)
from orchestration.common.errors import UserError
from orchestration.private.ray import reread_environment

INSECURE_OPTION = "--insecure-no-auth"
_CALL = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_CLIENT_CALL = "/ray.rpc.RayletDriver/ClusterInfo"
CLIENT_SCHEME = "ray://"
_ANSWER_SECONDS = 15.0
_NO_PROXY = [("grpc.enable_http_proxy", 0)]
"""By default gRPC obeys http_proxy, to loopback too, and the proxy would see the token. Ray's own channels set this."""
_TLS_FILES = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
"""Variables that name the files, as Ray documents them."""


def use_tokens(*, may_make_one: bool) -> None:
    """Make this process, and what it starts, send a token with every call to Ray, and demand one.

    Args: may_make_one: for a cluster that starts here; a token made now is none that a running cluster knows.
    Raises: UserError if the environment turns authentication off, or if there is no token to send.
    """
    mode = os.environ.get(MODE_VARIABLE, "token")
    if mode.lower() != "token":
        raise UserError.of(
            f"{MODE_VARIABLE}={mode}", f"turns authentication off: unset it, or ask in so many words: {INSECURE_OPTION}"
        )
    if may_make_one:
        ensure_token(os.environ)
    elif not read_token(os.environ):
        raise UserError.of(
            "RAY_ADDRESS",
            f"needs that cluster's token, and there is none in {token_file(os.environ)}: put it there with mode 0600, "
            f"or name its file in {PATH_VARIABLE}",
        )
    _set_mode("token")


def use_no_tokens() -> None:
    """Turn authentication off for a cluster that starts here, as the user asked."""
    _set_mode("disabled")


def _set_mode(mode: str) -> None:
    os.environ[MODE_VARIABLE] = mode
    reread_environment()


def refuse_open_cluster(address: str) -> None:
    """Check that a cluster refuses calls without a token.

    Args: address: host:port of the cluster's control service, or ray://host:port.
    Raises: UserError if it takes a call without a token, or does not answer.
    """
    if not is_refused(address):
        raise UserError.of(
            f"Ray at {address}",
            "takes calls without a token: whoever reaches it runs code as its user. Start it with "
            f"{MODE_VARIABLE}=token (docs/running.md), or ask in so many words: {INSECURE_OPTION}",
        )


def refuse_wrong_token(address: str) -> None:
    """Check our token at once: Ray would retry for half a minute. Raises: UserError if the cluster does not take it."""
    if is_refused(address, read_token(os.environ)):
        place = TOKEN_VARIABLE if os.environ.get(TOKEN_VARIABLE) else token_file(os.environ)
        raise UserError.of(f"Ray at {address}", f"does not take the token in {place}: it is of another cluster")


def is_refused(address: str, token: str = "") -> bool:
    """Return whether a call with this token, or with none, is refused as unauthenticated.

    Raises: UserError if nobody answers there.
    """
    metadata = [("authorization", f"Bearer {token}")] if token else []
    try:
        with _channel(address.removeprefix(CLIENT_SCHEME)) as channel:
            call = channel.unary_unary(_CLIENT_CALL if address.startswith(CLIENT_SCHEME) else _CALL)
            call(b"", timeout=_ANSWER_SECONDS, metadata=metadata)
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise UserError.of(f"Ray at {address}", f"does not answer ({error.details()})") from None
        return bool(error.code() is grpc.StatusCode.UNAUTHENTICATED)
    return False


def _channel(address: str) -> grpc.Channel:
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return grpc.insecure_channel(address, _NO_PROXY)
    if missing := [name for name in _TLS_FILES if name not in os.environ]:
        raise UserError.of("RAY_USE_TLS=1", f"needs {' and '.join(missing)}")
    chain, key, authority = (Path(os.environ[name]).read_bytes() for name in _TLS_FILES)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(authority, key, chain), _NO_PROXY)
