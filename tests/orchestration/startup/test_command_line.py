"""Command lines: what a mistaken one is told."""

from __future__ import annotations

import pytest

from orchestration import sweep


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: sweep\n"),
        (["a.yaml", "--dryrun"], "unrecognized arguments: --dryrun; did you mean '--dry-run'?"),
        (["a.yaml", "--statsu", "--yess"], "did you mean '--status'?; did you mean '--yes'?"),
        (["a.yaml", "--sit=x"], "unrecognized arguments: --sit=x; did you mean '--site'?"),
        (["a.yaml", "--zzzzzzzz"], "unrecognized arguments: --zzzzzzzz\n"),
    ],
)
def test_a_mistaken_option_is_told_with_the_nearest(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        sweep.main(arguments)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err
