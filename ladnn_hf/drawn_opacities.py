"""Opacities drawn into the lungs of real slices.

With and without them the frame, the scanner and the printing press are the same, so that a network that is to
tell the two apart has to look at the lungs. They lie as those of COVID-19 do (Bernheim et al., Radiology
2020, 10.1148/radiol.2020200463): in several patches or a band along the pleura, often towards the back.
Ground glass is a veil through which vessels are seen, thick or not, maybe with the net of crazy paving;
consolidation hides them and may leave bronchi open; septa around either may be thick.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter, maximum_filter

from .labels import LESIONS
from .lungs_ladnn import GRID, find_lungs, grow

_CELLS = 2 * GRID
"""Height and width of the grid that is drawn on: septa are thinner than a cell in which lungs are found."""
_ROW, _COLUMN = np.mgrid[0:_CELLS, 0:_CELLS].astype(np.float32)
_RIM = 4
"""Cells beyond the lungs that are drawn on: no aerated rim is left, and tissue is not changed by it."""
_LEAST_WEIGHT = 0.1
"""Weight of tissue below which an opacity cannot be seen."""
_AIR = 60
"""Grey below which what lies around the lungs is air, not tissue."""


def draw_opacities(grey: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Draw ground glass, consolidation or both into a slice, and maybe the other lesions with them.

    Args:
        grey: uint8 (H, W), the whole slice or cropped to the lungs.
        generator: Chooses sites, sizes, shapes, density and texture.

    Returns:
        The changed slice, uint8 (H, W), and its lesion labels, (5,) in the order of `LESIONS`, 1 for what was
        drawn and 0 for the others. None where no lungs are found, or the opacities cannot be seen.
    """
    found = find_lungs(Image.fromarray(grey))
    if found is None:
        return None
    lungs = np.asarray(Image.fromarray(found).resize((_CELLS, _CELLS), Image.Resampling.NEAREST))
    extent = _extent(lungs, generator)
    weight, labels = _filled(extent, generator)
    weight *= gaussian_filter(grow(lungs, _RIM).astype(np.float32), 1)
    if (weight * lungs).max() < _LEAST_WEIGHT:
        return None
    changed = grey.astype(np.float32)
    if generator.random() < 0.5:
        changed = _with_thick_vessels(changed, extent.veil * (1 - extent.core) * lungs, generator)
    changed += _at_size_of(grey, weight) * np.maximum(_tissue(grey, found) - changed, 0)
    return changed.clip(0, 255).astype(np.uint8), labels


class _Extent(NamedTuple):
    """Where opacities lie, each (256, 256) from 0 to 1."""

    veil: np.ndarray
    core: np.ndarray
    """The middle of the veil, the part that can be consolidated."""


def _extent(lungs: np.ndarray, generator: np.random.Generator) -> _Extent:
    """Some patches, in every fifth slice beside a band along the pleura."""
    draw = generator.uniform
    ragged = draw(0.1, 0.35) * _noise(draw(8, 18), generator) + draw(0.05, 0.2) * _noise(
        draw(3, 6), generator
    )
    from_pleura = distance_transform_edt(lungs).astype(np.float32)
    banded = generator.random() < 0.2
    veil, core = (
        _band(lungs, from_pleura, ragged, generator) if banded else np.zeros((2, _CELLS, _CELLS), np.float32)
    )
    backwards = draw(0, 2.5) if generator.random() < 0.8 else draw(-1, 0)
    taste = lungs * np.exp(backwards * _ROW / _CELLS - from_pleura / draw(4, 28))
    chance = taste.cumsum(dtype=np.float64)
    radius, largest = np.sqrt(lungs.sum() / np.pi), draw(0.15, 0.5)
    few = banded or generator.random() < 0.3
    for _ in range(generator.integers(1, 4) if few else generator.integers(2, 13)):
        row, column = divmod(int(np.searchsorted(chance, generator.random() * chance[-1])), _CELLS)
        across, tilt = radius * draw(0.08, largest), draw(0, np.pi)
        x, y = _COLUMN - column, _ROW - row
        along = (x * np.cos(tilt) + y * np.sin(tilt)) / across
        aside = (y * np.cos(tilt) - x * np.sin(tilt)) / (across * draw(0.4, 1))
        distance = np.sqrt(along * along + aside * aside) + ragged  # np.hypot takes three times as long
        veil = np.maximum(veil, draw(0.5, 1) * np.clip((1.05 - distance) / draw(0.15, 0.8), 0, 1))
        core = np.maximum(core, draw(0.8, 1) * np.clip((draw(0.3, 0.8) - distance) / 0.3, 0, 1))
    return _Extent(veil, core)


