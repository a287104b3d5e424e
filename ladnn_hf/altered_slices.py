"""Slices changed into what is no chest CT slice, from which the gate learns what to refuse."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from .lungs_ladnn import find_lungs

_SIDE = 384
"""Height and width in pixels at which organs are painted."""


def altered(grey: Image.Image, generator: np.random.Generator) -> list[Image.Image]:
    """The slice inverted, half inverted, and, where its lungs are found, without them.

    Args:
        grey: A slice, mode `L`, any size.
        generator: Chooses the half, and the organs that are painted over the lungs.
    """
    lungs = find_lungs(grey)
    without = [] if lungs is None else [_without_lungs(grey, lungs, generator)]
    return [ImageOps.invert(grey), _half_inverted(grey, generator), *without]


def _half_inverted(grey: Image.Image, generator: np.random.Generator) -> Image.Image:
    greys = np.array(grey)
    turned = np.rot90(greys, generator.integers(4))
    half = turned[: len(turned) // 2]
    np.subtract(255, half, out=half)
    return Image.fromarray(greys)


def _without_lungs(grey: Image.Image, lungs: np.ndarray, generator: np.random.Generator) -> Image.Image:
    """Soft tissue, organs and a little gas in place of the lungs: much like an abdomen or a pelvis."""
    slice_ = grey.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    mask = Image.fromarray(255 * lungs.astype(np.uint8)).resize(slice_.size)
    mask = mask.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.GaussianBlur(2))
    greys, inside = np.asarray(slice_), np.asarray(mask) > 127
    air = greys[inside].mean()
    body = greys[~inside & (greys > air + 20)]
    tissue = np.median(body) if body.size else 200.0
    painted = Image.new("L", slice_.size, int(tissue))
    pen = ImageDraw.Draw(painted)
    organs, bubbles = generator.integers(6, 20), generator.integers(0, 5)
    for shade, largest in [(tissue + generator.normal(0, 14), 90) for _ in range(organs)] + [
        (float(greys.min()), 50) for _ in range(bubbles)
    ]:
        left, upper = generator.integers(0, _SIDE - largest, 2).tolist()
        width, height = generator.integers(5, largest, 2).tolist()
        pen.ellipse((left, upper, left + width, upper + height), fill=int(np.clip(shade, 0, 255)))
    noisy = np.asarray(painted.filter(ImageFilter.GaussianBlur(2))) + generator.normal(0, 5, greys.shape)
    return Image.composite(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), slice_, mask)
