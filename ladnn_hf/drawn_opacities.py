"""Opacities drawn into the lungs of real slices.

With and without them the frame, the scanner and the printing press are the same, so that a network that is to
tell the two apart has to look at the lungs. They lie as those of COVID-19 do (Bernheim et al., Radiology
2020, 10.1148/radiol.2020200463): in several patches or a band along the pleura, often towards the back.
Ground glass is a veil through which vessels are seen, thick or not, maybe with the net of crazy paving;
consolidation hides them and may leave bronchi open; septa around either may be thick.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, maximum_filter

from .labels import LESIONS
from .lung_drawing import (
    CELLS,
    COLUMN,
    ROW,
    at_size_of,
    filled,
    lines,
    lungs_to_draw_in,
    noise,
    soft_lungs,
    tissue_around,
)

_LEAST_WEIGHT = 0.1
"""Weight of tissue below which an opacity cannot be seen."""


def draw_opacities(grey: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Draw ground glass, consolidation or both into a slice, and maybe the other lesions with them.

    Args:
        grey: uint8 (H, W), the whole slice or cropped to the lungs.
        generator: Chooses sites, sizes, shapes, density and texture.

    Returns:
        The changed slice, uint8 (H, W), and its lesion labels, (5,) in the order of `LESIONS`, 1 for what was
        drawn and 0 for the others. None where no lungs are found, or the opacities cannot be seen.
    """
    lungs = lungs_to_draw_in(grey)
    if lungs is None:
        return None
    extent = _extent(lungs, generator)
    weight, labels = _filled(extent, generator)
    weight *= soft_lungs(lungs)
    if (weight * lungs).max() < _LEAST_WEIGHT:
        return None
    changed = grey.astype(np.float32)
    if generator.random() < 0.5:
        changed = _with_thick_vessels(changed, extent.veil * (1 - extent.core) * lungs, generator)
    return filled(changed, weight, tissue_around(grey, lungs)), labels


class _Extent(NamedTuple):
    """Where opacities lie, each (256, 256) from 0 to 1."""

    veil: np.ndarray
    core: np.ndarray
    """The middle of the veil, the part that can be consolidated."""


def _extent(lungs: np.ndarray, generator: np.random.Generator) -> _Extent:
    """Some patches, in every fifth slice beside a band along the pleura."""
    draw = generator.uniform
    ragged = draw(0.1, 0.35) * noise(draw(8, 18), generator) + draw(0.05, 0.2) * noise(draw(3, 6), generator)
    from_pleura = distance_transform_edt(lungs).astype(np.float32)
    banded = generator.random() < 0.2
    veil, core = (
        _band(lungs, from_pleura, ragged, generator) if banded else np.zeros((2, CELLS, CELLS), np.float32)
    )
    backwards = draw(0, 2.5) if generator.random() < 0.8 else draw(-1, 0)
    taste = lungs * np.exp(backwards * ROW / CELLS - from_pleura / draw(4, 28))
    chance = taste.cumsum(dtype=np.float64)
    radius, largest = np.sqrt(lungs.sum() / np.pi), draw(0.15, 0.5)
    few = banded or generator.random() < 0.3
    for _ in range(generator.integers(1, 4) if few else generator.integers(2, 13)):
        row, column = divmod(int(np.searchsorted(chance, generator.random() * chance[-1])), CELLS)
        across, tilt = radius * draw(0.08, largest), draw(0, np.pi)
        x, y = COLUMN - column, ROW - row
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
    veil *= np.clip((ROW - start) / 25 + ragged, 0, 1)
    if generator.random() < 0.35:
        veil *= (COLUMN < CELLS / 2) == (generator.random() < 0.5)
    return veil, np.clip(2 * veil - draw(0.4, 1.2), 0, 1)


def _filled(extent: _Extent, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How much of each cell is filled, 0 aerated lung to 1 tissue, and the labels (5,) of what fills it."""
    draw = generator.uniform
    consolidated = generator.random() < 0.4
    ground_glass = not consolidated or generator.random() < 0.6
    paved = ground_glass and generator.random() < 0.35
    open_bronchi = consolidated and generator.random() < 0.35
    thick_septa = generator.random() < 0.25
    grain = np.clip(1 + draw(0, 0.3) * noise(draw(0.8, 3), generator), 0.3, 1.6)
    weight = np.zeros((CELLS, CELLS), np.float32)
    if ground_glass:
        weight = draw(0.12, 0.65) * extent.veil * grain
    if paved:
        net = draw(0.25, 0.5) * lines(draw(2, 4), draw(0.15, 0.3), generator)
        weight = draw(0.6, 1) * weight + net * np.clip(2 * extent.veil, 0, 1)
    if consolidated:
        solid = extent.core * np.clip(grain, 0.8, 1.2)
        if open_bronchi:
            solid *= 1 - draw(0.6, 1) * lines(draw(7, 12), draw(0.08, 0.14), generator)
        weight = np.maximum(weight, solid)
    if thick_septa:
        around = np.clip(2 * gaussian_filter(np.maximum(extent.veil, extent.core), draw(4, 10)), 0, 1)
        septa = draw(0.4, 0.8) * lines(draw(5, 10), draw(0.06, 0.12), generator)
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
    degree = generator.uniform(0.3, 0.8) * at_size_of(values, np.clip(2 * where, 0, 1))
    return values + degree * np.maximum(thick - values, 0)
