"""Where the lungs lie in a grey slice: numpy and Pillow alone, since it is part of the preprocessing.

A slice in any window has lungs that are darker than the chest wall around them. Otsu's threshold (IEEE
Transactions on Systems, Man, and Cybernetics, 1979) parts the two; what is dark and reaches a corner is
the air around the patient. Borders of one grey, which figures and scanners put around a slice, are no
part of it: with them or without, the same lungs are found.
"""

import numpy as np
from PIL import Image

GRID = 128
"""Height and width of the grid on which lungs are looked for."""
_LEAST_PART = 0.012
"""Share of the picture below which a dark region is an airway, a bowel or a shadow."""
_LEAST_LUNGS = 0.04
"""Share of the picture below which what was found is no pair of lungs."""
_LEAST_SIDES = (0.30, 0.25)
"""Least width and height of the lungs' box, in shares of the picture: below it half a lung was missed."""
_CORNER = 3
"""Cells from a corner that count as the corner: scans of printed figures have thin frames."""
_PLAIN = 12
"""Most greys between darkest and brightest in a row or column of a border: scans and JPEG leave a little."""
_MOST_BORDERS = 8
"""Borders within one another that are taken off: a picture drawn to be nothing else has thousands."""
_LEAST_CONTRAST = 32
"""Greys by which lungs are darker than the tissue around them; organs differ by less."""
_REACH = 6
"""Cells over which a gap, a vessel or a lesion at the edge, is closed."""


def find_lungs(grey: Image.Image) -> np.ndarray | None:
    """Find the lungs, vessels and small lesions in them included.

    A lung that a large consolidation fills is missed in part: it is as bright as the chest wall.

    Args:
        grey: A slice, mode `L`, any size.

    Returns:
        bool (128, 128) over the whole picture, whatever its shape; None where there are no lungs.
    """
    left, upper, right, lower = _content(grey)
    lungs = _dark_lungs(grey, (left, upper, right, lower))
    if lungs is None:
        return None
    whole = np.zeros((GRID, GRID), dtype=bool)
    middles = np.arange(0.5, GRID) / GRID
    column = (middles * grey.width - left) * GRID / (right - left)
    row = (middles * grey.height - upper) * GRID / (lower - upper)
    columns, rows = ((0 <= place) & (place < GRID) for place in (column, row))
    whole[np.ix_(rows, columns)] = _closed(lungs)[np.ix_(row[rows].astype(int), column[columns].astype(int))]
    return whole


def lung_box(grey: Image.Image, margin: float = 0.03) -> tuple[float, float, float, float] | None:
    """The box around both lungs.

    Args:
        grey: A slice, mode `L`, any size.
        margin: Added on each side, in shares of the width or height inside the borders.

    Returns:
        (left, upper, right, lower) in pixels, inside the picture; None where there are no lungs.
    """
    content = _content(grey)
    lungs = _dark_lungs(grey, content)
    if lungs is None:
        return None
    columns, rows = np.flatnonzero(lungs.any(axis=0)), np.flatnonzero(lungs.any(axis=1))
    left, upper = columns[0] / GRID, rows[0] / GRID
    right, lower = (columns[-1] + 1) / GRID, (rows[-1] + 1) / GRID
    width, height = content[2] - content[0], content[3] - content[1]
    return (
        content[0] + max(0.0, left - margin) * width,
        content[1] + max(0.0, upper - margin) * height,
        content[0] + min(1.0, right + margin) * width,
        content[1] + min(1.0, lower + margin) * height,
    )


def _content(grey: Image.Image) -> tuple[int, int, int, int]:
    """The box inside borders of one grey, one within another too; the whole of a picture of one grey."""
    pixels = np.asarray(grey)
    box = whole = (0, 0, grey.width, grey.height)
    for _ in range(_MOST_BORDERS):
        left, upper, right, lower = box
        inside = pixels[upper:lower, left:right]
        if all(np.ptp(line) > _PLAIN for line in (inside[0], inside[-1], inside[:, 0], inside[:, -1])):
            break
        columns, rows = (np.flatnonzero(np.ptp(inside, axis=axis) > _PLAIN) for axis in (0, 1))
        if not (len(columns) and len(rows)):
            return whole
        box = (left + columns[0], upper + rows[0], left + columns[-1] + 1, upper + rows[-1] + 1)
    return box


