"""From a decoded picture to the network's input and from its outputs to probabilities.

Pillow and numpy alone: every engine (PyTorch, ONNX Runtime), the image processor, training and
evaluation share these functions, so that they cannot differ.
"""

import struct

import numpy as np
from PIL import Image, ImageOps

RESAMPLING = Image.Resampling.BILINEAR
"""Pillow's bilinear filter, which averages when it shrinks."""
_BAD_EXIF = (AttributeError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error)
"""What Pillow raises on EXIF that is not what it says."""


def turn(picture: Image.Image) -> Image.Image:
    """Apply EXIF rotation; a picture whose EXIF cannot be read is taken as it lies."""
    try:
        return ImageOps.exif_transpose(picture)
    except _BAD_EXIF:
        return picture


def to_grey(picture: Image.Image) -> Image.Image:
    """Decode a picture to 8-bit grey (mode `L`), as `transformers.image_utils.load_image` would.

    EXIF rotation is applied and transparency dropped. COVID-CT's positives and negatives differ in
    colour mode; after this step they no longer do.
    """
    turned = turn(picture)
    return turned if turned.mode == "L" else turned.convert("RGB").convert("L")


def apply_window(hu: np.ndarray, level: float = -600.0, width: float = 1500.0) -> np.ndarray:
    """Hounsfield units as 8-bit grey in a window, by default the lung window.

    Args:
        hu: Any shape, in HU.
        level: Middle of the window in HU.
        width: Width of the window in HU.

    Returns:
        uint8 of the same shape: 0 at and below the window's lower edge, 255 at and above its upper.
    """
    grey = np.clip((hu - level) / width + 0.5, 0, 1)
    return (255 * grey).round().astype(np.uint8)


def to_pixel_values(
    grey: Image.Image,
    size: tuple[int, int],
    mean: list[float],
    std: list[float],
    box: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    """Resize a grey picture or a part of it, scale it to [0, 1], normalise it, repeat it over the channels.

    Args:
        grey: Mode `L`, any size.
        size: (height, width) in pixels of the network's input.
        mean: One a channel, in units of [0, 1].
        std: One a channel, likewise.
        box: (left, upper, right, lower) in pixels of the part; None for the whole.

    Returns:
        float32 (C, H, W), C the length of `mean`.
    """
    height, width = size
    if box is not None or grey.size != (width, height):
        grey = grey.resize((width, height), RESAMPLING, box)
    plane = np.asarray(grey, dtype=np.float32) / np.float32(255)
    shape = (-1, 1, 1)
    return (plane - np.float32(mean).reshape(shape)) / np.float32(std).reshape(shape)


def to_probabilities(logits: np.ndarray, lesion_logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COVID and lesion probabilities from `LaDnnOutput`'s logits.

    Args:
        logits: (N, 2).
        lesion_logits: (N, 5).

    Returns:
        (N,) calibrated probability of COVID, and (N, 5) probabilities of the lesions, in [0, 1].
    """
    return _sigmoid(logits[:, 1] - logits[:, 0]), _sigmoid(lesion_logits)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * z))  # tanh does not overflow
