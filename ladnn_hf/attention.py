"""Pictures of where the model saw COVID or a lesion."""

import numpy as np
from PIL import Image

HEAT_COLOUR = (255, 90, 0)
"""Orange: it stands out from grey and is told apart by colour-blind readers."""
_FULL_SCALE = 4.0
"""Logits that are drawn at full strength at least: a map whose evidence is weak stays faint."""


def overlay(
    grey: Image.Image,
    activation_map: np.ndarray,
    box: tuple[float, float, float, float] | None = None,
    opacity: float = 0.6,
) -> Image.Image:
    """Lay a class activation map over its slice.

    What speaks for the class is drawn, in proportion to its logit; what speaks against it is not.

    Args:
        grey: The slice, mode `L`.
        activation_map: (h, w), one of `Prediction.maps`, in logits.
        box: `Prediction.box`, the part of the slice that the map is of; None for the whole.
        opacity: Of the strongest place, in [0, 1].

    Returns:
        An RGB picture of the slice's size.
    """
    evidence = np.maximum(activation_map, 0.0).astype(np.float32)
    left, upper, right, lower = (round(edge) for edge in box or (0, 0, *grey.size))
    heat = Image.fromarray(evidence / max(float(evidence.max()), _FULL_SCALE))
    heat = np.asarray(heat.resize((right - left, lower - upper), Image.Resampling.BICUBIC)).clip(0, 1)
    mask = Image.new("L", grey.size)
    mask.paste(Image.fromarray((255 * opacity * heat).astype(np.uint8)), (left, upper))
    return Image.composite(Image.new("RGB", grey.size, HEAT_COLOUR), grey.convert("RGB"), mask)
