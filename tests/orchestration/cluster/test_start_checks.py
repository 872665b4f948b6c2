"""What keeps Ray from starting on this machine is told before it is tried."""

from __future__ import annotations

import pytest

from orchestration.cluster.start_checks import interpreter_problems


@pytest.mark.parametrize(
    "executable", ["/home/a b/.venv/bin/python", "/x/it's/python", "/x/$HOME/python", "/x/a;b/python"]
)
def test_an_interpreter_whose_path_a_shell_would_take_apart_is_refused(executable: str) -> None:
    (problem,) = interpreter_problems(executable)
    assert problem.where == executable
    assert "make the virtual environment in a place without spaces" in problem.message


@pytest.mark.parametrize(
    "executable", ["/home/a/.venv/bin/python", "/opt/größer_1.2+x@y/python3.11", "/a,b=c:d/python"]
)
def test_other_interpreters_are_taken(executable: str) -> None:
    assert not list(interpreter_problems(executable))
