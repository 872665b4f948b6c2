"""Files by path or URL: cached once and verified, every failure a message; on memory, file and HTTP file systems."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from dfm_core.catalog.weight_files import GivenFile, NeededFile
from orchestration.common.errors import UserError
from orchestration.config.absolute_paths import absolute_files
from orchestration.config.files import FileConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.config.storage import StorageConfig
from orchestration.data.file_cache import FileCache, default_cache_directory, given_files
from orchestration.plan.preflight import file_problems
from orchestration.storage import url_reader as url_source
from orchestration.storage.retry import NoAnswerError
from tests.orchestration.conftest import ROOT

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LARGE = CONTENT * 80  # larger than what is read at a time
NEEDED = NeededFile("weights", "network.pt", "the project owner/name")


class Server(ThreadingHTTPServer):
    """Serves CONTENT in the ways that servers fail; knows no ranges, as many."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.num_sent_bytes = 0
        self.ended = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        if "hang" in self.path:
            self.server.ended.wait(600)
            return
        status = 404 if "gone" in self.path else 403 if "closed" in self.path else 200
        content = {"other": CONTENT[::-1], "empty": b"", "large": LARGE}.get(
            self.path.strip("/").split(".")[0], CONTENT
        )
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body and status == 200:
            with suppress(ConnectionError):  # the reader had enough
                self.wfile.write(content[: len(content) // 2] if "cut" in self.path else content)
                self.server.num_sent_bytes += len(content)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.ended.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cache")


@pytest.fixture(params=["memory", "file", "http"])
def source(request: pytest.FixtureRequest, tmp_path: Path, server: Server) -> tuple[str, Callable[[], None]]:
    """A URL that gives CONTENT, and what makes it give nothing any more."""
    if request.param == "http":
        return server.url("network.pt"), server.server_close
    name = f"{uuid.uuid4().hex}/network.pt"
    url = f"memory://{name}" if request.param == "memory" else f"file://{tmp_path}/{name}"
    system, path = fsspec.core.url_to_fs(url, auto_mkdir=True)
    system.makedirs(path.rsplit("/", 1)[0])
    system.pipe_file(path, CONTENT)
    return url, lambda: system.rm_file(path)


def cached_files(cache: FileCache) -> list[str]:
    """All files in the cache, partial ones too."""
    return sorted(str(path.relative_to(cache.directory)) for path in cache.directory.rglob("*") if path.is_file())


def refusal(cache: FileCache, file: FileConfig) -> str:
    with pytest.raises(UserError) as caught:
        cache.local_path(file)
    return str(caught.value)


def test_a_local_path_stays_as_it_is(cache: FileCache) -> None:
    assert cache.local_path(FileConfig("/data/network.pt", SHA256)) == Path("/data/network.pt")
    assert not cache.directory.exists()


def test_a_url_is_fetched_once_and_needs_no_source_afterwards(
    cache: FileCache, source: tuple[str, Callable[[], None]]
) -> None:
    url, take_away = source
    file = FileConfig(url, SHA256.upper())
    assert cache.problem(file, NEEDED) is None
    assert cached_files(cache) == [], "planning fetches nothing"
    path = cache.local_path(file)
    assert path == cache.directory / SHA256 / "network.pt"
    assert path.read_bytes() == CONTENT
    assert cached_files(cache) == [f"{SHA256}/network.pt"]
    take_away()
    assert cache.local_path(file) == path
    assert cache.problem(file, NEEDED) is None


def test_a_damaged_cached_file_is_fetched_anew(cache: FileCache, server: Server) -> None:
    file = FileConfig(server.url("network.pt"), SHA256)
    path = cache.local_path(file)
    path.write_bytes(CONTENT[:-1])
    assert cache.local_path(file).read_bytes() == CONTENT
    assert len(server.requests) == 2
    path.write_bytes(CONTENT[:-1])
    assert cache.problem(FileConfig(server.url("gone.pt"), SHA256), NEEDED) is not None


@pytest.mark.parametrize("name", ["other.pt", "empty.pt"])
def test_another_content_is_an_error_with_both_checksums_and_leaves_nothing(
    cache: FileCache, server: Server, name: str
) -> None:
    actual = hashlib.sha256(CONTENT[::-1] if name == "other.pt" else b"").hexdigest()
    assert refusal(cache, FileConfig(server.url(name), SHA256)) == (
        f"{server.url(name)}: is incomplete or another file: expected sha256 {SHA256}, found {actual}; "
        "nothing of it was kept"
    )
    assert cached_files(cache) == []
    assert not (cache.directory / SHA256).exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gone.pt", "cannot be read (ClientResponseError: 404"),
        ("closed.pt", "cannot be read (ClientResponseError: 403"),
        ("cut.pt", "cannot be read (ContentLengthError"),
    ],
)
def test_a_source_that_fails_is_told_and_leaves_nothing(
    cache: FileCache, server: Server, name: str, expected: str
) -> None:
    file = FileConfig(server.url(name), SHA256)
    assert refusal(cache, file).startswith(f"{file.path}: {expected}")
    assert cached_files(cache) == []


@pytest.mark.parametrize("name", ["gone.pt", "closed.pt", "empty.pt"])
def test_a_plan_hears_that_a_url_gives_nothing_and_where_to_get_it(cache: FileCache, server: Server, name: str) -> None:
    problem = str(cache.problem(FileConfig(server.url(name), SHA256), NEEDED))
    assert problem.startswith(f"weights: {server.url(name)}: ")
    assert problem.endswith(": get network.pt from the project owner/name, and put it where every worker can read it")


def test_a_server_that_never_answers_is_given_up(
    cache: FileCache, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(url_source, "ANSWER_WITHIN_SECONDS", 0.3)
    monkeypatch.setattr("orchestration.data.file_cache.PLANNING_SECONDS", 0.3)
    file = FileConfig(server.url("hang.pt"), SHA256)
    assert refusal(cache, file) == f"{file.path}: cannot be read (no answer within 0.3 s)"
    with pytest.raises(NoAnswerError, match=r"hang\.pt: no answer within 0\.3 s"):
        cache.problem(file, NEEDED)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("memory://nowhere/x.pt", "memory://nowhere/x.pt: cannot be read (there is no such file)"),
        ("file:///nowhere/x.pt", "file:///nowhere/x.pt: cannot be read (there is no such file)"),
        ("file:///dev/zero", "file:///dev/zero: cannot be read (there is no such file)"),
        ("nosuch://bucket/x.pt", "nosuch://bucket/x.pt: cannot be read (ValueError: Protocol not known: nosuch"),
        ("http://127.0.0.1:1/x.pt", "http://127.0.0.1:1/x.pt: cannot be read (ConnectionRefusedError: [Errno 111]"),
    ],
)
def test_every_backends_error_becomes_a_message(cache: FileCache, url: str, expected: str) -> None:
    file = FileConfig(url, SHA256)
    assert refusal(cache, file).startswith(expected)
    assert str(cache.problem(file, NEEDED)).startswith(f"weights: {expected}")


