"""Paths of the user made absolute, so that workers in other directories find the same files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from orchestration.common.errors import Problem, UserError
from orchestration.common.urls import is_url
from orchestration.config.files import FileConfig, FileTable
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.config.runtime import RuntimeConfig
from orchestration.startup.home import expanded


def absolute_files(config: RuntimeConfig, environment: Mapping[str, str], directory: Path) -> RuntimeConfig:
    """Return the config with absolute local paths; relative ones start at `directory`, `~` is the user's home.

    Inside a Ray job the working directory is a copy that is thrown away, so relative paths are refused there.

    Raises: UserError with every path that cannot be made absolute.
    """
    problems: list[Problem] = []

    def absolute_place(key: str, given: str) -> str:
        if is_url(given):
            return given
        try:
            path = expanded(given, key)
        except UserError as error:
            problems.extend(error.problems)
            return given
        if not path.is_absolute() and JOB_VARIABLE in environment:
            why = "is relative, but inside a Ray job the working directory is thrown away; give an absolute path"
            problems.append(Problem(key, f"{given!r} {why} or a URL such as s3://bucket/weights.pt"))
        return str(directory / path)

    def absolute(key: str, file: FileConfig) -> FileConfig:
        return replace(file, path=absolute_place(key, file.path))

    def absolute_table(section: str, table: FileTable) -> dict[str, dict[str, FileConfig]]:
        return {
            group: {name: absolute(f"{section}.{group}.{name}.path", file) for name, file in files.items()}
            for group, files in table.items()
        }

    networks = absolute_table("networks", config.networks)
    references = absolute_table("references", config.references)
    datasets = {
        name: replace(
            own,
            files=absolute_place(f"datasets.{name}.files", own.files),
            reference=None if own.reference is None else absolute_place(f"datasets.{name}.reference", own.reference),
        )
        for name, own in config.datasets.items()
    }
    autoencoders = {
        name: own if own.files is None else replace(own, files=absolute_place(f"autoencoders.{name}.files", own.files))
        for name, own in config.autoencoders.items()
    }
    backbones = {
        name: own if own.files is None else replace(own, files=absolute_place(f"backbones.{name}.files", own.files))
        for name, own in config.backbones.items()
    }
    if problems:
        raise UserError(problems)
    files = replace(config, networks=networks, references=references, datasets=datasets)
    return replace(files, autoencoders=autoencoders, backbones=backbones)
