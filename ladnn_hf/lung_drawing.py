"""What drawing into the lungs of a real slice needs: a grid, noise and nets on it, tissue in place of air."""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from .lungs_ladnn import GRID, find_lungs, grow

CELLS = 2 * GRID
"""Height and width of the grid that is drawn on: septa are thinner than a cell in which lungs are found."""
ROW, COLUMN = np.mgrid[0:CELLS, 0:CELLS].astype(np.float32)
_RIM = 4
"""Cells beyond the lungs that are drawn on: no aerated rim is left, and tissue is not changed by it."""
_AIR = 60
"""Grey below which what lies around the lungs is air, not tissue."""


def lungs_to_draw_in(grey: np.ndarray) -> np.ndarray | None:
    """Where the lungs of a slice, uint8 (H, W), are on the grid, bool; None where none are found."""
    found = find_lungs(Image.fromarray(grey))
    return None if found is None else _resized(found, CELLS, CELLS, Image.Resampling.NEAREST)


def soft_lungs(lungs: np.ndarray) -> np.ndarray:
    """Lungs with a rim, 0 to 1, for what is drawn to end at."""
    return gaussian_filter(grow(lungs, _RIM).astype(np.float32), 1)


def tissue_around(grey: np.ndarray, lungs: np.ndarray) -> float:
    """The grey of what lies around the lungs."""
    around = grey[_resized(~lungs, *grey.shape, Image.Resampling.NEAREST)]
    return np.median(around[around > _AIR]) if (around > _AIR).any() else 255


def filled(values: np.ndarray, weight: np.ndarray, tissue: float) -> np.ndarray:
    """A slice, uint8 (H, W), of greys of which a share is tissue.

    Args:
        values: float32 (H, W), what the slice shows.
        weight: On the grid, 0 for what it shows to 1 for tissue, which nothing gets darker by.
        tissue: Its grey.
    """
    changed = values + at_size_of(values, weight) * np.maximum(tissue - values, 0)
    return changed.clip(0, 255).astype(np.uint8)


def at_size_of(grey: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """What is on the grid, at the height and width of a slice."""
    return _resized(cells.astype(np.float32), *grey.shape, Image.Resampling.BILINEAR)


def _resized(values: np.ndarray, height: int, width: int, filter: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(values).resize((width, height), filter))


def lines(sigma: float, width: float, generator: np.random.Generator) -> np.ndarray:
    """A net of lines, 0 to 1: where noise that is smooth over `sigma` cells changes its sign."""
    return np.exp(-np.square(noise(sigma, generator) / width) / 2)


def noise(sigma: float, generator: np.random.Generator) -> np.ndarray:
    """Noise of unit variance, smooth over `sigma` cells; what is smooth is made of fewer cells."""
    step = 4 if sigma >= 8 else 2 if sigma >= 4 else 1
    coarse = generator.standard_normal((CELLS // step, CELLS // step), dtype=np.float32)
    smooth = gaussian_filter(coarse, sigma / step)
    if step > 1:
        smooth = _resized(smooth, CELLS, CELLS, Image.Resampling.BICUBIC)
    return smooth / smooth.std()
