"""Entry point: python -m orchestration.auth_token

Makes the token of a Ray cluster where there is none, readable to its owner alone, and prints its place, never itself.
"""

from __future__ import annotations

import os
import sys

from orchestration.cluster.token_file import TOKEN_VARIABLE, ensure_token, token_file
from orchestration.common.errors import UserError, tell_mistakes
from orchestration.startup.program_start import prepare_program


def main() -> int:
    """Return the exit code: 0, or 2 if there can be no token."""
    try:
        ensure_token(os.environ)
    except UserError as error:
        return tell_mistakes(error)
    place = TOKEN_VARIABLE if os.environ.get(TOKEN_VARIABLE) else f"{token_file(os.environ)}, mode 0600"
    print(f"The token is in {place}.")
    return 0


if __name__ == "__main__":
    prepare_program()
    sys.exit(main())
