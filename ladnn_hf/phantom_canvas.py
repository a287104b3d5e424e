"""What `phantoms` draws with: smooth noise, ellipses, strokes and branching trees, all in millimetres."""

import numpy as np
from PIL import Image, ImageDraw

GRID = 512
"""Every slice is drawn on a grid of this many pixels a side, then resampled to the size asked for."""
FIELD = 350.0
"""Field of view in mm."""
AXIS = ((np.arange(GRID) + 0.5) / GRID - 0.5).astype(np.float32) * FIELD
"""Positions of the grid's rows and columns in mm, zero in the middle."""
X, Y = AXIS[None, :], AXIS[:, None]


def blur(field: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with `sigma` in mm."""
    step = FIELD / GRID
    gain = np.exp(-2 * (np.pi * sigma * np.fft.fftfreq(GRID, step)) ** 2).astype(np.float32)
    spectrum = np.fft.rfft2(field.astype(np.float32))
    return np.fft.irfft2(spectrum * gain[:, None] * gain[: GRID // 2 + 1], s=field.shape)


def noise(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Noise of unit variance, smooth over `sigma` mm."""
    smooth = blur(rng.standard_normal((GRID, GRID), np.float32), sigma)
    return smooth / smooth.std()


def ellipse(x: float, y: float, a: float, b: float, tilt: float = 0.0) -> np.ndarray:
    """Field that is below 1 inside the ellipse; `tilt` is in degrees."""
    cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    u, v = (X - x) * cos + (Y - y) * sin, (Y - y) * cos - (X - x) * sin
    return np.sqrt((u / a) ** 2 + (v / b) ** 2)


def strokes(starts: np.ndarray, ends: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Coverage, from 0 to 1, of round-ended strokes between points in mm."""
    fine = 2
    canvas = Image.new("L", (GRID * fine, GRID * fine))
    pen = ImageDraw.Draw(canvas)
    scale = GRID * fine / FIELD
    lines = (np.concatenate([starts, ends], axis=1) + FIELD / 2) * scale
    for (x0, y0, x1, y1), r in zip(lines.tolist(), (radii * scale).tolist(), strict=True):
        pen.line((x0, y0, x1, y1), fill=255, width=max(1, round(2 * r)))
        if r > 1:
            pen.ellipse((x0 - r, y0 - r, x0 + r, y0 + r), fill=255)
            pen.ellipse((x1 - r, y1 - r, x1 + r, y1 + r), fill=255)
    return np.asarray(canvas.reduce(fine), np.float32) / 255


def curves(paths: list[tuple[np.ndarray, float]], shrink: float = 0.0) -> np.ndarray:
    """Coverage of curves, each given by its points and its radius, less `shrink`, in mm."""
    starts = np.concatenate([points[:-1] for points, _ in paths])
    ends = np.concatenate([points[1:] for points, _ in paths])
    radii = np.concatenate([np.full(len(points) - 1, radius) for points, radius in paths])
    return strokes(starts, ends, radii - shrink)


def mix(hu: np.ndarray, value: np.ndarray | float, weight: np.ndarray) -> None:
    """Paint `value` over `hu` in place, where `weight` from 0 to 1 says how much."""
    hu += weight * (value - hu)


def scatter(rng: np.random.Generator, mask: np.ndarray, count: int, height: float) -> np.ndarray:
    """Random points in `mask`, spread in depth around the slice and as far as the hilum."""
    rows, columns = np.nonzero(mask)
    pick = rng.integers(len(rows), size=count)
    depth = rng.uniform(min(-30, height), max(30, height), count)
    return np.stack([AXIS[columns[pick]], AXIS[rows[pick]], depth], axis=-1)


def grow_tree(roots: np.ndarray, leaves: np.ndarray, twig: float) -> tuple[np.ndarray, ...]:
    """Joins `leaves` to `roots`; returns the starts, ends and radii of the branches.

    Each leaf, nearest to the roots first, is tied to the node that makes the best trade between
    a short twig and a short way home; radii grow from `twig` by Murray's law.
    """
    first = len(roots)
    order = np.argsort(np.linalg.norm(leaves - roots.mean(axis=0), axis=1))
    nodes = np.concatenate([roots, leaves[order]])
    way, load = np.zeros(len(nodes)), np.ones(len(nodes))
    parent = np.zeros(len(nodes), int)
    for i in range(first, len(nodes)):
        offset = nodes[:i] - nodes[i]
        gap = np.sqrt(np.einsum("ij,ij->i", offset, offset))
        parent[i] = np.argmin(gap + 0.6 * way[:i])
        way[i] = way[parent[i]] + gap[parent[i]]
    for i in range(len(nodes) - 1, first - 1, -1):
        load[parent[i]] += load[i]
    return nodes[parent[first:]], nodes[first:], twig * load[first:] ** (1 / 2.65)


def cut(trees: list[tuple[np.ndarray, ...]], least: float = 0, wall: float = 0) -> np.ndarray:
    """Coverage of the slice by the branches above `least` mm in radius, grown by `wall` mm."""
    starts, ends, radii = (np.concatenate(parts) for parts in zip(*trees, strict=True))
    pieces, half_slice = 8, 0.9
    path = starts + np.linspace(0, 1, pieces + 1)[:, None, None] * (ends - starts)
    a, b = path[:-1].reshape(-1, 3), path[1:].reshape(-1, 3)
    radii = np.tile(np.where(radii > least, radii + wall, 0), pieces)
    off = np.maximum(abs(a[:, 2] + b[:, 2]) / 2 - half_slice, 0)  # mm from branch to slice
    hit = off < radii
    return strokes(a[hit, :2], b[hit, :2], np.sqrt(radii[hit] ** 2 - off[hit] ** 2))
