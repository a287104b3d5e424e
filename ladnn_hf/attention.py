"""Pictures of where the model saw COVID or a lesion."""

import numpy as np
from PIL import Image

HEAT_COLOUR = (255, 90, 0)
"""Orange: it stands out from grey and is told apart by colour-blind readers."""
_FULL_SCALE = 4.0
"""Logits that are drawn at full strength at least: a map whose evidence is weak stays faint."""


def heat(activation_map: np.ndarray) -> np.ndarray:
    """How strongly each place speaks for a class; what speaks against it counts as nothing.

    Args:
        activation_map: (h, w), one of `Prediction.maps`, in logits.

    Returns:
        float32 (h, w) in [0, 1].
    """
    evidence = np.maximum(activation_map, 0.0).astype(np.float32)
    return evidence / max(float(evidence.max()), _FULL_SCALE)


def heat_picture(activation_map: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """`heat` as a picture in orange whose transparency is its lack of strength.

    Args:
        activation_map: As for `heat`.
        size: (width, height) in pixels.

    Returns:
        Mode `RGBA`.
    """
    strength = Image.fromarray(heat(activation_map)).resize(size, Image.Resampling.BICUBIC)
    picture = Image.new("RGBA", size, HEAT_COLOUR)
    picture.putalpha(Image.fromarray((255 * np.asarray(strength).clip(0, 1)).astype(np.uint8)))
    return picture


def overlay(
    grey: Image.Image,
    activation_map: np.ndarray,
    box: tuple[float, float, float, float] | None = None,
    opacity: float = 0.6,
) -> Image.Image:
    """Lay a class activation map over its slice.

    Args:
        grey: The slice, mode `L`.
        activation_map: As for `heat`.
        box: `Prediction.box`, the part of the slice that the map is of; None for the whole.
        opacity: Of the strongest place, in [0, 1].

    Returns:
        An RGB picture of the slice's size.
    """
    left, upper, right, lower = (round(edge) for edge in box or (0, 0, *grey.size))
    warm = heat_picture(activation_map, (right - left, lower - upper))
    mask = warm.getchannel("A").point(lambda strength: opacity * strength)
    picture = grey.convert("RGB")
    picture.paste(HEAT_COLOUR, (left, upper), mask)
    return picture
