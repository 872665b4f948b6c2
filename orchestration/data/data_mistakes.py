"""Mistakes in data sections and the datasets that they name, each at the key that gave it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

from dfm_core.catalog.datasets import DATASETS
from dfm_core.config.data import DataConfig
from orchestration.common.errors import known_names
from orchestration.config.datasets import DatasetAlias, DatasetConfig
from orchestration.config.files import unknown_dataset
from orchestration.config.runtime import RuntimeConfig

KeyProblem = tuple[str, str]
"""(key, message)."""
_MOST_CLASSES = 10
"""Classes that a message names."""


class MistakenKeysError(ValueError):
    """Mistakes at keys of their own, whatever names what they are in."""

    def __init__(self, problems: Iterable[KeyProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{key}: {message}" for key, message in self.problems))


def unusable(data: DataConfig, key: str, reason: str) -> MistakenKeysError:
    """Return the error that a dataset's key says something that cannot be used."""
    return MistakenKeysError([(f"datasets.{data.dataset}.{key}", f"cannot be used: {reason}")])


def other_classes(config: DatasetConfig, training: Sequence[str], reference: Sequence[str]) -> str:
    """Return the message that training files and reference have different classes."""
    alone = [sorted(set(one) - set(other)) for one, other in ((training, reference), (reference, training))]
    only = "; ".join(
        f"only in {key}: {', '.join(names[:_MOST_CLASSES])}{' and more' if len(names) > _MOST_CLASSES else ''}"
        for key, names in zip(("files", "reference"), alone, strict=True)
        if names
    )
    case = [{name.lower() for name in names} for names in alone]
    how = " (they differ in case alone)" if case[0] == case[1] else ""
    return f"{config.reference} has other classes than {config.files}: {only}{how}; both must have the same"


def alias_key(name: str, given: DataConfig, key: str) -> str:
    """Return the key that gave a setting: the alias's where the data section leaves it to the alias."""
    section, _, setting = key.partition(".")
    own = {one.name for one in fields(DatasetAlias)}
    if section != "data" or setting not in own:
        return key
    is_given = setting != "dataset" and getattr(given, setting) != getattr(DataConfig(), setting)
    return key if is_given else f"dataset_aliases.{name}.{setting}"


def unknown_names(runtime: RuntimeConfig, data: DataConfig, *, is_alias: bool) -> list[KeyProblem]:
    """Return the names that nothing has. Args: is_alias: of an alias, which stands for files or embedded data alone."""
    problems = []
    paper = [] if is_alias or data.autoencoder else list(DATASETS)
    named = [] if is_alias else [*paper, *runtime.dataset_aliases]
    embedded = [name for name, card in DATASETS.items() if card.path is not None]
    if data.dataset not in (*embedded, *paper, *runtime.datasets):
        problems.append(("data.dataset", unknown_dataset(data.dataset, [*runtime.datasets], named)))
    if data.autoencoder and data.autoencoder not in runtime.autoencoders:
        known = known_names(data.autoencoder, runtime.autoencoders)
        problems.append(("data.autoencoder", f"{data.autoencoder!r} is no autoencoder of the sweep{known}"))
    return problems


def user_settings_of_embedded(data: DataConfig) -> list[KeyProblem]:
    """Return settings of an embedded dataset that only the user's files read."""
    default = DataConfig()
    keys = ("side", "sides", "side_shares", "text", "frames", "stride")
    asked = [key for key in keys if getattr(data, key) != getattr(default, key)]
    if data.mirrored and not data.autoencoder:
        asked.append("mirrored")
    card = DATASETS.get(data.dataset)
    why = "is embedded" if card is None or card.path is not None else "has no files there"
    return [(f"data.{key}", f"is for datasets under datasets:, and {data.dataset} {why}") for key in asked]
