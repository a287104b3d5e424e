"""Findings of other diseases drawn into the lungs of real slices.

A network that has learned drawn opacities alone takes whatever is no clear lung for COVID-19. These show it
what else there is: a mass or nodules, fluid at the back, buds and tiny nodules, a veil as of breathing out or
oedema, and solid patches around the hilum. They carry no label of a lesion.
"""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import distance_transform_edt

from .lung_drawing import (
    CELLS,
    COLUMN,
    ROW,
    filled,
    lines,
    lungs_to_draw_in,
    noise,
    soft_lungs,
    tissue_around,
)

_Finding = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""From lungs on the grid to how much of each cell is filled, 0 aerated lung to 1 tissue."""


def draw_finding(grey: np.ndarray, generator: np.random.Generator) -> np.ndarray | None:
    """Draw a finding of another disease into a slice.

    Args:
        grey: uint8 (H, W), the whole slice or cropped to the lungs.
        generator: Chooses the finding, its sites, sizes, shapes and density.

    Returns:
        The changed slice, uint8 (H, W). None where no lungs are found.
    """
    lungs = lungs_to_draw_in(grey)
    if lungs is None:
        return None
    finding = list(_SHARES)[generator.choice(len(_SHARES), p=list(_SHARES.values()))]
    weight = np.clip(finding(lungs, generator) * soft_lungs(lungs), 0, 1)
    return filled(grey.astype(np.float32), weight, tissue_around(grey, lungs))


def _nodules(lungs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One mass, or up to eight nodules."""
    if generator.random() < 0.5:
        return _blobs(lungs, 1, (6, 24), generator)
    return _blobs(lungs, int(generator.integers(1, 9)), (2, 8), generator)


def _effusion(lungs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Fluid that has sunk to the back of one lung or both, with a level that is bent."""
    draw = generator.uniform
    weight = np.zeros((CELLS, CELLS), np.float32)
    for is_left in [generator.integers(2)] if generator.random() < 0.6 else [0, 1]:
        side = (COLUMN < CELLS / 2) == bool(is_left)
        rows = np.flatnonzero((lungs & side).any(axis=1))
        if not len(rows):
            continue
        level = rows[-1] - draw(0.05, 0.4) * (rows[-1] - rows[0])
        across = COLUMN - COLUMN[lungs & side].mean()
        level = level + draw(-0.25, 0.25) * across - draw(-0.01, 0.003) * np.square(across)
        depth = ROW - level + draw(0, 3) * noise(draw(4, 10), generator)
        weight = np.maximum(weight, draw(0.85, 1) * np.clip(depth / draw(1, 6), 0, 1) * side)
    return weight


def _tiny_nodules(lungs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Buds and nodules of a few pixels, in clusters or everywhere."""
    draw = generator.uniform
    dots = np.clip((noise(draw(0.8, 1.5), generator) - draw(1.4, 2.2)) / 0.5, 0, 1)
    if generator.random() < 0.6:
        dots *= np.clip(noise(draw(12, 30), generator) + draw(-0.5, 0.5), 0, 1)
    return draw(0.4, 0.9) * dots


def _veil(lungs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A smooth veil over all of the lungs, maybe denser at the back: breathing out, or oedema."""
    draw = generator.uniform
    rows = np.flatnonzero(lungs.any(axis=1))
    backwards = np.clip((ROW - rows[0]) / (rows[-1] - rows[0] + 1), 0, 1)
    mosaic = draw(0, 0.5) * noise(draw(10, 30), generator)
    shape = np.clip(draw(0.2, 1) + draw(0, 1) * backwards ** draw(1, 4) + mosaic, 0, 2)
    return draw(0.05, 0.3) * shape


def _central(lungs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Solid patches around the hilum, with bronchi open in them."""
    from_pleura = distance_transform_edt(lungs).astype(np.float32)
    count, taste = int(generator.integers(1, 4)), np.exp(from_pleura / generator.uniform(4, 12))
    patches = _blobs(lungs * taste, count, (6, 22), generator)
    return patches * (1 - generator.uniform(0, 0.5) * lines(generator.uniform(6, 10), 0.12, generator))


_SHARES: dict[_Finding, float] = {
    _nodules: 0.3,
    _effusion: 0.2,
    _tiny_nodules: 0.15,
    _veil: 0.2,
    _central: 0.15,
}


def _blobs(
    taste: np.ndarray, count: int, across: tuple[float, float], generator: np.random.Generator
) -> np.ndarray:
    """Round and ragged, each at a cell drawn in proportion to `taste`, and so many cells in radius."""
    draw = generator.uniform
    chance = taste.cumsum(dtype=np.float64)
    ragged = draw(0.05, 0.3) * noise(draw(2, 6), generator)
    weight = np.zeros((CELLS, CELLS), np.float32)
    for _ in range(count):
        row, column = divmod(int(np.searchsorted(chance, generator.random() * chance[-1])), CELLS)
        radius, edge = draw(*across), draw(0.1, 0.35)
        x, y = COLUMN - column, (ROW - row) * draw(0.8, 1.25)
        distance = np.sqrt(x * x + y * y) / radius + ragged
        weight = np.maximum(weight, draw(0.7, 1) * np.clip((1 - distance) / edge + 0.5, 0, 1))
    return weight
