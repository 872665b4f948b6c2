"""Clean-up: the first error stands, and a clean-up that fails after sound work is an error."""

from __future__ import annotations

import pytest

from orchestration.common.cleanup import always


def failing() -> None:
    raise PermissionError("cannot be removed")


def test_the_first_error_stands_and_the_clean_ups_is_a_note() -> None:
    with pytest.raises(ValueError, match="what ended it") as caught, always(failing):
        raise ValueError("what ended it")
    assert caught.value.__notes__ == ["Cleaning up failed too: PermissionError: cannot be removed"]
    assert caught.value.__context__ is None


def test_several_clean_ups_are_all_made_and_noted() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt) as caught, always(lambda: done.append("last")), always(failing):
        raise KeyboardInterrupt
    assert done == ["last"]
    assert len(caught.value.__notes__) == 1


def test_after_sound_work_the_clean_ups_error_is_raised() -> None:
    with pytest.raises(PermissionError, match="cannot be removed"), always(failing):
        pass
