"""Memory is used again when nobody holds anything of it, and never before."""

from __future__ import annotations

import threading

import numpy as np
import torch

from dfm_core.data.latents.buffers import Buffers


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_that_nobody_holds_is_used_again() -> None:
    buffers = Buffers()
    first = buffers.array((4, 3), np.int16)
    place = address(first)
    del first
    assert address(buffers.array((4, 3), np.int16)) == place


def test_memory_that_was_used_last_comes_first() -> None:
    buffers = Buffers()
    held = [buffers.array((4, 3), np.int16) for _ in range(3)]
    places = [address(array) for array in held]
    while held:
        held.pop(0)
    assert address(buffers.array((4, 3), np.int16)) == places[-1]


def test_memory_is_not_used_again_while_a_part_of_a_tensor_of_it_is_held() -> None:
    buffers = Buffers()
    array = buffers.array((4, 3), np.int16)
    array[:] = 7
    held = torch.from_numpy(array).view(torch.bfloat16)[2:, :1]
    kept = held.clone()
    del array
    others = [buffers.array((4, 3), np.int16) for _ in range(5)]
    for other in others:
        other[:] = 1
    assert torch.equal(held, kept)


def test_another_shape_or_type_has_its_own_memory() -> None:
    buffers = Buffers()
    array = buffers.array((4, 3), np.int16)
    place = address(array)
    del array
    held = [buffers.array((3, 4), np.int16), buffers.array((4, 3), np.uint8)]
    assert [one.shape for one in held] == [(3, 4), (4, 3)]
    assert place not in map(address, held)
    assert address(buffers.array((4, 3), np.int16)) == place


def test_memory_is_given_to_one_at_a_time() -> None:
    buffers = Buffers()
    buffers.array((4, 3), np.int16)  # and free at once
    held = [buffers.array((4, 3), np.int16) for _ in range(3)]
    assert len(set(map(address, held))) == 3


def test_little_is_kept_and_sizes_that_nobody_asks_for_make_room() -> None:
    buffers = Buffers()
    held = [buffers.array((size,), np.int16) for size in range(1, 40)]
    del held
    assert len(buffers._free) == 8
    buffers.array((99,), np.int16)
    assert buffers._free[-1].shape == (99,)


def test_threads_never_share_memory() -> None:
    buffers, wrong = Buffers(), []

    def work(value: int) -> None:
        for _ in range(2000):
            array = buffers.array((8,), np.int16)
            array[:] = value
            if (array != value).any():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
