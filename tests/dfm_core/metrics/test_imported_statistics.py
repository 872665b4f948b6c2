"""Published statistics: every format as its makers write it, and files that are wrong or hostile."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfm_core.catalog.feature_networks import FeatureNetworkName
from dfm_core.metrics.imported_statistics import read_statistics
from dfm_core.metrics.plain_arrays import PickledArray, read_npz, read_pickle
from dfm_core.metrics.scores.frechet import frechet, frechet_distance
from dfm_core.metrics.scores.moments import GaussianStatistics, Moments
from tests.support.models import golden_json, golden_tensors

WIDTH = 4
ROWS = np.random.default_rng(0).standard_normal((40, WIDTH)) @ np.diag([1.0, 3.0, 0.2, 5.0]) + 2
MEAN, COVARIANCE = ROWS.mean(axis=0), np.cov(ROWS, rowvar=False)
PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npz_of_members(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def npy_header(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    """The beginning of an npy file, without numbers."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def flat(mean: Any = MEAN, covariance: Any = COVARIANCE) -> dict[str, Any]:
    return {"mu": mean, "sigma": covariance}


def read(content: bytes, network: FeatureNetworkName = "inception", width: int = WIDTH) -> GaussianStatistics:
    return read_statistics(content, "given.file", network, width)


def assert_read(content: bytes, network: FeatureNetworkName = "inception", rtol: float = 0.0) -> None:
    found = read(content, network)
    assert (found.count, found.width, found.mean.dtype, found.covariance.dtype) == (None, WIDTH, "f8", "f8")
    np.testing.assert_allclose(found.mean, MEAN, rtol=rtol)
    np.testing.assert_allclose(found.covariance, (COVARIANCE + COVARIANCE.T) / 2, rtol=rtol)


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class Sub(np.ndarray):
    """Another class of arrays."""

    def __setstate__(self, state: Any) -> None:
        Path(os.environ["SENTINEL"]).touch()
        super().__setstate__(state)