@pytest.mark.proves(28)
@pytest.mark.parametrize("path", ["gone.pt?X-Signature=hush", "other.pt?token=hush#hush"])
def test_no_credential_is_ever_shown(cache: FileCache, server: Server, path: str) -> None:
    url = server.url(path).replace("http://", "http://me:hush@")
    message = refusal(cache, FileConfig(url, SHA256))
    assert "hush" not in message
    assert f"http://***@127.0.0.1:{server.server_port}/{path.split('?')[0]}?***" in message


def test_storage_options_go_to_the_stores_protocol_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    def refuse(url: str, **options: str) -> None:
        seen.append((url, options))
        raise ValueError(f"said the server to {options}")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    options = {"secret": "hush-hush", "endpoint_url": "http://minio:9000"}
    cache = FileCache(tmp_path, StorageConfig("s3://bucket/dfm", options))
    message = refusal(cache, FileConfig("s3://other/x.pt", SHA256))
    assert "hush" not in message
    assert "http://minio:9000" in message
    refusal(cache, FileConfig("gs://other/x.pt", SHA256))
    refusal(FileCache(tmp_path, StorageConfig("runs", options)), FileConfig("s3://other/x.pt", SHA256))
    assert seen == [("s3://other/x.pt", options), ("gs://other/x.pt", {}), ("s3://other/x.pt", {})]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("%2e%2e%2fetc%2fpasswd", "2e_2e_2fetc_2fpasswd"),
        ("a/../..%00.pt", "_00.pt"),
        ("...", "file"),
        (".hidden.pt", "hidden.pt"),
        ("x" * 300 + ".safetensors", "x" * 116 + ".safetensors"),
        ("my file; rm -rf.pt", "my_file__rm_-rf.pt"),
        ("network.pt?name=/../../x", "network.pt"),
    ],
)
def test_no_name_leads_out_of_the_cache(cache: FileCache, server: Server, path: str, name: str) -> None:
    local = cache.local_path(FileConfig(server.url(path), SHA256))
    assert local.parent == cache.directory / SHA256
    assert local.name.lstrip("_") == name.lstrip("_")
    assert cached_files(cache) == [f"{SHA256}/{local.name}"]