def _band(
    lungs: np.ndarray, from_pleura: np.ndarray, ragged: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Veil and core along the pleura from some height to the back, of both lungs or of one half."""
    draw = generator.uniform
    rows = np.flatnonzero(lungs.any(axis=1))
    start = rows[0] + draw(0.2, 0.75) * (rows[-1] - rows[0])
    thick = draw(4, 30) * np.clip(1 + 1.5 * ragged, 0.1, 3)
    veil = np.clip((thick - from_pleura) / (draw(0.2, 0.8) * thick), 0, 1)
    veil *= np.clip((_ROW - start) / 25 + ragged, 0, 1)
    if generator.random() < 0.35:
        veil *= (_COLUMN < _CELLS / 2) == (generator.random() < 0.5)
    return veil, np.clip(2 * veil - draw(0.4, 1.2), 0, 1)


def _filled(extent: _Extent, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How much of each cell is filled, 0 aerated lung to 1 tissue, and the labels (5,) of what fills it."""
    draw = generator.uniform
    consolidated = generator.random() < 0.4
    ground_glass = not consolidated or generator.random() < 0.6
    paved = ground_glass and generator.random() < 0.35
    open_bronchi = consolidated and generator.random() < 0.35
    thick_septa = generator.random() < 0.25
    grain = np.clip(1 + draw(0, 0.3) * _noise(draw(0.8, 3), generator), 0.3, 1.6)
    weight = np.zeros((_CELLS, _CELLS), np.float32)
    if ground_glass:
        weight = draw(0.12, 0.65) * extent.veil * grain
    if paved:
        net = draw(0.25, 0.5) * _lines(draw(2, 4), draw(0.15, 0.3), generator)
        weight = draw(0.6, 1) * weight + net * np.clip(2 * extent.veil, 0, 1)
    if consolidated:
        solid = extent.core * np.clip(grain, 0.8, 1.2)
        if open_bronchi:
            solid *= 1 - draw(0.6, 1) * _lines(draw(7, 12), draw(0.08, 0.14), generator)
        weight = np.maximum(weight, solid)
    if thick_septa:
        around = np.clip(2 * gaussian_filter(np.maximum(extent.veil, extent.core), draw(4, 10)), 0, 1)
        septa = draw(0.4, 0.8) * _lines(draw(5, 10), draw(0.06, 0.12), generator)
        weight = np.maximum(weight, around * septa)
    present = {
        "GGO": ground_glass, "Csld": consolidated, "CrPa": paved, "AirBr": open_bronchi,
        "InSepThi": thick_septa or paved,
    }  # fmt: skip
    return np.clip(weight, 0, 1), np.array([present[name] for name in LESIONS], dtype=np.float32)


def _with_thick_vessels(values: np.ndarray, where: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The slice with what is bright grown by about one hundredth of its width, to some degree."""
    size = max(2, round(generator.uniform(0.006, 0.016) * values.shape[1]))
    thick = gaussian_filter(maximum_filter(values, size), size / 3)
    degree = generator.uniform(0.3, 0.8) * _at_size_of(values, np.clip(2 * where, 0, 1))
    return values + degree * np.maximum(thick - values, 0)


def _tissue(grey: np.ndarray, lungs: np.ndarray) -> float:
    """The grey of what lies around the lungs."""
    height, width = grey.shape
    around = grey[np.asarray(Image.fromarray(~lungs).resize((width, height), Image.Resampling.NEAREST))]
    return np.median(around[around > _AIR]) if (around > _AIR).any() else 255


def _at_size_of(grey: np.ndarray, cells: np.ndarray) -> np.ndarray:
    height, width = grey.shape
    picture = Image.fromarray(cells.astype(np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def _lines(sigma: float, width: float, generator: np.random.Generator) -> np.ndarray:
    """A net of lines, 0 to 1: where noise that is smooth over `sigma` cells changes its sign."""
    return np.exp(-np.square(_noise(sigma, generator) / width) / 2)


def _noise(sigma: float, generator: np.random.Generator) -> np.ndarray:
    """Noise of unit variance, smooth over `sigma` cells; what is smooth is made of fewer cells."""
    step = 4 if sigma >= 8 else 2 if sigma >= 4 else 1
    coarse = generator.standard_normal((_CELLS // step, _CELLS // step), dtype=np.float32)
    smooth = gaussian_filter(coarse, sigma / step)
    if step > 1:
        smooth = np.asarray(Image.fromarray(smooth).resize((_CELLS, _CELLS), Image.Resampling.BICUBIC))
    return smooth / smooth.std()
