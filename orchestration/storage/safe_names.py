"""Names that come from data (manifests, records, plans) as parts of paths: none leads out of its directory."""

from __future__ import annotations

_MAX_BYTES = 255  # of a file's name on common file systems


def safe_name(name: object) -> str:
    """Return the name if it names one file or directory without a path. Raises: ValueError for anything else."""
    if (
        not isinstance(name, str)
        or name in ("", ".", "..")
        or any(character in name for character in "/\\\0")
        or len(name.encode(errors="surrogatepass")) > _MAX_BYTES
    ):
        raise ValueError(f"{str(name)[:80]!r} is not the name of a file")
    return name


def safe_join(root: str, relative: str) -> str:
    """Return a path below a root; "" is the root. Raises: ValueError if `relative` is absolute or leaves the root."""
    if relative == "":
        return root
    try:
        return "/".join([root, *map(safe_name, relative.split("/"))])
    except ValueError:
        raise ValueError(f"{relative[:200]!r} is not a path below {root}") from None
