"""Opacities drawn into the lungs of real slices.

With and without them the frame, the scanner and the printing press are the same, so that a network that is to
tell the two apart has to look at the lungs. Ground glass is a veil through which vessels are seen,
consolidation hides them; both like the pleura and the back of the lungs, as COVID-19 does (Bernheim et al.,
Radiology 2020, 10.1148/radiol.2020200463).
"""

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter

from .labels import LESIONS
from .lungs_ladnn import GRID, find_lungs

_ROW, _COLUMN = np.mgrid[0:GRID, 0:GRID].astype(np.float32)
_LEAST_WEIGHT = 0.1
"""Weight of tissue below which an opacity cannot be seen."""
_AIR = 60
"""Grey below which what lies around the lungs is air, not tissue."""


def draw_opacities(grey: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Draw ground glass, consolidation or both into a slice.

    Args:
        grey: uint8 (H, W), the whole slice or cropped to the lungs.
        generator: Chooses sites, sizes, shapes and density.

    Returns:
        The changed slice, uint8 (H, W), and its lesion labels, (5,) in the order of `LESIONS`: 1 or 0 for
        GGO and Csld, NaN for the others. None where no lungs are found, or the opacities cannot be seen.
    """
    lungs = find_lungs(Image.fromarray(grey))
    if lungs is None:
        return None
    consolidated = generator.random() < 0.4
    ground_glass = not consolidated or generator.random() < 0.6
    weight = _weight(lungs, ground_glass, consolidated, generator)
    if weight.max() < _LEAST_WEIGHT:
        return None
    height, width = grey.shape
    around = grey[np.asarray(Image.fromarray(~lungs).resize((width, height), Image.Resampling.NEAREST))]
    tissue = np.median(around[around > _AIR]) if (around > _AIR).any() else 255
    weight = np.asarray(Image.fromarray(weight).resize((width, height), Image.Resampling.BILINEAR))
    changed = grey + weight * np.maximum(tissue - grey.astype(np.float32), 0)
    labels = np.full(len(LESIONS), np.nan, dtype=np.float32)
    labels[LESIONS.index("GGO")], labels[LESIONS.index("Csld")] = ground_glass, consolidated
    return changed.astype(np.uint8), labels


def _weight(
    lungs: np.ndarray, ground_glass: bool, consolidated: bool, generator: np.random.Generator
) -> np.ndarray:
    """How much of each cell is filled, (128, 128), 0 aerated lung to 1 tissue."""
    draw = generator.uniform
    from_pleura, reach = distance_transform_edt(lungs), draw(2, 14)
    taste = lungs * np.exp(draw(0, 1.5) * _ROW / GRID - from_pleura / reach)
    chance = taste.cumsum(dtype=np.float64)
    radius = np.sqrt(lungs.sum() / np.pi)
    ragged = draw(0.1, 0.35) * _noise(draw(4, 9), generator) + draw(0.05, 0.2) * _noise(
        draw(1.5, 3), generator
    )
    weight = np.zeros((GRID, GRID), dtype=np.float32)
    for _ in range(generator.integers(1, 7)):
        row, column = divmod(int(np.searchsorted(chance, generator.random() * chance[-1])), GRID)
        across, tilt = radius * draw(0.12, 0.45), draw(0, np.pi)
        x, y = _COLUMN - column, _ROW - row
        along = (x * np.cos(tilt) + y * np.sin(tilt)) / across
        aside = (y * np.cos(tilt) - x * np.sin(tilt)) / (across * draw(0.5, 1))
        distance = np.hypot(along, aside) + ragged
        if ground_glass:
            weight = np.maximum(weight, draw(0.2, 0.7) * np.clip((1.05 - distance) / draw(0.15, 0.8), 0, 1))
        if consolidated:
            weight = np.maximum(weight, draw(0.8, 1) * np.clip((draw(0.4, 0.8) - distance) / 0.3, 0, 1))
    grain = 1 + draw(0, 0.35) * _noise(draw(0.7, 1.5), generator)
    return np.clip(weight * np.clip(grain, 0.3, 1.6), 0, 1) * lungs


def _noise(sigma: float, generator: np.random.Generator) -> np.ndarray:
    """Noise of unit variance, smooth over `sigma` cells."""
    smooth = gaussian_filter(generator.standard_normal((GRID, GRID), dtype=np.float32), sigma)
    return smooth / smooth.std()