def test_a_checksum_that_was_not_validated_is_no_folder(cache: FileCache) -> None:
    with pytest.raises(AssertionError, match="was not validated"):
        cache.local_path(FileConfig("memory://x.pt", "../.."))


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path, server: Server) -> None:
    (tmp_path / "blocked").write_text("in the way")
    message = refusal(FileCache(tmp_path / "blocked" / "cache"), FileConfig(server.url("network.pt"), SHA256))
    assert f"cannot be kept in {tmp_path}/blocked/cache (Not a directory)" in message
    assert "name another folder in DFM_CACHE_DIR" in message


def test_processes_that_fetch_at_once_all_get_the_file(cache: FileCache, server: Server) -> None:
    script = (
        "import sys; from pathlib import Path; from orchestration.data.file_cache import FileCache;"
        "from orchestration.config.files import FileConfig;"
        "path = FileCache(Path(sys.argv[1])).local_path(FileConfig(sys.argv[2], sys.argv[3]));"
        "assert len(path.read_bytes()) == 256000"
    )
    command = [sys.executable, "-c", script, str(cache.directory), server.url("network.pt"), SHA256]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [process.wait(timeout=240) for process in processes] == [0, 0, 0]
    assert cached_files(cache) == [f"{SHA256}/network.pt"]


