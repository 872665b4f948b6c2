"""Entry point: python -m orchestration.export SWEEP.yaml ROW FOLDER [--dtype bf16] [key=value ...]

Writes a trained row of FLUX as a folder that stock diffusers loads: flow matching as a FluxPipeline, DFM as a pipeline
with its own two files. ROW is the label of a row, or "part / label".
"""

from __future__ import annotations

import sys
from pathlib import Path

# Started as a script, Python puts this folder, not the project, first on the path; the project must be there instead.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [str(_HERE.parent), *(p for p in sys.path if not Path(p).is_absolute() or Path(p).resolve() != _HERE)]

import os  # noqa: E402
from collections.abc import Sequence  # noqa: E402

from orchestration.common.errors import UserError, tell_interruption, tell_mistakes  # noqa: E402
from orchestration.startup.command_line import make_parser, parse  # noqa: E402
from orchestration.startup.program_start import end_program, prepare_program  # noqa: E402


def main(arguments: Sequence[str]) -> int:
    """Export a row. Return the exit code: 0 done, 2 a mistake, 130 interrupted."""
    parser = make_parser("Write a trained FLUX as a pipeline of diffusers.")
    parser.add_argument("sweep", type=Path, help="YAML file of the sweep that trained it")
    parser.add_argument("row", help='label of the row, or "part / label"')
    parser.add_argument("folder", type=Path, help="new or empty")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="those that the sweep was run with")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32", help="of the network's weights")
    parser.add_argument("--seed", type=int, help="one of the sweep's; default: the first")
    options = parse(parser, arguments)
    try:
        # Imported late, so that --help is instant.
        from orchestration.commands.export import export
        from orchestration.spec.layers import find_layers

        layers = find_layers(options.sweep, os.environ)
        told = export(
            options.sweep, options.row, options.folder, options.dtype, options.overrides, layers, options.seed
        )
    except UserError as error:
        return tell_mistakes(error)
    except KeyboardInterrupt:
        return tell_interruption()
    print(told)
    return 0


if __name__ == "__main__":
    prepare_program()
    end_program(main(sys.argv[1:]))
