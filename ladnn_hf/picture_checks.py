"""Simple checks that tell a picture of something else from a CT slice: numpy and Pillow alone.

Their limits leave a margin to what the training and validation splits of COVID-CT and SARS-CoV-2-CT hold:
there at most 6 in 100 pixels are coloured (drawn boxes and arrows), and at least 0.54 of the variance is
coarse.
"""

import numpy as np
from PIL import Image, ImageChops, ImageFilter

_LEAST_CONTRAST = 16
"""Least difference between the darkest and the brightest grey of a slice."""
_COLOURED = 0.12
"""Largest share of coloured pixels in a slice."""
_COARSE = 0.5
"""Least share of a slice's variance that is left when it is blurred."""
_COLOUR = 48
"""Most greys by which the channels of a pixel differ that does not count as coloured."""
_SIDE = 256
"""Longest side in pixels of the picture that is checked."""
_WITHOUT_LUNGS = 0.7
"""Share of the limit up to which a picture is answered in which no lungs are found. Of slices 1 in 100
has none that are found, filled as they are, and most of these lie nearer; an abdomen seldom does."""


def why_blank(grey: Image.Image) -> str | None:
    """Why a picture shows nothing, or None where it shows something.

    Args:
        grey: Mode `L`, any size.
    """
    pixels = np.asarray(grey)  # of which numpy finds the ends faster than Pillow
    low, high = pixels.min(), pixels.max()
    if int(high) - int(low) < _LEAST_CONTRAST:
        return (
            f"expected a chest CT slice, found a blank picture (grey {low} to {high} of 255); give a slice "
            "in its lung window."
        )
    return None


def why_unlike_ct(picture: Image.Image, grey: Image.Image) -> str | None:
    """Why a picture is no CT slice, or None where it may be one.

    Finds coloured pictures, and text, noise and line drawings; a grey photograph or X-ray passes.

    Args:
        picture: The picture as decoded.
        grey: The same in mode `L`.
    """
    coloured = _coloured(picture)
    if coloured > _COLOURED:
        return (
            f"expected a chest CT slice, found a coloured picture ({coloured:.0%} of its pixels); give the "
            "slice in grey."
        )
    coarse = _coarse(grey)
    if coarse < _COARSE:
        return (
            "expected a chest CT slice, found fine structure as in text, noise or a drawing "
            f"({1 - coarse:.0%} of the variance); give the slice alone."
        )
    return None


def limit_of(max_distance: float, has_lungs: bool) -> float:
    """The distance beyond which a picture is refused.

    Args:
        max_distance: `LaDnnConfig.max_distance`.
        has_lungs: Whether lungs are found in it, or were not looked for.
    """
    return max_distance if has_lungs else _WITHOUT_LUNGS * max_distance


def why_far(distance: float, limit: float, *, has_lungs: bool, inverse_is_near: bool) -> str:
    """Why a picture beyond its limit is refused.

    Args:
        distance: `LaDnnOutput.distance` of the picture.
        limit: Its `limit_of`.
        has_lungs: As there.
        inverse_is_near: Whether the picture with its greys inverted lies within the limit of that one.
    """
    if inverse_is_near:
        return "expected a chest CT slice, found an inverted picture, with bright lungs; invert its greys."
    if not has_lungs:
        return (
            "expected a chest CT slice, found a picture with no lungs to be seen, unlike those that the "
            f"model has learned from (distance {distance:.2f}, limit {limit:.2f}); give an axial slice in "
            "its lung window."
        )
    return (
        "expected a chest CT slice, found a picture unlike those that the model has learned from (distance "
        f"{distance:.2f}, limit {limit:.2f}); give an axial slice in its lung window."
    )


def _coloured(picture: Image.Image) -> float:
    if picture.mode not in ("RGB", "RGBA", "P", "CMYK", "YCbCr", "LAB", "HSV"):
        return 0.0
    small = picture.convert("RGB")
    if not any(_spread(small)[1:]):  # grey, kept in three channels: the most usual, and need not be shrunk
        return 0.0
    small.thumbnail((_SIDE, _SIDE))
    counts = _spread(small)
    return sum(counts[_COLOUR + 1 :]) / sum(counts)


def _spread(picture: Image.Image) -> list[int]:
    """How many pixels of an RGB picture have channels that differ by 0, 1, ... 255."""
    red, green, blue = picture.split()
    highest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    lowest = ImageChops.darker(ImageChops.darker(red, green), blue)
    return ImageChops.subtract(highest, lowest).histogram()


def _coarse(grey: Image.Image) -> float:
    """The share of the variance that a blur by 3 of 256 pixels leaves."""
    scale = _SIDE / max(grey.size)
    size = tuple(max(32, round(side * scale)) for side in grey.size)
    small = grey.resize(
        size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR, reducing_gap=1
    )
    blurred = small.reduce(2).filter(
        ImageFilter.GaussianBlur(1.5)
    )  # what is blurred needs a quarter of the pixels
    return _variance(blurred) / max(_variance(small), 1e-6)


def _variance(grey: Image.Image) -> float:
    counts, greys = np.array(grey.histogram()), np.arange(256)
    return float(np.average((greys - np.average(greys, weights=counts)) ** 2, weights=counts))
