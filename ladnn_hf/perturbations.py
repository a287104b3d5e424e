"""Changes of a grey slice that keep its diagnosis or take it away: they show what a model reads."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageOps
from scipy.ndimage import binary_dilation

from .lungs_ladnn import find_lungs, lung_box

_MARGIN = 3
"""Cells of the lung mask by which blacking out reaches beyond the lungs, and as many more of tissue that give
the grey to fill them with."""


@dataclass(frozen=True)
class Perturbation:
    """A change that leaves the diagnosis as it is, and what a lower score after it would show."""

    name: str
    title: str
    shows: str
    change: Callable[[Image.Image], Image.Image | None]
    """From a slice of mode `L` to the changed one; None where it needs lungs and finds none."""


def reencode(grey: Image.Image, kind: str, quality: int = 75) -> Image.Image:
    """Save a slice once more and read it again.

    Args:
        grey: Mode `L`.
        kind: Pillow's name of the format, `PNG` or `JPEG`.
        quality: Of a JPEG, 1 to 95.
    """
    buffer = io.BytesIO()
    grey.save(buffer, kind, quality=quality)
    with Image.open(buffer) as picture:
        return picture.convert("L")


def crop(grey: Image.Image, share: float) -> Image.Image:
    """Cut a share of the width and of the height off each side."""
    width, height = grey.size
    left, upper = round(share * width), round(share * height)
    return grey.crop((left, upper, width - left, height - upper))


def crop_to_lungs(grey: Image.Image) -> Image.Image | None:
    """Cut away all but the box around the lungs; None where there are none."""
    box = lung_box(grey)
    return None if box is None else _cut(grey, box)


def pad(grey: Image.Image, share: float, fill: int) -> Image.Image:
    """Add a share of the width and of the height on each side, of one grey, 0 to 255."""
    width, height = grey.size
    return ImageOps.expand(grey, (round(share * width), round(share * height)), fill)


def rotate(grey: Image.Image, degrees: float) -> Image.Image:
    """Turn a slice anticlockwise within its frame; corners are filled with black."""
    return grey.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=0)


def black_out_lungs(grey: Image.Image, *, cropped: bool = False) -> Image.Image | None:
    """Fill the lungs, and a little around them, with the median grey of the tissue around.

    Consolidation that is as bright as the chest wall is no part of the lungs that are found, and stays.

    Args:
        grey: Mode `L`.
        cropped: Whether to cut away all but the box around the lungs, which a model that crops to them
            can no longer find.

    Returns:
        The slice without lungs; None where none are found.
    """
    lungs = find_lungs(grey)
    if lungs is None:
        return None
    filled = _without(grey, lungs)
    return _cut(filled, lung_box(grey)) if cropped else filled


def swap_lungs(grey: Image.Image, other: Image.Image) -> Image.Image | None:
    """Put the lungs of another slice in the place of a slice's own, scaled into the box of these.

    Args:
        grey: Mode `L`, the slice that keeps its chest wall and frame.
        other: Mode `L`, the slice whose lungs are pasted.

    Returns:
        None where lungs are missing in either.
    """
    own, pasted = find_lungs(grey), find_lungs(other)
    if own is None or pasted is None:
        return None
    left, upper, right, lower = _box(own, grey.size)
    size, source = (right - left, lower - upper), _box(pasted, other.size)
    swapped = _without(grey, own)
    swapped.paste(
        other.resize(size, Image.Resampling.BILINEAR, source),
        (left, upper),
        _resized(pasted, other.size).resize(size, Image.Resampling.NEAREST, source),
    )
    return swapped


def _cut(grey: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    return grey.crop(tuple(map(round, box)))


def _without(grey: Image.Image, lungs: np.ndarray) -> Image.Image:
    filled = binary_dilation(lungs, iterations=_MARGIN)
    around = binary_dilation(filled, iterations=_MARGIN) & ~filled
    inside, tissue = (np.asarray(_resized(mask, grey.size)) > 0 for mask in (filled, around))
    values = np.array(grey)
    values[inside] = np.median(values[tissue]) if tissue.any() else 0
    return Image.fromarray(values)


def _resized(mask: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A mask over the whole picture at the picture's own size: mode `L`, 0 or 255."""
    return Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)


def _box(mask: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    return _resized(mask, size).getbbox()


PERTURBATIONS = (
    Perturbation(
        "reencoded_png",
        "saved again as PNG",
        "Nothing may change: PNG keeps every grey.",
        partial(reencode, kind="PNG"),
    ),
    *(
        Perturbation(
            f"reencoded_jpeg_{quality}",
            f"saved again as JPEG, quality {quality}",
            "What is lost was read from compression or sharpness.",
            partial(reencode, kind="JPEG", quality=quality),
        )
        for quality in (90, 75, 50)
    ),
    *(
        Perturbation(
            f"cropped_{round(100 * share)}",
            f"cropped by {share:.0%} on each side",
            "What is lost was read from the frame or the field of view.",
            partial(crop, share=share),
        )
        for share in (0.05, 0.10)
    ),
    Perturbation(
        "cropped_to_lungs",
        "cropped to the lungs",
        "What is lost was read from outside the lungs' box, or from the field of view.",
        crop_to_lungs,
    ),
    *(
        Perturbation(
            f"padded_{name}",
            f"padded by 10% {name} on each side",
            "What is lost was read from the frame or the field of view.",
            partial(pad, share=0.10, fill=fill),
        )
        for name, fill in (("black", 0), ("white", 255))
    ),
    *(
        Perturbation(
            f"rotated_{name}_10",
            f"rotated by {degrees:+d}°".replace("-", "−"),
            "What is lost was read from how the patient lies in the frame.",
            partial(rotate, degrees=degrees),
        )
        for name, degrees in (("plus", 10), ("minus", -10))
    ),
)
"""The changes of the score table, in its order; all but the re-encodings keep the decoded greys."""
