"""Places compared by their parts, as libraries compare them."""

from __future__ import annotations

import pytest

from orchestration.common.urls import is_same_service, with_lower_scheme
from orchestration.config.storage import StorageConfig


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("S3://Bucket/Key", "s3://Bucket/Key"),
        ("s3://bucket/x?y=Z", "s3://bucket/x?y=Z"),
        ("PostgreSQL+psycopg://Me@host/Name", "postgresql+psycopg://Me@host/Name"),
        ("/Data/runs", "/Data/runs"),
        ("/Data/X://y", "/Data/X://y"),
    ],
)
def test_a_scheme_is_in_lower_case_and_nothing_else_changes(given: str, expected: str) -> None:
    assert with_lower_scheme(given) == expected


@pytest.mark.parametrize(
    ("root", "url", "same"),
    [
        ("s3://mine/dfm", "s3://other/weights.pt", True),
        ("s3://mine/dfm", "S3://other/weights.pt", True),
        ("s3://mine/dfm", "gs://mine/weights.pt", False),
        ("s3://mine/dfm", "/data/weights.pt", False),
        ("sftp://host/dfm", "sftp://HOST/weights.pt", True),
        ("sftp://host/dfm", "sftp://elsewhere/weights.pt", False),
        ("sftp://host/dfm", "sftp://host:2222/weights.pt", False),
    ],
)
def test_keys_of_a_storage_go_to_its_own_service_alone(root: str, url: str, *, same: bool) -> None:
    assert is_same_service(root, url) == same
    assert bool(StorageConfig(root, {"key": "secret"}).options_for(url)) == same