def _dark_lungs(grey: Image.Image, content: tuple[int, int, int, int]) -> np.ndarray | None:
    small = np.asarray(grey.resize((GRID, GRID), Image.Resampling.BOX, content, reducing_gap=None))
    threshold = _otsu(small)
    lungs = _inner_regions(small <= threshold)
    inside = small[small > threshold]
    if lungs is not None or not len(inside):
        return lungs
    # Corners outside a round field of view, or air in a wide window, can be so dark that Otsu parts them from
    # all else: part what is left.
    threshold = _otsu(inside)
    lungs = _inner_regions(small <= threshold)
    if lungs is None or np.median(inside[inside > threshold]) - np.median(small[lungs]) < _LEAST_CONTRAST:
        return None
    return lungs


def _inner_regions(dark: np.ndarray) -> np.ndarray | None:
    """The dark regions that can be lungs, None where together they cannot."""
    starts, ends, region = regions(dark)
    if not len(starts):
        return None
    row, left = np.divmod(starts, GRID + 1)
    right = left + ends - starts
    area = np.bincount(region, ends - starts)
    box = np.full((4, len(area)), GRID)  # left, upper, and the negatives of right and lower
    for side, values in zip(box, (left, row, -right, -(row + 1)), strict=True):
        np.minimum.at(side, region, values)
    width, height = -box[2] - box[0], -box[3] - box[1]
    edge = (row < _CORNER) | (row >= GRID - _CORNER)
    corner = edge & ((left < _CORNER) | (right > GRID - _CORNER))
    outside = np.bincount(region, corner, minlength=len(area)) > 0
    frame = (np.minimum(width, height) > 0.93 * GRID) & (area < 0.35 * width * height)
    kept = (area >= _LEAST_PART * GRID**2) & ~outside & ~frame
    lungs = np.zeros(GRID * (GRID + 1) + 1, dtype=np.int8)
    lungs[starts[kept[region]]] += 1
    lungs[ends[kept[region]]] -= 1
    lungs = lungs.cumsum(dtype=np.int8)[:-1].reshape(GRID, GRID + 1)[:, :GRID].astype(bool)
    sides = lungs.any(axis=0), lungs.any(axis=1)
    if lungs.mean() < _LEAST_LUNGS or any(
        np.ptp(np.flatnonzero(side)) < least * GRID for side, least in zip(sides, _LEAST_SIDES, strict=True)
    ):
        return None
    return lungs


def _otsu(grey: np.ndarray) -> int:
    """The grey that parts dark from bright with the largest variance between the two."""
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    below, moment = counts.cumsum(), (counts * np.arange(256)).cumsum()
    parts = below * (below[-1] - below)
    between = (moment[-1] * below - below[-1] * moment) ** 2 / np.maximum(parts, 1)
    return int(between.argmax())


def regions(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of a mask and the connected region, counted from 0, that each belongs to.

    Runs are `starts` (inclusive) to `ends` (exclusive) in a flat grid whose rows have one column more.
    """
    flat = np.zeros(mask.shape[0] * (mask.shape[1] + 1) + 1, dtype=bool)
    flat[1:].reshape(mask.shape[0], -1)[:, :-1] = mask
    starts, ends = np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2).T  # what starts ends in its row
    stride = mask.shape[1] + 1
    first = np.searchsorted(ends, starts + stride, "right")  # runs of the next row that overlap
    count = np.maximum(np.searchsorted(starts, ends + stride, "left") - first, 0)
    upper = np.repeat(np.arange(len(starts)), count)
    lower = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count) + np.repeat(first, count)
    label = np.arange(len(starts))
    while True:
        smaller = label.copy()
        np.minimum.at(smaller, upper, label[lower])
        np.minimum.at(smaller, lower, label[upper])
        smaller = smaller[smaller]
        if np.array_equal(smaller, label):  # each run has the number of the first of its region
            return starts, ends, (np.cumsum(label == np.arange(len(label))) - 1)[label]
        label = smaller


def _closed(mask: np.ndarray) -> np.ndarray:
    """Morphological closing by a square, with the picture's edge taken for more of the same."""
    padded = np.pad(mask, 2 * _REACH, mode="edge")
    grown = grow(padded, _REACH)
    return ~grow(~grown, _REACH)[2 * _REACH : -2 * _REACH, 2 * _REACH : -2 * _REACH]


def grow(mask: np.ndarray, reach: int) -> np.ndarray:
    """Morphological dilation by a square of 2 reach + 1 cells a side; beyond the edge there is nothing."""
    for _ in range(mask.ndim):
        grown, width = np.pad(mask, ((reach, reach), (0, 0))), 1
        while width <= 2 * reach:  # two looks over `width` cells, apart by a step, are one over more
            step = min(width, 2 * reach + 1 - width)
            grown, width = grown[step:] | grown[:-step], width + step
        mask = grown.T
    return mask
