"""CLIP ViT-B/32, the network of CLIPSIM: features of images and of captions, in one space."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS, FeatureNetworkCard
from dfm_core.catalog.weight_files import GivenFile
from dfm_core.metrics.features.base import MovableNetwork, checked_features
from dfm_core.metrics.features.preprocessing import VIT_SIDE, clip_input
from dfm_core.metrics.features.pretrained import build_pretrained, read_tensors

if TYPE_CHECKING:
    from transformers import CLIPConfig

MAX_TOKENS = 77


class ClipNetwork(MovableNetwork):
    """Projected features, [B, 512] each and not normalised, of 8-bit images and of captions."""

    def __init__(self, model: Any, tokenizer: Any, card: FeatureNetworkCard = FEATURE_NETWORKS["clip"]) -> None:
        super().__init__(model)
        self._tokenizer, self.card = tokenizer, card

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        pooled = self._model.vision_model(pixel_values=clip_input(pixels).to(self._device)).pooler_output
        return checked_features(self.card, {"image": self._model.visual_projection(pooled)}, len(pixels))

    @torch.no_grad()
    def text(self, captions: Sequence[str], *, cut: bool = False) -> Tensor:
        """Return features of captions, [B, 512] float32, in the order given.

        Args: cut: of captions of more than 77 tokens, start and end included, the first 76 and the end are read.
        Raises: ValueError for such captions unless they are cut.
        """
        limits = {"truncation": True, "max_length": MAX_TOKENS} if cut else {}
        token_ids = [self._tokenizer(caption, **limits)["input_ids"] for caption in captions]
        if too_long := [index for index, ids in enumerate(token_ids) if len(ids) > MAX_TOKENS]:
            raise ValueError(
                f"{len(too_long)} of {len(captions)} captions have more than {MAX_TOKENS} tokens: {too_long}; "
                f"the first: {captions[too_long[0]]!r}"
            )
        pooled = self._model.text_model(input_ids=self._padded(token_ids)).pooler_output
        features = {"image": self._model.text_projection(pooled)}
        return checked_features(self.card, features, len(captions))["image"]

    def num_cut(self, captions: Sequence[str]) -> int:
        """Return how many captions have more than 77 tokens, start and end included."""
        return sum(len(self._tokenizer(caption, verbose=False)["input_ids"]) > MAX_TOKENS for caption in captions)

    def _padded(self, token_ids: Sequence[Sequence[int]]) -> Tensor:
        """Token ids, [B, 77]. Padding needs no mask: attention is causal, and the feature is read at the end token."""
        ids = torch.full((len(token_ids), MAX_TOKENS), self._tokenizer.pad_token_id)
        for row, one in enumerate(token_ids):
            ids[row, : len(one)] = torch.tensor(one)
        return ids.to(self._device)


def vit_base_32() -> CLIPConfig:
    """Return the shape of ViT-B/32; 151,277,313 parameters."""
    from transformers import CLIPConfig

    text = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    return CLIPConfig(
        text_config={**text, "vocab_size": 49408, "max_position_embeddings": MAX_TOKENS, "eos_token_id": 49407},
        vision_config={**vision, "image_size": VIT_SIDE, "patch_size": 32},
        projection_dim=512,
    )


def load_clip(files: Mapping[str, GivenFile]) -> ClipNetwork:
    """Return the network and its tokenizer from the user's files.

    Raises: FileNotFoundError or ValueError if a file is missing, its checksum another, or it is not ViT-B/32.
    """
    from transformers import CLIPModel

    card = FEATURE_NETWORKS["clip"]
    content = {needed.role: files[needed.role].read(needed) for needed in card.files}
    path = files["weights"].path
    model = build_pretrained(CLIPModel, vit_base_32(), read_tensors(content["weights"], path), path)
    return ClipNetwork(model, build_tokenizer(content["vocabulary"], content["merges"]), card)


def build_tokenizer(vocabulary: bytes, merges: bytes) -> Any:
    """CLIP's tokenizer from the content of vocab.json and merges.txt."""
    from transformers import CLIPTokenizer

    lines = [line for line in merges.decode().splitlines() if line and not line.startswith("#version")]
    pairs = [tuple(line.split(" ")) for line in lines]
    return CLIPTokenizer(vocab=json.loads(vocabulary), merges=pairs)