def test_fetches_in_one_process_at_once_disturb_nothing(cache: FileCache, server: Server) -> None:
    paths: list[Path] = []
    file = FileConfig(server.url("network.pt"), SHA256)
    threads = [threading.Thread(target=lambda: paths.append(cache.local_path(file))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() for path in paths] == [CONTENT] * 6
    assert cached_files(cache) == [f"{SHA256}/network.pt"]


def test_the_environment_names_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DFM_CACHE_DIR", raising=False)
    assert default_cache_directory() == FileCache().directory == tmp_path / "dfm"
    monkeypatch.setenv("DFM_CACHE_DIR", "/scratch/dfm")
    assert FileCache().directory == Path("/scratch/dfm")
    monkeypatch.delenv("DFM_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert FileCache().directory == Path("/home/somebody/.cache/dfm")


def test_a_plan_hears_of_all_files_of_all_networks_at_once(cache: FileCache, server: Server, tmp_path: Path) -> None:
    local = tmp_path / "local.pt"
    local.write_bytes(CONTENT)
    networks = {
        "inception": {"weights": FileConfig(server.url("gone.pt"), SHA256)},
        "i3d": {"weights": FileConfig(str(local), "0" * 64)},
        "clip": {"merges": FileConfig(str(tmp_path / "no.txt"), SHA256), "weights": FileConfig(str(local), SHA256)},
    }
    problems = file_problems(networks, ["lite0", "inception", "i3d", "clip"], cache)
    starts = [
        f"inception (Inception-v3 of 2015-12-05, TorchScript): weights: {server.url('gone.pt')}: cannot be read (",
        f"i3d (I3D, Kinetics-400, TensorFlow hub's weights, TorchScript): weights: {local} is damaged",
        "clip (CLIP ViT-B/32): vocabulary: no file is named: get vocab.json from the model page openai/",
        f"clip (CLIP ViT-B/32): merges: there is no file {tmp_path}/no.txt: get merges.txt from the model page",
    ]
    assert len(problems) == len(starts)
    assert all(problem.startswith(start) for problem, start in zip(problems, starts, strict=True))
    assert cached_files(cache) == []


def test_planning_does_not_download(cache: FileCache, server: Server) -> None:
    networks = {"i3d": {"weights": FileConfig(server.url("large.pt"), SHA256)}}
    assert file_problems(networks, ["i3d"], cache) == []
    assert not cache.directory.exists()
    assert server.requests == ["/large.pt"]
    assert server.num_sent_bytes == 0, "the answer was not read to its end"


class RangeFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """CONTENT in a store that knows ranges, and the ranges asked for, as fsspec asks s3."""

    asked: ClassVar[list[tuple[int, int]]] = []

    def _fetch_range(self, start: int, end: int) -> bytes:
        self.asked.append((start, end))
        return CONTENT[start:end]


class RangeFileSystem(AbstractFileSystem):  # type: ignore[misc]  # as above
    protocol = "ranges"

    def _open(self, path: str, mode: str = "rb", **options: Any) -> RangeFile:
        return RangeFile(self, path, mode, size=len(CONTENT), **options)


def test_planning_asks_a_store_for_one_byte_and_no_more(cache: FileCache) -> None:
    fsspec.register_implementation("ranges", RangeFileSystem, clobber=True)
    RangeFile.asked.clear()
    file = FileConfig("ranges://bucket/network.pt", SHA256)
    assert cache.problem(file, NEEDED) is None
    assert RangeFile.asked == [(0, 1)]
    assert cache.local_path(file).read_bytes() == CONTENT


def test_a_large_file_comes_whole_from_a_server_that_knows_no_ranges(cache: FileCache, server: Server) -> None:
    path = cache.local_path(FileConfig(server.url("large.pt"), hashlib.sha256(LARGE).hexdigest()))
    assert path.read_bytes() == LARGE
    assert server.requests == ["/large.pt"]


def test_a_path_that_cannot_even_be_looked_at_is_a_message(cache: FileCache) -> None:
    problem = cache.problem(FileConfig("/" + "x" * 300, SHA256), NEEDED)
    assert str(problem).endswith("cannot be read (File name too long)")


def test_a_networks_files_are_local_and_all_failures_told_at_once(
    cache: FileCache, server: Server, tmp_path: Path
) -> None:
    merges = FileConfig(str(tmp_path / "merges.txt"), SHA256)
    files = {"weights": FileConfig(server.url("model.safetensors"), SHA256), "merges": merges}
    assert given_files({"clip": files}, "clip", cache) == {
        "weights": GivenFile(cache.directory / SHA256 / "model.safetensors", SHA256),
        "merges": GivenFile(tmp_path / "merges.txt", SHA256),
    }
    assert given_files({}, "lite0", cache) == {}
    bad = {"weights": FileConfig(server.url("gone.pt"), "a" * 64), "merges": FileConfig(server.url("other.pt"), SHA256)}
    with pytest.raises(UserError) as caught:
        given_files({"clip": bad}, "clip", cache)
    first, second = map(str, caught.value.problems)
    assert first.startswith(f"networks.clip.weights: {server.url('gone.pt')}: cannot be read")
    assert second.startswith(f"networks.clip.merges: {server.url('other.pt')}: is incomplete or another file")


def config(path: str) -> RuntimeConfig:
    files = {"weights": FileConfig(path, SHA256)}
    return RuntimeConfig(networks={"i3d": files}, references={"fashion_mnist": {"lite0": files["weights"]}})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("weights/x.pt", "/somewhere/here/weights/x.pt"),
        ("/data/x.pt", "/data/x.pt"),
        ("~/x.pt", "/home/somebody/x.pt"),
        ("s3://bucket/x.pt", "s3://bucket/x.pt"),
    ],
)
def test_paths_are_taken_from_where_the_user_is(path: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    resolved = absolute_files(config(path), {}, Path("/somewhere/here"))
    assert resolved == config(expected)


def test_relative_paths_inside_a_ray_job_are_refused_all_at_once() -> None:
    job = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}
    with pytest.raises(UserError) as caught:
        absolute_files(config("weights/x.pt"), job, Path("/somewhere/here"))
    assert [problem.where for problem in caught.value.problems] == [
        "networks.i3d.weights.path",
        "references.fashion_mnist.lite0.path",
    ]
    assert re.search(r"'weights/x.pt' is relative, but inside a Ray job .* give an absolute path", str(caught.value))
    assert absolute_files(config("/data/x.pt"), job, Path("/somewhere/here")) == config("/data/x.pt")


def test_a_home_of_nobody_is_a_message() -> None:
    with pytest.raises(UserError, match="there is no such home"):
        absolute_files(config("~nobody-of-this-name/x.pt"), dict(os.environ), Path("/somewhere/here"))
