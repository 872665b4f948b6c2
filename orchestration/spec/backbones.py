"""Backbones that a sweep's rows start from: described once, and those that the sweep itself trains resolved as rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from dfm_core.catalog.flux import FluxArchitecture
from dfm_core.config import ExperimentConfig
from dfm_core.config.model import BackboneDescription, ModelConfig
from dfm_core.config.rules import broken_rules
from orchestration.common.digests import digest_of
from orchestration.common.errors import Problem, known_names
from orchestration.common.redaction import reason_of
from orchestration.config.backbones import BackboneConfig, BackboneTrainingConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.config.storage import PLANNING_SECONDS
from orchestration.data.backbone_recipe import BackboneRecipe, made_backbone, random_identity, start_snapshot
from orchestration.data.identity import absent_identity
from orchestration.parsing.dotted_keys import flatten
from orchestration.spec.declared_parts import DeclaredRow
from orchestration.tasks.training import train_payload


class RowResolver(Protocol):
    """A sweep as the training of a backbone is resolved in it."""

    @property
    def is_sound(self) -> bool:
        """Nothing in the sections that rows share is wrong."""

    def locate(self, key: str) -> str:
        """Return the place where a key of the sweep was written."""

    def place(self, row: DeclaredRow, key: str) -> str:
        """Return the place where a key of a row's config was written."""

    def resolve(self, row: DeclaredRow) -> tuple[ExperimentConfig | None, list[Problem]]:
        """Return a row's config, or the mistakes in its values."""


@dataclass
class BackboneInspector:
    """Describes backbones, each once, with the recipes of those that have to be trained."""

    runtime: RuntimeConfig | None
    """None: it holds mistakes, and no file is opened."""
    recipes: dict[str, BackboneRecipe] = field(default_factory=dict)
    """Backbones that have to be trained, by identity, as far as a row starts from them."""
    absent: dict[str, str] = field(default_factory=dict)
    """Key -> why its files cannot be used: they are not there yet, and are planned with all the same."""
    _known: dict[str, tuple[BackboneDescription | None, list[Problem]]] = field(default_factory=dict)
    _under_way: list[str] = field(default_factory=list)
    """Backbones whose description waits for another's."""

    def describe(self, rows: RowResolver, config: ExperimentConfig, where: str) -> tuple[ModelConfig, list[Problem]]:
        """Return the model section with the description of what it starts from; unchanged if it names nothing.

        Args: where: the place that a problem with the name itself is told of.
        """
        model = config.model
        if self.runtime is None or model.backbone != "flux" or not model.start:
            return model, []
        if model.start not in self.runtime.backbones:
            known = known_names(model.start, self.runtime.backbones)
            return model, [Problem(where, f"{model.start!r} is no backbone of the sweep{known}")]
        if model.start in self._under_way:
            architecture = self._architecture(self.runtime.backbones[model.start])
            if model.start == self._under_way[-1] and architecture is not None:
                return replace(model, described=BackboneDescription(random_identity("flux"), architecture)), []
            chain = " -> ".join([*self._under_way, model.start])
            return model, [Problem(where, f"starts from itself: {chain}")]
        if model.start not in self._known:
            self._known[model.start] = self._inspect(rows, self.runtime, model.start)
        description, problems = self._known[model.start]
        return replace(model, described=description), problems

    def _architecture(self, backbone: BackboneConfig) -> FluxArchitecture | None:
        return None if backbone.made is None else backbone.made.architecture

    def _inspect(
        self, rows: RowResolver, runtime: RuntimeConfig, name: str
    ) -> tuple[BackboneDescription | None, list[Problem]]:
        backbone, where = runtime.backbones[name], rows.locate(f"backbones.{name}")
        if (backbone.files is None) == (backbone.made is None):
            return None, [Problem(where, "needs either files or made")]
        if backbone.made is not None:
            self._under_way.append(name)
            try:
                return self._made(rows, name, backbone.made, where)
            finally:
                self._under_way.pop()
        try:
            return self._given(runtime, name, backbone), []
        except Exception as error:  # noqa: BLE001  any storage library, any file: the user is told where and why
            reason = reason_of(error, runtime.storage.options).removeprefix("ValueError: ")
            return None, [Problem(f"{where}.files", f"cannot be used: {reason}")]

    def _given(self, runtime: RuntimeConfig, name: str, backbone: BackboneConfig) -> BackboneDescription:
        """Describe given files, as FLUX.1-dev where they are not there yet. Raises: as `describe_backbone`."""
        from orchestration.data.backbone_files import describe_backbone, open_backbone

        assert backbone.files is not None, "what is not made has files"
        try:
            files = open_backbone(backbone.files, runtime.storage.at_most(PLANNING_SECONDS))
        except FileNotFoundError as error:
            self.absent[f"backbones.{name}"] = str(error)
            return BackboneDescription(f"{backbone.kind}:{absent_identity(backbone.files)}", FluxArchitecture())
        return describe_backbone(backbone.kind, files)

    def _made(
        self, rows: RowResolver, name: str, made: BackboneTrainingConfig, where: str
    ) -> tuple[BackboneDescription | None, list[Problem]]:
        """Resolve the training that makes a backbone, as a row of the sweep."""
        if bool(made.start) == (made.architecture is not None):
            return None, [Problem(f"{where}.made", "needs either start, a backbone's name, or architecture")]
        if problems := list(_architecture_problems(made, where)):
            return None, problems
        settings = {"model.backbone": "flux", **dict(flatten(made.settings)), "model.start": made.start or name}
        row = DeclaredRow(name, settings, f"{where}.made.settings")
        config, mistakes = rows.resolve(row)
        if config is None or not rows.is_sound:
            return None, mistakes
        broken = [(key, why) for key, why in broken_rules(config) if not key.startswith(("evaluation.", "sampling."))]
        if config.training.adapter is not None:
            broken.append(("training.adapter", "others cannot start from an adapter: leave it out"))
        if not config.training.steps:
            broken.append(("training.steps", "0 makes nothing: name what it starts from instead"))
        if broken:
            own = f"backbone {name!r}"
            return None, [Problem(rows.place(row, key), message, own) for key, message in broken]
        described = config.model.described
        assert described is not None, "a sound row of flux is described"
        snapshot = (digest_of(train_payload(config, start_snapshot(config))), config.training.steps)
        identity = made_backbone("flux", snapshot)
        self.recipes[identity] = BackboneRecipe(name, config)
        return BackboneDescription(identity, described.architecture), []


def _architecture_problems(made: BackboneTrainingConfig, where: str) -> Iterator[Problem]:
    if made.architecture is not None:
        for key, message in made.architecture.problems():
            yield Problem(f"{where}.made.architecture.{key}", message)
