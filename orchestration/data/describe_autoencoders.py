"""Shapes and identities of the autoencoders that a sweep names, given or trained, before anything is encoded."""

from __future__ import annotations

import json
from collections.abc import Callable

from dfm_core.autoencoder_training.config import finetuning_problems
from dfm_core.autoencoders.architecture import architecture_problems
from dfm_core.catalog.autoencoders import ANY_KL, AUTOENCODERS, AutoencoderCard, autoencoder_card, card_from_settings
from dfm_core.config import DataConfig
from dfm_core.config.dataset_card import pixels_card_of
from orchestration.common.errors import nearest
from orchestration.common.urls import is_url
from orchestration.config.datasets import AutoencoderConfig, AutoencoderTrainingConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.absence import absence_text, is_absence
from orchestration.data.autoencoder_recipe import AutoencoderRecipe, InitialAutoencoder
from orchestration.data.data_mistakes import KeyProblem, MistakenKeysError
from orchestration.data.identity import PIXELS, absent_identity
from orchestration.startup.home import expanded


class AutoencoderInspector:
    """Describes autoencoders, each once."""

    def __init__(
        self,
        runtime: RuntimeConfig,
        describe: Callable[[DataConfig], tuple[DataConfig, tuple[KeyProblem, ...]]],
        recipes: dict[str, AutoencoderRecipe],
        absent: dict[str, str],
    ) -> None:
        """Args: describe: describes the data that one is trained on. recipes: receives, by identity, the recipes
        of those that have to be trained. absent: receives, by key, why files that are not there yet cannot be used."""
        self._runtime, self._describe, self._recipes, self._absent = runtime, describe, recipes, absent
        self._known: dict[str, tuple[AutoencoderCard, str]] = {}

    def encoder(self, name: str) -> tuple[AutoencoderCard, str]:
        """Return shapes and identity. Raises: ValueError for settings that do not fit together; storage errors."""
        if not name:
            return AUTOENCODERS[PIXELS], PIXELS
        if name not in self._known:
            config = self._runtime.autoencoders[name]
            if (config.files is None) == (config.made is None):
                raise ValueError("needs either files or made")
            self._known[name] = self._given_or_planned(name) if config.made is None else self._made(name)
        return self._known[name]

    def _given_or_planned(self, name: str) -> tuple[AutoencoderCard, str]:
        """Describe given files, of a kind of one shape also before they are there. Raises: as `_given`."""
        config = self._runtime.autoencoders[name]
        try:
            return self._given(config)
        except Exception as error:
            if config.kind not in AUTOENCODERS or not is_absence(error):
                raise
            reason = absence_text(error, config.files or name, self._runtime.storage.options)
            self._absent[f"autoencoders.{name}"] = reason
            return AUTOENCODERS[config.kind], f"{config.kind}:{absent_identity(config.files or name)}"

    def _given(self, config: AutoencoderConfig) -> tuple[AutoencoderCard, str]:
        """Describe given files. Raises: ValueError; errors of the storage."""
        from dfm_core.autoencoders.identity import CONFIG, identity_of
        from orchestration.data.user_files import autoencoder_folder, open_place

        assert config.files is not None, "what is not made has files"
        with autoencoder_folder(open_place(config.files, self._runtime.storage)) as folder:
            settings = json.loads((folder / CONFIG).read_bytes())
            card, own_card = autoencoder_card(config.kind, settings), card_from_settings(settings)
            if own_card != card:
                raise ValueError(f"its config.json makes other latents ({own_card}) than {config.kind} ({card})")
            return card, identity_of(config.kind, folder)

    def _made(self, name: str) -> tuple[AutoencoderCard, str]:
        """Describe one that is trained here. Raises: ValueError for settings that do not fit together; as `_given`."""
        config = self._runtime.autoencoders[name]
        assert config.made is not None, "what has no files is made"
        made = config.made
        if bool(made.start) == (made.architecture is not None):
            raise ValueError("made needs either start, an autoencoder's name, or architecture")
        if made.data.autoencoder:
            raise ValueError("made.data names an autoencoder, but an autoencoder is trained on pixels")
        data, problems = self._describe(made.data)
        if problems:
            own = f"autoencoders.{name}.made."
            raise MistakenKeysError((f"{own if key.startswith('data.') else ''}{key}", why) for key, why in problems)
        card, initial = self._initial(name, made)
        pixels = pixels_card_of(data)
        broken = [*finetuning_problems(made.training, card, pixels.resolution, pixels.frames)]
        broken += architecture_problems(made.architecture) if made.architecture is not None else []
        if broken:
            raise ValueError("; ".join(f"made: {f'{key} ' if key else ''}{message}" for key, message in broken))
        recipe = AutoencoderRecipe(name, card, made.training, initial, data)
        self._recipes[recipe.identity] = recipe
        return card, recipe.identity

    def _initial(self, name: str, made: AutoencoderTrainingConfig) -> tuple[AutoencoderCard, InitialAutoencoder]:
        kind = self._runtime.autoencoders[name].kind
        if made.architecture is not None:
            if kind != ANY_KL:
                raise ValueError(f"random weights make a {ANY_KL}, no {kind}")
            return made.architecture.card, InitialAutoencoder(kind, architecture=made.architecture)
        if made.start not in self._runtime.autoencoders or made.start == name:
            hint = nearest(made.start, [other for other in self._runtime.autoencoders if other != name])
            raise ValueError(f"made.start {made.start!r} is no other autoencoder of the sweep{hint}")
        before = self._runtime.autoencoders[made.start]
        if before.kind != kind:
            raise ValueError(f"made.start {made.start!r} is a {before.kind}, no {kind}")
        if before.made is not None and before.made.start:
            raise ValueError(f"made.start {made.start!r} is fine-tuned itself: start from what that starts from")
        card, identity = self.encoder(made.start)
        if before.files is None:
            return card, InitialAutoencoder(kind, identity, made_by=self._recipes[identity].digest)
        files = before.files
        if not is_url(files):
            files = str(expanded(files, f"autoencoders.{made.start}.files").absolute())
        return card, InitialAutoencoder(kind, identity, files=files)
