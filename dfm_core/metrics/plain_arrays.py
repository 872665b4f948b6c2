"""Arrays of numbers out of npz files and pickles of unknown origin. Nothing that such a file says is executed.

A pickle is a program that names functions and calls them. Here every name that arrays need stands for a function of
this module that checks what it is given; any other name ends the reading. numpy itself is called with checked values.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np

from dfm_core.metrics.scores.moments import Array

_NPY_HEADER_BYTES = 10_000
"""numpy's own limit for a header."""
_MOST_STEPS = 10_000
"""Longest program of a pickle; two arrays in a dictionary take about 50 steps."""
_HEADER_READERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(content: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Return the arrays of these names as float64; other content of the file is not touched.

    No more is decompressed than arrays of these shapes hold, whatever the file declares.

    Raises: ValueError with the array's shape if it is another one, or if the file has no such array of real numbers;
    zipfile.BadZipFile, zlib.error and the like if it is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        held = [name.removesuffix(".npy") for name in archive.namelist()]
        if missing := sorted(set(shapes) - set(held)):
            raise ValueError(f"has no {' and no '.join(missing)}; it holds {', '.join(held[:10]) or 'nothing'}")
        return {name: _read_npy(archive, name, shape) for name, shape in shapes.items()}


def _read_npy(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> Array:
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Others are decompressed without a bound.
        raise ValueError(f"{name} is compressed in another way than numpy's")
    with archive.open(member) as file:
        data = file.read(8 * math.prod(shape) + _NPY_HEADER_BYTES)
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADER_READERS:
        raise ValueError(
            f"{name} has version {version} of the npy format; known: {', '.join(map(str, _HEADER_READERS))}"
        )
    found, fortran, dtype = _HEADER_READERS[version](stream)
    require_shape(name, found, shape)
    return _array(shape, dtype, data[stream.tell() :], fortran).astype(np.float64)


def require_shape(name: str, found: tuple[int, ...], needed: tuple[int, ...]) -> None:
    """Raises: ValueError with both."""
    if found != needed:
        raise ValueError(f"{name} is {list(found)} instead of {list(needed)}")


def _array(shape: tuple[int, ...], dtype: np.dtype[Any], data: bytes | bytearray, fortran: bool) -> np.ndarray:
    """An array over these bytes. Raises: ValueError if it would not be one of real numbers, or not have that size."""
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise ValueError(f"an array of {str(dtype)!r}: only real numbers of 64 bits at most are read")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array {list(shape)} of {dtype} has {len(data)} bytes: it is cut off or damaged")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def read_pickle(content: bytes) -> object:
    """Return the content of a pickle of dictionaries, lists, numbers, strings and arrays; arrays as `PickledArray`.

    Raises: pickle.UnpicklingError with the name of what it would call; ValueError, EOFError and the like if it is
    damaged.
    """
    for step, (operation, argument, _) in enumerate(pickletools.genops(content)):
        # A place in the memo is an index, for which Python would make room.
        place = int(argument or 0) if operation.name.endswith("PUT") else 0
        if max(step, place) > _MOST_STEPS:
            raise pickle.UnpicklingError(f"it takes more than {_MOST_STEPS} steps or places, which no arrays need")
    return _ArraysOnly(io.BytesIO(content)).load()


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which no array needs; nothing was executed")
        return _STAND_INS[module, name]


class PickledArray:
    """A numpy array or scalar, as a pickle describes it: made empty, then given its state."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _described(shape, dtype, data, bool(fortran))


class _PickledDtype:
    """A dtype, as a pickle describes it."""

    __slots__ = ("value",)

    def __init__(self, code: str) -> None:
        if not re.fullmatch("f[248]|[iu][1248]|b1", code):
            raise ValueError(f"it holds an array of dtype {code!r}: only real numbers of 64 bits at most are read")
        self.value = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError(f"{state[1]!r} is no byte order")
        self.value = self.value.newbyteorder(state[1])


class _StandIn(NamedTuple):
    """Stand-in for a name in a pickle. A tuple, since a pickle can set attributes of the objects that it names."""

    make: Callable[..., object]

    def __call__(self, *arguments: object) -> object:
        return self.make(*arguments)


def _described(shape: Any, dtype: Any, data: Any, fortran: bool) -> np.ndarray:
    is_shape = isinstance(shape, tuple) and all(isinstance(size, int) and size >= 0 for size in shape)
    if not (is_shape and isinstance(dtype, _PickledDtype) and isinstance(data, bytes | bytearray)):
        raise ValueError("it holds an array without shape, dtype and bytes")
    return _array(shape, dtype.value, data, fortran)


def _ndarray(*_: object) -> NoReturn:
    raise ValueError("it calls numpy.ndarray itself")


def _reconstruct(subtype: object, shape: object, _code: object) -> PickledArray:
    if subtype is not _NDARRAY or shape != (0,):
        raise ValueError("it holds an array of another class than numpy.ndarray, or one that is not made empty")
    return PickledArray()


def _dtype(code: str, _align: object = False, _copy: object = True) -> _PickledDtype:
    return _PickledDtype(code)


def _scalar(dtype: object, data: object) -> PickledArray:
    array = PickledArray()
    array.value = _described((), dtype, data, False)
    return array


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> PickledArray:
    """Rebuild an array of pickle protocol 5."""
    array = PickledArray()
    array.value = _described(shape, dtype, data, order == "F")
    return array


def _encode(text: str, encoding: str) -> bytes:
    """Encode bytes as protocol 2 writes them."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"it encodes to {encoding!r}")
    return text.encode("latin-1")


def _ordered_dict() -> dict[object, object]:
    return {}


_NDARRAY = _StandIn(_ndarray)
_STAND_INS = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _StandIn(_dtype),
    ("_codecs", "encode"): _StandIn(_encode),
    ("collections", "OrderedDict"): _StandIn(_ordered_dict),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _StandIn(_reconstruct) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _StandIn(_scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _StandIn(_from_buffer) for core in ("core", "_core")},
}