@pytest.fixture
def sentinel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that exists once hostile code has run."""
    path = tmp_path / "executed"
    monkeypatch.setenv("SENTINEL", str(path))
    return path


def test_an_npz_of_pytorch_fid_and_edm_is_read() -> None:
    assert_read(npz(mu=MEAN, sigma=COVARIANCE))
    assert_read(npz(sigma=np.asfortranarray(COVARIANCE), mu=MEAN.astype(">f8")))


def test_compressed_members_are_read() -> None:
    assert_read(npz_of_members({"mu.npy": npy(MEAN), "sigma.npy": npy(COVARIANCE)}))


def test_of_an_npz_of_adm_only_mu_and_sigma_are_touched() -> None:
    samples = npy(np.array([object], dtype=object))
    content = {"arr_0.npy": samples, "mu.npy": npy(MEAN), "sigma.npy": npy(COVARIANCE)}
    spatial = {"mu_s.npy": npy(np.zeros(7)), "sigma_s.npy": npy(np.zeros((7, 7)))}
    assert_read(npz_of_members(content | spatial))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_of_edm2_holds_statistics_by_metric(protocol: int) -> None:
    content = pickle.dumps({"fid": flat(), "fd_dinov2": flat(MEAN + 1)}, protocol)
    assert_read(content)
    np.testing.assert_array_equal(read(content, "dinov2").mean, MEAN + 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_flat_pickle_holds_them_itself(protocol: int) -> None:
    assert_read(pickle.dumps(flat(), protocol))
    others = OrderedDict(flat(covariance=np.asfortranarray(COVARIANCE)), num_images=np.int64(7), scale=np.float32(2))
    assert_read(pickle.dumps(others, protocol))


def test_a_pickle_of_numpy_1_is_read() -> None:
    """Its modules had other names."""
    content = pickle.dumps(flat(), 2)
    assert b"numpy._core.multiarray" in content
    assert_read(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


@pytest.mark.parametrize("array", [ROWS, np.asfortranarray(ROWS), ROWS[::2], ROWS[0, 0], np.arange(6).reshape(2, 3)])
def test_arrays_of_every_layout_keep_their_order(array: np.ndarray) -> None:
    np.testing.assert_array_equal(read_npz(npz(x=array), {"x": np.shape(array)})["x"], array)
    for protocol in PROTOCOLS:
        found = read_pickle(pickle.dumps(array, protocol))
        assert isinstance(found, PickledArray)
        np.testing.assert_array_equal(found.value, array)
        assert found.value.dtype == array.dtype


@pytest.mark.parametrize("dtype", ["float32", ">f4", ">f8"])
def test_other_floats_become_float64(dtype: str) -> None:
    mean, covariance = MEAN.astype(dtype), COVARIANCE.astype(dtype)
    assert_read(pickle.dumps(flat(mean, covariance)), rtol=1e-6)
    assert_read(npz(**flat(mean, covariance)), rtol=1e-6)


@pytest.mark.parametrize("as_file", [lambda s: npz(**s), lambda s: pickle.dumps({"fid": s})])
@pytest.mark.parametrize(("a", "b", "name", "rel"), [("A", "B", "AB", 1e-10), ("C", "D", "CD_rank_deficient", 1e-6)])
def test_distances_to_imported_statistics_are_those_of_the_originals(
    as_file: Any, a: str, b: str, name: str, rel: float
) -> None:
    features = golden_tensors("frechet_inputs")
    rows = features[b].numpy()
    content = as_file(flat(rows.mean(axis=0), np.cov(rows, rowvar=False)))
    reference = read_statistics(content, "golden", "inception", rows.shape[1])
    expected = golden_json("frechet_values")["values"][f"{name}_pytorch_fid"]
    assert frechet_distance(Moments.of(features[a]), reference) == pytest.approx(expected, rel=rel)
    assert frechet(Moments.of(features[a]), reference).value == pytest.approx(expected, rel=rel)


@pytest.mark.parametrize("function", [os.system, builtins.eval, builtins.open, io.open_code, getattr])
def test_a_pickle_that_calls_anything_is_refused_by_name_and_not_executed(function: Any, sentinel: Path) -> None:
    argument = f"touch {sentinel}" if function is os.system else f"open({str(sentinel)!r}, 'w')"
    for held in (Calls(function, argument), {"fid": flat(Calls(function, argument))}, {Calls(function, argument): 1}):
        name = pickle.whichmodule(function, function.__name__) + "." + function.__name__
        with pytest.raises(ValueError, match=rf"given\.file: .*it calls {name}, which no array needs"):
            read(pickle.dumps(held))
    assert not sentinel.exists()


def test_the_hostile_pickles_of_these_tests_would_be_executed(sentinel: Path) -> None:
    pickle.loads(pickle.dumps(Calls(os.system, f"touch {sentinel}")))
    assert sentinel.exists()


def test_a_reduce_inside_the_state_of_an_array_is_refused(sentinel: Path) -> None:
    hostile = Calls(os.system, f"touch {sentinel}")
    array = np.empty(2, dtype=object)
    array[0] = array[1] = hostile
    for mean in (array, [MEAN, {"deeper": hostile}]):
        with pytest.raises(ValueError, match=r"it calls posix\.system|dtype 'O8'"):
            read(pickle.dumps(flat(mean)))
    assert not sentinel.exists()


def test_object_arrays_are_refused_in_both_formats() -> None:
    objects = np.array([1, 2, 3, 4], dtype=object)
    with pytest.raises(ValueError, match="an array of dtype 'O8': only real numbers"):
        read(pickle.dumps(flat(objects)))
    with pytest.raises(ValueError, match="an array of 'object': only real numbers"):
        read(npz_of_members({"mu.npy": npy(objects), "sigma.npy": npy(COVARIANCE)}))
    with pytest.raises(ValueError, match="an array of 'complex64': only real numbers"):
        read(npz(mu=MEAN.astype("complex64"), sigma=COVARIANCE))
    with pytest.raises(ValueError, match="an array of dtype 'c8': only real numbers"):
        read(pickle.dumps(flat(MEAN.astype("complex64"))))


def test_another_class_of_arrays_is_refused(sentinel: Path) -> None:
    with pytest.raises(ValueError, match=r"test_imported_statistics\.Sub, which no array needs"):
        read(pickle.dumps(flat(MEAN.view(Sub))))
    assert not sentinel.exists()


RECONSTRUCT_ONE_GIANT = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nJ\xff\xff\xff\x7f\x85U\x01b\x87R."
)


def reduces(module: str, name: str, *arguments: Any) -> bytes:
    """A pickle that calls module.name, whatever that is."""
    body = pickle.dumps(arguments, 2)[2:-1]
    return b"\x80\x02" + f"c{module}\n{name}\n".encode() + body + b"R."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (reduces("numpy", "ndarray", (10**6, 10**6)), "it calls numpy.ndarray itself"),
        (reduces("numpy.core.multiarray", "_reconstruct", "list", (0,), b"b"), "another class than numpy.ndarray"),
        (
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nJ\xff\xff\xff\x7f\x85U\x01b\x87R.",
            "another",
        ),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "must be a type"),
        (reduces("_codecs", "encode", "x", "rot13"), "it encodes to 'rot13'"),
        (reduces("numpy", "ndarray.tofile", 1), "it calls numpy.ndarray.tofile"),
        (reduces("numpy", "load", "x"), "it calls numpy.load"),
        (reduces("numpy.core.multiarray", "scalar", "f8", b"12345678"), "without shape, dtype and bytes"),
        (b"\x80\x02cnumpy\ndtype\n}U\x04make}sb.", "object has no attribute|cannot|can't"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "more than 10000 steps or places"),
        (b"\x80\x02" + b")" * 20_000 + b".", "more than 10000 steps or places"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**50) + b".", "expected .* bytes"),
        (b"\x80\x02Pname\n.", "persistent"),
        (b"\x80\x02\x82\x01.", "extension code"),
    ],
)
def test_pickles_made_by_hand_get_nowhere(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"given\.file: statistics of inception.*({reason})"):
        read(content)


def test_what_a_pickle_names_cannot_be_changed_for_the_next_file() -> None:
    """BUILD sets attributes of what was named: here `make` of numpy.dtype's stand-in becomes that of OrderedDict's."""
    for attribute in (b"make", b"__call__", b"__class__", b"__setstate__"):
        key = b"U" + bytes([len(attribute)]) + attribute
        with pytest.raises(ValueError, match=r"given\.file"):
            read(b"\x80\x02cnumpy\ndtype\nN}" + key + b"ccollections\nOrderedDict\ns\x86b.")
    assert_read(pickle.dumps(flat()))


@pytest.mark.parametrize("content", [pickle.dumps({"fid": flat()}), pickle.dumps(flat(), 5), npz(**flat())])
def test_a_file_that_is_cut_off_anywhere_is_refused(content: bytes) -> None:
    for end in range(0, len(content), 7):
        with pytest.raises(ValueError, match=r"^given\.file: statistics of inception, 4 dimensions, can't be read: ."):
            read(content[:end])


def test_a_damaged_member_is_noticed_by_its_checksum() -> None:
    content = bytearray(npz(**flat()))
    content[content.index(MEAN.tobytes())] ^= 1
    with pytest.raises(ValueError, match="Bad CRC-32"):
        read(bytes(content))


def test_a_header_that_declares_a_giant_is_refused_before_memory_is_taken() -> None:
    for shape in ((10**9,), (10**6, 10**6)):
        with pytest.raises(ValueError, match=r"mu is \[1000000.*instead of \[4\]"):
            read(npz_of_members({"mu.npy": npy_header(shape), "sigma.npy": npy(COVARIANCE)}))
    with pytest.raises(ValueError, match="it is cut off or damaged"):
        read(npz_of_members({"mu.npy": npy_header((WIDTH,)), "sigma.npy": npy(COVARIANCE)}))


@pytest.mark.parametrize("beginning", [npy_header((WIDTH,)), b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31)])
def test_no_more_is_decompressed_than_the_array_needs(beginning: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = zipfile.ZipExtFile.read

    def spy(self: zipfile.ZipExtFile, n: int | None = -1) -> bytes:
        data = original(self, n)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", spy)
    bomb = npz_of_members({"mu.npy": beginning + bytes(2**26), "sigma.npy": npy(COVARIANCE)})
    assert len(bomb) < 2**17
    with pytest.raises(ValueError, match=r"given\.file"):
        read(bomb)
    assert max(sizes) <= 8 * WIDTH + 10_000


def test_compressions_without_a_bound_are_refused() -> None:
    content = npz_of_members({"mu.npy": npy(MEAN), "sigma.npy": npy(COVARIANCE)}, zipfile.ZIP_BZIP2)
    with pytest.raises(ValueError, match="mu is compressed in another way than numpy's"):
        read(content)


@pytest.mark.parametrize("as_file", [lambda s: npz(**s), pickle.dumps, lambda s: pickle.dumps({"fid": s})])
def test_another_network_is_noticed_by_its_width(as_file: Any) -> None:
    with pytest.raises(ValueError, match=r"inception, 5 dimensions, can't be read: mu is \[4\] instead of \[5\]"):
        read(as_file(flat()), width=5)
    with pytest.raises(ValueError, match=r"sigma is \[4, 3\] instead of \[4, 4\]"):
        read(as_file(flat(covariance=COVARIANCE[:, :3])))
    with pytest.raises(ValueError, match=r"mu is \[1, 4\] instead of \[4\]"):
        read(as_file(flat(MEAN[None])))


def test_numbers_that_are_not_finite_are_counted() -> None:
    spoilt, infinite = MEAN.copy(), COVARIANCE.copy()
    spoilt[1], infinite[2, :2] = np.nan, np.inf
    with pytest.raises(ValueError, match="1 of 4 numbers of mu are not finite"):
        read(npz(**flat(spoilt)))
    with pytest.raises(ValueError, match="2 of 16 numbers of sigma are not finite"):
        read(pickle.dumps(flat(covariance=infinite)))


def test_asymmetry_beyond_rounding_is_refused_and_rounding_is_taken_out() -> None:
    change = np.zeros((WIDTH, WIDTH))
    change[3, 1] = np.abs(COVARIANCE).max()
    with pytest.raises(ValueError, match=r"sigma is not symmetric: two that should agree are .* apart"):
        read(npz(**flat(covariance=COVARIANCE + 2e-6 * change)))
    found = read(npz(**flat(covariance=COVARIANCE + 0.5e-6 * change))).covariance
    assert np.array_equal(found, found.T)
    assert found[1, 3] == pytest.approx(COVARIANCE[1, 3] + 0.25e-6 * change[3, 1], rel=1e-12)


def test_a_matrix_with_negative_eigenvalues_is_no_covariance() -> None:
    values, vectors = np.linalg.eigh(COVARIANCE)
    for lowest, is_rounding in ((-2e-6, False), (-0.5e-6, True), (-1.0, False)):
        matrix = vectors * np.array([lowest * values[-1], *values[1:]]) @ vectors.T
        matrix = (matrix + matrix.T) / 2
        if is_rounding:
            read(npz(**flat(covariance=matrix)))
        else:
            with pytest.raises(ValueError, match="sigma is no covariance: its eigenvalues go from -"):
                read(npz(**flat(covariance=matrix)))
    with pytest.raises(ValueError, match="sigma is no covariance"):
        read(npz(**flat(covariance=-COVARIANCE)))
    assert not read(npz(**flat(covariance=np.zeros((WIDTH, WIDTH))))).covariance.any()


@pytest.mark.parametrize(
    ("content", "network", "reason"),
    [
        (npz(mean=MEAN, sigma=COVARIANCE), "inception", "has no mu; it holds mean, sigma"),
        (npz(arr_0=MEAN), "inception", "has no mu and no sigma; it holds arr_0"),
        (pickle.dumps({"mu": MEAN}), "inception", "has no array sigma; it holds mu"),
        (pickle.dumps({"mu": MEAN, "sigma": 3}), "inception", "has no array sigma; it holds mu, sigma"),
        (pickle.dumps({"fid": flat()}), "dinov2", "neither mu and sigma nor fd_dinov2; it holds fid"),
        (pickle.dumps({"fid": flat()}), "i3d", "has no array mu and no sigma; it holds fid"),
        (pickle.dumps([MEAN, COVARIANCE]), "inception", "neither mu and sigma nor fid; it holds no names"),
        (pickle.dumps({"fid": {"mu": MEAN}}), "inception", "has no array sigma; it holds mu"),
        (b"mu sigma", "inception", "it is neither an npz file nor a pickle"),
        (b"", "inception", "it is neither an npz file nor a pickle"),
        (npy(COVARIANCE), "inception", "it is neither an npz file nor a pickle"),
    ],
)
def test_a_file_without_the_statistics_says_what_it_has(
    content: bytes, network: FeatureNetworkName, reason: str
) -> None:
    with pytest.raises(
        ValueError, match=rf"given\.file: statistics of {network}, 4 dimensions, can't be read.*{reason}"
    ):
        read(content, network)
