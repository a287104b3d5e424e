"""Looks for a line of text beside the body, as scanners and viewers burn names into a picture.

A glyph is a bright spot of a letter's size on the dark ground that reaches the picture's edge; a line is
several of one height beside each other. Text over the body is not found, nor is dark text on white.
"""

import numpy as np
from PIL import Image

from .lungs_ladnn import grow, regions

_SIDE = 512
"""Longest side in pixels of the picture that is looked at; text that is unreadable there names nobody."""
_INK = 110
"""Grey above which a pixel is bright."""
_STROKE = 4
"""Half the width in pixels from which something bright is no letter's stroke."""
_HEIGHT = (6, 32)
"""Least and largest height of a glyph in pixels."""
_LEAST_GLYPHS = 4
"""Of a line: marks of a side or a scale have fewer."""
_MOST_GLYPHS = 400
"""That are compared with each other: noise has thousands."""


def doubt_of_text(grey: Image.Image) -> str | None:
    """A sentence where a line of text lies beside the body, else None.

    Args:
        grey: Mode `L`, any size.
    """
    small = grey.copy()
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    bright = np.asarray(small) > _INK
    core = ~grow(~bright, _STROKE)
    ground = ~grow(core, 2 * _STROKE)
    # Few slices have a line of spots at all: what ground reaches the edge need be found in those alone.
    if not (_has_line(bright & ground) and _has_line(bright & _reaches_edge(ground))):
        return None
    return "The slice seems to have text burned into it beside the body; see that it names nobody."


def _has_line(ink: np.ndarray) -> bool:
    return _longest_line(_glyphs(ink)) >= _LEAST_GLYPHS


def _glyphs(ink: np.ndarray) -> np.ndarray:
    """(4, N) left, upper, right and lower ends of what may be glyphs, from left to right."""
    (left, upper, right, lower), area = _boxes(*regions(ink), ink.shape[1] + 1)
    width, height = right - left, lower - upper
    kept = (height >= _HEIGHT[0]) & (height <= _HEIGHT[1]) & (width <= 1.5 * height)
    kept &= area >= 0.12 * width * height
    order = np.argsort(left[kept])[:_MOST_GLYPHS]
    return np.stack([left, upper, right, lower])[:, kept][:, order]


def _reaches_edge(mask: np.ndarray) -> np.ndarray:
    """Its regions that touch the picture's edge."""
    starts, ends, region = regions(mask)
    stride = mask.shape[1] + 1
    (left, upper, right, lower), _ = _boxes(starts, ends, region, stride)
    touching = (left == 0) | (upper == 0) | (right == mask.shape[1]) | (lower == mask.shape[0])
    steps = np.zeros(mask.shape[0] * stride + 1, dtype=np.int8)
    steps[starts[touching[region]]] = 1
    steps[ends[touching[region]]] = -1
    return steps.cumsum(dtype=np.int8)[:-1].reshape(mask.shape[0], stride)[:, :-1] > 0


def _boxes(
    starts: np.ndarray, ends: np.ndarray, region: np.ndarray, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """(4, N) left, upper, right and lower ends of regions given by their runs, and (N,) areas."""
    row, left = np.divmod(starts, stride)
    area = np.bincount(region, ends - starts).astype(int)
    box = np.full((4, len(area)), np.iinfo(np.int64).max)
    for side, values in zip(box, (left, row, -(left + ends - starts), -(row + 1)), strict=True):
        np.minimum.at(side, region, values)
    box[2:] *= -1
    return box, area


def _longest_line(glyphs: np.ndarray) -> int:
    """How many glyphs the longest line has."""
    left, upper, right, lower = glyphs
    height = lower - upper
    gap = left[None] - right[:, None]
    follows = (gap >= -1) & (gap <= height[:, None])
    follows &= np.abs(lower[None] - lower[:, None]) <= np.maximum(1, 0.15 * height[:, None])
    follows &= np.abs(height[None] - height[:, None]) <= 0.35 * height[:, None]
    follows &= left[None] > left[:, None]
    lengths = np.ones(len(left), dtype=int)
    for number in range(len(left)):
        lengths[number] += lengths[follows[:, number]].max(initial=0)
    return lengths.max(initial=0)
