"""Simple checks that tell a picture of something else from a CT slice.

Their limits leave a margin to what COVID-CT and SARS-CoV-2-CT hold: there at most 6 in 100 pixels are
coloured (drawn boxes and arrows), and at least 0.56 of the variance is coarse.
"""

import cv2
import numpy as np
from PIL import Image

_COLOURED = 0.12
"""Largest share of coloured pixels in a slice."""
_COARSE = 0.5
"""Least share of a slice's variance that is left when it is blurred."""


def unlike_ct(picture: Image.Image, grey: np.ndarray) -> str | None:
    """Why a picture is no CT slice, or None where it may be one.

    Finds coloured pictures, and text, noise and line drawings; a grey photograph or X-ray passes.

    Args:
        picture: The picture as decoded.
        grey: The same as (height, width) greys of 8 bits.
    """
    coloured = _coloured(picture)
    if coloured > _COLOURED:
        return f"expected a grey slice, found a picture of which {coloured:.0%} is coloured."
    coarse = _coarse(grey)
    if coarse < _COARSE:
        return (
            "expected the broad greys of a chest, found fine structure as in text, noise or a drawing "
            f"({1 - coarse:.0%} of the variance)."
        )
    return None


def _coloured(picture: Image.Image) -> float:
    if picture.mode not in ("RGB", "RGBA", "P", "CMYK", "YCbCr", "LAB", "HSV"):
        return 0.0
    small = picture.convert("RGB")
    small.thumbnail((256, 256))
    return float((np.ptp(np.asarray(small), axis=2) > 48).mean())


def _coarse(grey: np.ndarray) -> float:
    scale = 256 / max(grey.shape)
    size = [max(32, round(side * scale)) for side in grey.shape[::-1]]
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return float(cv2.GaussianBlur(small, (0, 0), 3).var() / max(small.var(), 1e-6))
