"""Loopback and the nodes of a cluster are reached directly, by every library that obeys http_proxy."""

from __future__ import annotations

import os
import urllib.request

import botocore.utils
import pytest
import requests.utils

from analysis.contract.proxies import bypass_proxies

HERE = "localhost,127.0.0.1,127.0.0.0/8,::1,[::1],169.254.169.254,169.254.170.2,metadata.google.internal"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"no_proxy": HERE, "NO_PROXY": HERE}),
        ({"NO_PROXY": "a.b"}, {"no_proxy": f"a.b,{HERE}", "NO_PROXY": f"a.b,{HERE}"}),
        ({"no_proxy": " a, ,b"}, {"no_proxy": f"a,b,{HERE}", "NO_PROXY": f"a,b,{HERE}"}),
        ({"no_proxy": "a", "NO_PROXY": "b"}, {"no_proxy": f"a,{HERE}", "NO_PROXY": f"b,{HERE}"}),
        ({"no_proxy": "*"}, {"no_proxy": "*"}),
        (
            {"no_grpc_proxy": "c"},
            {"no_proxy": HERE, "NO_PROXY": HERE, "no_grpc_proxy": f"c,{HERE}"},
        ),
    ],
)
def test_what_is_set_stays_and_loopback_is_added_once(given: dict[str, str], expected: dict[str, str]) -> None:
    environment = dict(given)
    bypass_proxies(environment)
    bypass_proxies(environment)
    assert environment == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.9.8.7", "10.0.0.3"])
def test_the_libraries_reach_loopback_head_and_nodes_directly(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "corp.example")
    monkeypatch.setenv("RAY_ADDRESS", "ray://10.9.8.7:10001")
    bypass_proxies(os.environ, "10.0.0.3")
    url = f"http://{host}:5000/health"
    assert requests.utils.should_bypass_proxies(url, None)
    assert botocore.utils.get_environ_proxies(url) == {}
    assert urllib.request.proxy_bypass(f"{host}:5000")
    assert not requests.utils.should_bypass_proxies("http://elsewhere.example:5000", None)
