"""The five lesions, drawn into a phantom's lungs where COVID-19 puts them."""

import numpy as np

from .phantom_canvas import AXIS, FIELD, GRID, X, Y, blur, cut, ellipse, grow_tree, mix, noise, scatter

# Patches of each lesion in a lung, and their radius in mm.
_PATCHES = dict(GGO=(3, 24), Csld=(2, 19), CrPa=(2, 27), AirBr=(1, 33), InSepThi=(2, 32))


def draw_lesion(tissue: np.ndarray, name: str, rng: np.random.Generator, lung: np.ndarray) -> None:
    """Paint one of `LESIONS` into the lungs, in place.

    Args:
        tissue: The lungs' own field, in HU.
        name: The lesion.
        rng: Chooses sites and shapes.
        lung: Mask of the lungs.
    """
    patch = _patches(rng, lung, *_PATCHES[name])
    if name in ("GGO", "CrPa"):
        mix(tissue, rng.uniform(-600, -480) + 45 * noise(rng, 2), patch)
    if name in ("Csld", "AirBr"):
        mix(tissue, 20 + 25 * noise(rng, 2), np.sqrt(patch))
    if name == "CrPa":
        mix(tissue, -230, patch * _septa(rng, patch, 6.5, 0.6))
    if name == "InSepThi":
        mix(tissue, -200, patch * _septa(rng, patch, 13, 0.7))
    if name == "AirBr":
        tubes = [_bronchogram(rng, (patch > 0.5) & (side * X > 0)) for side in (-1, 1)]
        mix(tissue, -900, cut(tubes))


def _bronchogram(rng: np.random.Generator, mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """An airway in the plane of the slice that enters `mask` on its medial side."""
    nodes = scatter(rng, mask, 18, 0.0) * [1, 1, 0]
    nodes = nodes[np.argsort(abs(nodes[:, 0]))]
    return grow_tree(nodes[:1], nodes[1:], 0.8)


def _patches(rng: np.random.Generator, lung: np.ndarray, count: int, radius: float) -> np.ndarray:
    """Soft, irregular patches where COVID likes to sit: along the pleura, towards the back."""
    taste = lung * np.exp(Y / 25 + abs(X) / 22) * (blur(lung, 9) < 0.75)
    warp = 0.28 * noise(rng, 6) + 0.14 * noise(rng, 1.5)
    patch = np.zeros((GRID, GRID), np.float32)
    for side in (-1, 1):
        half = side * X > 0
        chance = np.cumsum(taste * half, dtype=np.float64)
        scale = np.sqrt((lung & half).sum() / 30000)
        for _ in range(count):
            site = int(np.searchsorted(chance, rng.random() * chance[-1]))
            x, y = AXIS[site % GRID], AXIS[site // GRID]
            a, b = radius * scale * rng.uniform([0.8, 0.5], [1.2, 0.8])
            distance = ellipse(x, y, a, b, rng.uniform(0, 180)) + warp
            patch = np.maximum(patch, np.clip((1.1 - distance) / 0.35, 0, 1))
    return patch * lung


def _septa(rng: np.random.Generator, patch: np.ndarray, cell: float, width: float) -> np.ndarray:
    """A net of walls, `width` mm thick, around irregular cells about `cell` mm wide."""
    where = np.nonzero(patch)
    warp = 0.2 * noise(rng, 0.35 * cell)[where]
    at = np.stack([AXIS[where[1]] + FIELD / 2, AXIS[where[0]] + FIELD / 2]) / cell + warp
    base = np.floor(at).astype(int)
    seeds = rng.random((2, GRID, GRID))
    near = np.full((2, len(warp)), np.inf)
    for i, j in np.ndindex(3, 3):
        column, row = base[0] + i - 1, base[1] + j - 1
        gap = np.hypot(*(seeds[:, row, column] + [column, row] - at))
        near = np.stack([np.minimum(near[0], gap), np.clip(gap, *near)])
    net = np.zeros_like(patch)
    net[where] = np.exp(-(((near[1] - near[0]) * cell / (2 * width)) ** 2))
    return net
