"""A cluster that takes calls from strangers is refused; that of this machine takes none, on loopback alone."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestration.cluster import authentication
from orchestration.cluster import connection as cluster
from orchestration.cluster.authentication import is_refused, refuse_open_cluster, refuse_wrong_token, use_tokens
from orchestration.common.errors import UserError
from orchestration.config.workers import WorkersConfig
from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import QUICKSTART, ROOT
from tests.support.proxies import deaf_proxy

TOKEN = "ab" * 32


class ControlService(grpc.GenericRpcHandler):
    """Answers every call as Ray's control service does: with a token, or whatever comes."""

    def __init__(self, *, is_open: bool) -> None:
        self.is_open = is_open

    def service(self, details: Any) -> Any:
        known = self.is_open or ("authorization", f"Bearer {TOKEN}") in details.invocation_metadata

        def answer(_: bytes, context: Any) -> bytes:
            if not known:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def control_service(*, is_open: bool, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
    server, any_port = grpc.server(ThreadPoolExecutor(1), handlers=[ControlService(is_open=is_open)]), "127.0.0.1:0"
    port = server.add_secure_port(any_port, credentials) if credentials else server.add_insecure_port(any_port)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@pytest.fixture
def own_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No mode, no address, and a place for a token that is empty yet."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(authentication, "_set_mode", lambda _: None)  # this process has a Ray of its own
    return tmp_path / "token"


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_takes_calls_without_a_token_is_refused(scheme: str) -> None:
    with control_service(is_open=True) as address, pytest.raises(UserError, match=r"without a token.*--insecure-no-a"):
        refuse_open_cluster(f"{scheme}{address}")


def test_a_cluster_that_refuses_strangers_is_used_with_its_own_token_only(own_token: Path) -> None:
    with control_service(is_open=False) as address:
        refuse_open_cluster(address)
        assert not is_refused(address, TOKEN)
        own_token.write_text("cd" * 32)
        with pytest.raises(UserError, match=f"does not take the token in {own_token}") as caught:
            refuse_wrong_token(address)
        assert "cd" * 32 not in str(caught.value)
        own_token.write_text(f"{TOKEN}\n")
        refuse_wrong_token(address)


def test_where_nobody_answers_it_is_told() -> None:
    with pytest.raises(UserError, match="does not answer"):
        refuse_open_cluster("127.0.0.1:1")


def test_nothing_is_sent_to_an_open_cluster(own_token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def joined(**_: Any) -> None:
        pytest.fail("was joined")

    monkeypatch.setattr(cluster.ray, "init", joined)
    own_token.write_text(TOKEN)
    with control_service(is_open=True) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UserError, match="without a token"), cluster.cluster(WorkersConfig()):
            pass
        monkeypatch.setattr(cluster.ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("was joined")))
        with pytest.raises(UserError, match="was joined"), cluster.cluster(WorkersConfig(insecure_no_auth=True)):
            pass


def test_a_job_on_an_open_cluster_ends_before_it_computes(own_token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.setattr(cluster.ray, "init", lambda **_: SimpleNamespace(dashboard_url="127.0.0.1:8265"))
    connected = partial(cluster.connection, wait_seconds=1.0)
    monkeypatch.setattr(cluster.ray, "nodes", list)
    monkeypatch.setattr(cluster, "await_workers", lambda *_: None)
    own_token.write_text(TOKEN)
    for is_open in (True, False):
        with control_service(is_open=is_open) as address:
            context = SimpleNamespace(gcs_address=address)
            monkeypatch.setattr(cluster.ray, "get_runtime_context", lambda context=context: context)
            if is_open:
                with pytest.raises(UserError, match="without a token"), connected(insecure=False):
                    pass
            with connected(insecure=is_open) as dashboard:
                assert dashboard == "127.0.0.1:8265"


def test_a_cluster_behind_tls_is_asked_through_tls(own_token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate alone does not let anybody in: the jobs API asks for none."""
    credentials = behind_tls(own_token.parent, monkeypatch)
    for is_open in (True, False):
        with control_service(is_open=is_open, credentials=credentials) as address:
            assert is_refused(address) is not is_open
            assert not is_refused(address, TOKEN)


def behind_tls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> grpc.ServerCredentials:
    """Credentials of a server that asks for a certificate, which this process has from here on."""
    certificate, key = self_signed()
    for name, content in (("SERVER_CERT", certificate), ("SERVER_KEY", key), ("CA_CERT", certificate)):
        path = folder / name
        path.write_bytes(content)
        monkeypatch.setenv(f"RAY_TLS_{name}", str(path))
    monkeypatch.setenv("RAY_USE_TLS", "1")
    return grpc.ssl_server_credentials([(key, certificate)], certificate, require_client_auth=True)


def self_signed() -> tuple[bytes, bytes]:
    """A certificate of 127.0.0.1 that signs itself, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return certificate.public_bytes(pem), key.private_bytes(pem, *plain)


@pytest.mark.parametrize("tls", [False, True])
def test_no_proxy_is_asked_for_a_cluster_or_sees_its_token(
    own_token: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    credentials = behind_tls(own_token.parent, monkeypatch) if tls else None
    with deaf_proxy() as proxy, control_service(is_open=False, credentials=credentials) as address:
        for name, value in proxy.variables.items():
            monkeypatch.setenv(name, value)
        assert is_refused(address)
        assert not is_refused(address, TOKEN)
    assert proxy.asked == []


def test_a_mode_without_authentication_has_to_be_asked_for(own_token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(UserError, match=r"turns authentication off.*--insecure-no-auth"):
        use_tokens(may_make_one=True)
    assert not own_token.exists()


def test_no_token_is_made_up_for_a_cluster_that_runs(own_token: Path) -> None:
    with pytest.raises(UserError, match=f"there is none in {own_token}"):
        use_tokens(may_make_one=False)
    assert not own_token.exists()


def test_a_file_cannot_turn_authentication_off(tmp_path: Path) -> None:
    text = QUICKSTART.read_text().replace("base: base/", f"base: {QUICKSTART.parent}/base/")
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(f"{text}\nworkers: {{insecure_no_auth: true}}\n")
    with pytest.raises(UserError, match=r"workers.insecure_no_auth: belongs on the command line"):
        load_sweep(sweep)
    assert load_sweep(QUICKSTART, ["workers.insecure_no_auth=true"]).runtime.workers.insecure_no_auth


_LOCAL = """
import psutil, ray
from orchestration.cluster.connection import cluster
from orchestration.config.workers import WorkersConfig

with cluster(WorkersConfig()):
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    heard = {c.laddr.ip for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    print("heard on", *sorted(ip.removeprefix("::ffff:") for ip in heard))
"""


@pytest.mark.slow
def test_the_ray_of_this_machine_refuses_strangers_and_listens_on_loopback_alone(tmp_path: Path) -> None:
    dropped = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    done = subprocess.run(
        [sys.executable, "-c", _LOCAL],
        cwd=ROOT,
        env=environment | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    addresses = set(done.stdout.partition("heard on")[2].split())
    assert addresses == {"127.0.0.1"}, done.stdout + done.stderr
    token = tmp_path / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.read_text() not in done.stdout + done.stderr
