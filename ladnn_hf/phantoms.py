"""Synthetic axial chest CT slices, drawn by code, that stand in for images of real patients.

Anatomy is laid out in millimetres on the image plane: x grows towards the patient's left (the
right of the image), y towards the back, and both are zero near the middle of the chest.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from .labels import LESIONS

_GRID = 512  # every slice is drawn on this grid, then resampled to the size asked for
_FIELD = 380.0  # field of view in mm
_MM = _GRID / _FIELD  # pixels per mm
_AXIS = ((np.arange(_GRID, dtype=np.float32) + 0.5) / _MM - _FIELD / 2).astype(np.float32)
_X, _Y = _AXIS[None, :], _AXIS[:, None]

_AIR, _FAT, _MUSCLE, _BLOOD, _MARROW, _CORTEX = -1000, -100, 50, 42, 250, 700
_HILUM_LEVEL, _CHEST_HEIGHT = 0.47, 220.0  # the height of the hila; mm from level 0 to level 1


class _Oval(NamedTuple):
    """A superellipse with radii `a` and `b`, narrowed towards the front by `taper`."""

    x: float
    y: float
    a: float
    b: float
    power: float = 2.0
    taper: float = 0.0

    def radius(self, margin: float = 0.0) -> np.ndarray:
        """Field that is below 1 inside the oval grown by `margin` mm."""
        v = (_Y - self.y) / (self.b + margin)
        u = (_X - self.x) / ((self.a + margin) * np.maximum(1 + self.taper * v, 0.2))
        return (abs(u) ** self.power + abs(v) ** self.power) ** (1 / self.power)

    def points(self, degrees: np.ndarray, margin: np.ndarray | float = 0.0) -> np.ndarray:
        """Points on the outline grown by `margin` mm; 0 degrees is lateral, 90 the back."""
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        v = np.sign(sin) * abs(sin) ** (2 / self.power)
        u = np.sign(cos) * abs(cos) ** (2 / self.power) * (1 + self.taper * v)
        return np.stack([self.x + u * (self.a + margin), self.y + v * (self.b + margin)], -1)


class _Organ(NamedTuple):
    """A tilted superellipsoid that spans the levels `low` to `high`."""

    x: float
    y: float
    a: float
    b: float
    tilt: float
    hu: float
    low: float
    high: float

    def mask(self, level: float, grow: float = 0.0) -> np.ndarray | None:
        """Cross-section at `level` grown by `grow` mm, or None where the organ is absent."""
        t = abs(2 * level - self.low - self.high) / (self.high - self.low)
        if t >= 1:
            return None
        scale = (1 - t**3) ** (1 / 3)
        return _ellipse(self.x, self.y, self.a * scale + grow, self.b * scale + grow, self.tilt) < 1


_ORGANS = (
    _Organ(25, -26, 62, 48, 25, _BLOOD, -0.15, 0.52),  # heart
    _Organ(-64, -16, 56, 46, 10, 60, -0.2, 0.14),  # dome of the liver
    _Organ(24, 31, 12, 12, 0, _BLOOD, -0.3, 0.76),  # descending aorta
    _Organ(-13, -30, 16, 16, 0, _BLOOD, 0.36, 0.76),  # ascending aorta
    _Organ(21, -34, 14, 18, -20, _BLOOD, 0.38, 0.62),  # pulmonary trunk
    _Organ(-14, -11, 27, 8, 10, _BLOOD, 0.43, 0.58),  # right pulmonary artery
    _Organ(33, -6, 12, 13, 0, _BLOOD, 0.36, 0.6),  # left pulmonary artery
    _Organ(-36, -8, 10, 13, 0, _BLOOD, 0.34, 0.58),  # right hilum
    _Organ(-36, -24, 9, 9, 0, _BLOOD, 0.42, 0.85),  # superior vena cava
    _Organ(13, -6, 13, 40, -20, _BLOOD, 0.66, 0.82),  # aortic arch
    _Organ(-2, -28, 26, 6, -8, _BLOOD, 0.8, 1.1),  # left brachiocephalic vein
    _Organ(-17, -17, 8, 8, 0, _BLOOD, 0.78, 1.2),  # brachiocephalic artery
    _Organ(13, -14, 5, 5, 0, _BLOOD, 0.78, 1.2),  # left carotid artery
    _Organ(20, 3, 6, 7, 0, _BLOOD, 0.78, 1.2),  # left subclavian artery
    _Organ(7, 24, 8, 6, 0, _MUSCLE, -0.5, 1.5),  # oesophagus
)
_AIRWAYS = (
    _Organ(0, 3, 9, 9.5, 0, -980, 0.56, 1.6),  # trachea
    _Organ(-20, 5, 14, 6, -12, -980, 0.43, 0.6),  # right main bronchus
    _Organ(18, 7, 11, 6, 12, -980, 0.4, 0.58),  # left main bronchus
    _Organ(-29, 5, 5, 5, 0, -980, 0.28, 0.46),  # bronchus intermedius
    _Organ(28, 12, 5, 5, 0, -980, 0.28, 0.44),  # left lower lobe bronchus
)


def draw_phantom_hu(
    findings: Iterable[str] = (), *, level: float = 0.5, size: int = 512, seed: int = 0
) -> np.ndarray:
    """Draws an axial chest CT slice in Hounsfield units.

    Args:
        findings: Lesions to draw, any of `LESIONS`.
        level: Height in the chest, from 0 near the diaphragm to 1 near the apex of the lungs.
        size: Height and width of the slice in pixels, at least 32.
        seed: Chooses the patient; the findings change nothing but the lesions.

    Returns:
        A float32 array of shape (size, size), in HU.
    """
    findings = set(findings)
    if unknown := sorted(findings.difference(LESIONS)):
        raise ValueError(f"findings must be among {', '.join(LESIONS)}, found {unknown}.")
    if not 0 <= level <= 1:
        raise ValueError(f"level must be between 0 and 1, found {level}.")
    if size < 32:
        raise ValueError(f"size must be at least 32 pixels, found {size}.")
    rng = np.random.default_rng(seed)

    apex = max(0.0, (level - 0.55) / 0.45) ** 1.7  # how far the cage has narrowed
    body, cage = _chest_shape(rng, apex)
    hu = np.full((_GRID, _GRID), _AIR, np.float32)
    _draw_table(hu, body)
    _draw_chest_wall(hu, rng, body, cage)
    lung = _draw_mediastinum(hu, rng, cage, level)
    _draw_skeleton(hu, rng, cage, apex)
    _draw_lungs(hu, rng, lung, level, findings, seed)
    hu = _blur(hu, 0.55) + rng.uniform(14, 22) * _noise(rng, 0.6)

    image = Image.fromarray(hu.astype(np.float32))
    if size != _GRID:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(image), -1024, 3071)


def draw_phantom(
    findings: Iterable[str] = (),
    *,
    level: float = 0.5,
    size: int = 512,
    seed: int = 0,
    window_level: float = -600.0,
    window_width: float = 1500.0,
) -> Image.Image:
    """Draws an axial chest CT slice as an 8-bit picture, by default in a lung window.

    Args:
        findings: Lesions to draw, any of `LESIONS`.
        level: Height in the chest, from 0 near the diaphragm to 1 near the apex of the lungs.
        size: Height and width of the picture in pixels, at least 32.
        seed: Chooses the patient; the findings change nothing but the lesions.
        window_level: Middle of the window, in HU.
        window_width: Width of the window, in HU.

    Returns:
        An image of mode "L".
    """
    hu = draw_phantom_hu(findings, level=level, size=size, seed=seed)
    gray = np.clip((hu - window_level) / window_width + 0.5, 0, 1)
    return Image.fromarray((255 * gray).round().astype(np.uint8))


def _blur(field: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with `sigma` in mm."""
    fx, fy = np.fft.rfftfreq(_GRID), np.fft.fftfreq(_GRID)[:, None]
    gain = np.exp(-2 * (np.pi * sigma * _MM) ** 2 * (fx**2 + fy**2)).astype(np.float32)
    return np.fft.irfft2(np.fft.rfft2(field.astype(np.float32)) * gain, s=field.shape)


def _noise(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Smooth noise of unit variance, correlated over `sigma` mm."""
    noise = _blur(rng.standard_normal((_GRID, _GRID), np.float32), sigma)
    return noise / noise.std()


def _ellipse(x: float, y: float, a: float, b: float, tilt: float) -> np.ndarray:
    cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    u, v = (_X - x) * cos + (_Y - y) * sin, (_Y - y) * cos - (_X - x) * sin
    return np.hypot(u / a, v / b)


def _strokes(starts: np.ndarray, ends: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Coverage, from 0 to 1, of round-ended strokes between points in mm."""
    fine = 2
    canvas = Image.new("L", (_GRID * fine, _GRID * fine))
    pen = ImageDraw.Draw(canvas)
    scale = _MM * fine
    lines = (np.concatenate([starts, ends], axis=1) + _FIELD / 2) * scale
    for (x0, y0, x1, y1), r in zip(lines.tolist(), (radii * scale).tolist(), strict=True):
        pen.line((x0, y0, x1, y1), fill=255, width=max(1, round(2 * r)))
        if r > 1:
            pen.ellipse((x0 - r, y0 - r, x0 + r, y0 + r), fill=255)
            pen.ellipse((x1 - r, y1 - r, x1 + r, y1 + r), fill=255)
    return np.asarray(canvas.reduce(fine), np.float32) / 255


def _curve(points: np.ndarray, radius: float) -> np.ndarray:
    return _strokes(points[:-1], points[1:], np.full(len(points) - 1, radius))


def _mix(hu: np.ndarray, value: np.ndarray | float, weight: np.ndarray) -> None:
    hu += weight * (value - hu)


def _chest_shape(rng: np.random.Generator, apex: float) -> tuple[_Oval, _Oval]:
    """The outline of the body and that of the inside of the rib cage."""
    width, depth = rng.uniform(124, 137), rng.uniform(86, 97)
    fat = rng.uniform(3, 14)
    cage = _Oval(
        rng.uniform(-3, 3),
        -6 + 16 * apex,
        width * (1 - 0.36 * apex),
        depth * (1 - 0.38 * apex),
        rng.uniform(2.2, 2.6),
        rng.uniform(0.06, 0.16),
    )
    body = _Oval(0, 2, width + 28 + fat + 8 * apex, depth + 19 + fat - 10 * apex, 2.3, 0.05)
    return body, cage


def _draw_table(hu: np.ndarray, body: _Oval) -> None:
    x = np.linspace(-175, 175, 60)
    top = np.stack([x, body.y + body.b + 7 - 26 * (x / 175) ** 2], axis=-1)
    _mix(hu, -350.0, _curve(top, 1.2))
    _mix(hu, -600.0, _curve(top + [0, 14], 0.8))


def _draw_chest_wall(
    hu: np.ndarray, rng: np.random.Generator, body: _Oval, cage: _Oval
) -> None:
    """Skin, subcutaneous fat and the muscles around the cage, with fat planes among them."""
    ripple = 0.02 * _noise(rng, 14)
    fat = body.a - cage.a - 24
    hu[body.radius() < 1] = _MUSCLE
    hu[body.radius(-2) < 1] = _FAT
    muscle = body.radius(-min(fat, 20) * 0.8) + ripple < 1
    hu[muscle] = _MUSCLE
    plane = cage.radius(15) + 1.5 * ripple
    hu[(abs(plane - 1) < 0.015) & muscle] = _FAT
    hu[(abs(plane - 1.16) < 0.012) & muscle] = _FAT
    hu[(cage.radius(11) < 1) & (_noise(rng, 3) > 0.9)] = _FAT


def _draw_mediastinum(
    hu: np.ndarray, rng: np.random.Generator, cage: _Oval, level: float
) -> np.ndarray:
    """Draws everything between the lungs and returns the mask of the lungs."""
    shift = np.array([cage.x + rng.normal(0, 2.5), rng.normal(0, 2.5)])
    bulk = rng.uniform(0.9, 1.1)

    def vary(organ: _Organ) -> _Organ:
        x, y = shift + rng.normal(0, 1.5, 2)
        return organ._replace(
            x=organ.x * bulk + x,
            y=organ.y * bulk + y,
            a=organ.a * bulk * rng.uniform(0.93, 1.07),
            b=organ.b * bulk * rng.uniform(0.93, 1.07),
            tilt=organ.tilt + rng.normal(0, 5),
        )

    organs = [vary(organ) for organ in _ORGANS]
    airways = [vary(organ) for organ in _AIRWAYS]
    solid = [(o, m) for o in organs if (m := o.mask(level)) is not None]
    tubes = [(o, m) for o in airways if (m := o.mask(level, grow=1.8)) is not None]

    between = abs(_X - shift[0] - 4) < 2 + 10 * np.clip((-_Y - 55) / 40, 0, 1)
    between = between & (_Y < 0) | (abs(_X - shift[0]) < 12) & (_Y > 0)
    between |= _ellipse(cage.x, cage.y + cage.b * 0.62, 21, 26, 0) < 1
    between |= _ellipse(cage.x, cage.y + cage.b * 1.05, 40, 30, 0) < 1
    for _, mask in solid + tubes:
        between |= mask
    inside = cage.radius() + 0.012 * _noise(rng, 10) < 1
    lung = _blur(inside & ~(_blur(between, 3) > 0.25), 2) > 0.5

    hu[inside & ~lung] = _FAT
    for organ, mask in solid:
        hu[mask] = organ.hu
    for organ, mask in tubes:
        hu[mask] = _MUSCLE
        hu[organ.mask(level)] = organ.hu
    return lung


def _draw_skeleton(hu: np.ndarray, rng: np.random.Generator, cage: _Oval, apex: float) -> None:
    """Vertebra, sternum, ribs and, high in the chest, shoulder blades and collar bones."""
    origin = np.array([cage.x, cage.y + 0.62 * cage.b])  # centre of the vertebral body
    front = -1.62 * cage.b - 7
    bones = [
        (origin + [[0, 31], [0, rng.uniform(40, 50)]], 3.5),
        (origin + [[-13, front], [13, front]], 5.5),
    ]
    for side in (-1, 1):
        flip = np.array([side, 1])
        process = [[9, 10], [13, 24], [rng.uniform(26, 34), rng.uniform(25, 31)]]
        bones += [(origin + process * flip, 4.5), (origin + [[13, 24], [0, 31]] * flip, 3.5)]
        arcs = [
            (angle + rng.uniform(6, 12) * np.linspace(-1, 1, 9), np.linspace(9, 4, 9), 4.2)
            for angle in np.arange(rng.uniform(-68, -50), 74, rng.uniform(23, 29))
        ]
        if apex > 0.02:
            arcs.append((np.linspace(28, 62, 9), np.linspace(26, 17, 9), 3.5))
        if apex > 0.6:
            arcs.append((np.linspace(-80, -45, 9), np.linspace(8, 26, 9), 6.0))
        for degrees, margin, radius in arcs:
            middle = np.array([cage.x, 0])
            bones.append((middle + (cage.points(degrees, margin) - middle) * flip, radius))
    starts = np.concatenate([points[:-1] for points, _ in bones])
    ends = np.concatenate([points[1:] for points, _ in bones])
    radii = np.concatenate([np.full(len(points) - 1, radius) for points, radius in bones])
    _mix(hu, _CORTEX, _strokes(starts, ends, radii))
    _mix(hu, _MARROW, _strokes(starts, ends, radii - 1.7))
    size = rng.uniform(0.9, 1.1) * np.array([19, 16])
    hu[_ellipse(*origin, *size, 0) < 1] = _CORTEX
    vertebra = _ellipse(*origin, *(size - 1.5), 0) < 1
    hu[vertebra] = _MARROW - 60 + 50 * _noise(rng, 0.8)[vertebra]
    hu[_ellipse(origin[0], origin[1] + 21, 9, 8, 0) < 1] = _MUSCLE


def _draw_lungs(
    hu: np.ndarray,
    rng: np.random.Generator,
    lung: np.ndarray,
    level: float,
    findings: set[str],
    seed: int,
) -> None:
    """Parenchyma, vessels, bronchi and lesions, all within the mask `lung`."""
    tissue = rng.normal(-868, 10) + 0.35 * _Y + 11 * _noise(rng, 3)
    halves = [lung & (_X < 0), lung & (_X > 0)]
    vessels, bronchi = [], []
    height = (_HILUM_LEVEL - level) * _CHEST_HEIGHT
    for side, half in zip((-1, 1), halves, strict=True):
        hilum = np.array([side * 36, 4, height])
        roots = hilum + rng.normal(0, 7, (5, 3)) + [[0, 0, dz] for dz in (-24, -10, 0, 10, 24)]
        vessels.append(_grow_tree(rng, roots, _scatter(rng, half, 1100, height), 0.42))
        bronchi.append(_grow_tree(rng, hilum[None], _scatter(rng, half, 90, height), 0.7))

    _draw_lesions(tissue, ("GGO", "CrPa", "InSepThi"), findings, seed, halves)
    _mix(tissue, _BLOOD, _slice_trees(vessels))
    _mix(tissue, -150, _slice_trees(bronchi, wall=0.8))
    _mix(tissue, -960, _slice_trees(bronchi))
    _draw_lesions(tissue, ("Csld", "AirBr"), findings, seed, halves)
    hu[lung] = tissue[lung]


def _scatter(
    rng: np.random.Generator, mask: np.ndarray, count: int, height: float
) -> np.ndarray:
    """Random points in `mask`, spread in depth around the slice and up to the hilum."""
    rows, columns = np.nonzero(_blur(mask, 5) > 0.8)
    pick = rng.integers(len(rows), size=count)
    depth = rng.uniform(min(-35, height), max(35, height), count)
    return np.stack([_AXIS[columns[pick]], _AXIS[rows[pick]], depth], axis=-1)


def _grow_tree(
    rng: np.random.Generator, roots: np.ndarray, leaves: np.ndarray, twig: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joins `leaves` to `roots`; returns the starts, ends and radii of the branches.

    Each leaf, nearest to the roots first, is tied to the node that makes the best trade between
    a short twig and a short way home; radii grow from `twig` by Murray's law.
    """
    first = len(roots)
    order = np.argsort(np.linalg.norm(leaves - roots.mean(axis=0), axis=1))
    nodes = np.concatenate([roots, leaves[order]])
    way = np.zeros(len(nodes))
    parent = np.zeros(len(nodes), int)
    for i in range(first, len(nodes)):
        offset = nodes[:i] - nodes[i]
        gap = np.sqrt(np.einsum("ij,ij->i", offset, offset))
        parent[i] = np.argmin(gap + 0.5 * way[:i])
        way[i] = way[parent[i]] + gap[parent[i]]
    load = np.ones(len(nodes))
    for i in range(len(nodes) - 1, first - 1, -1):
        load[parent[i]] += load[i]
    branches = np.arange(first, len(nodes))
    return nodes[parent[branches]], nodes[branches], twig * load[branches] ** (1 / 2.8)


def _slice_trees(trees: list[tuple[np.ndarray, ...]], wall: float = 0.0) -> np.ndarray:
    """Coverage of the slice by the trees, each branch cut where it crosses the slice."""
    starts, ends, radii = (np.concatenate(parts) for parts in zip(*trees, strict=True))
    t = np.linspace(0, 1, 9)[:, None, None]
    path = starts + t * (ends - starts)
    a, b = path[:-1].reshape(-1, 3), path[1:].reshape(-1, 3)
    radii = np.tile(radii + wall, 8)
    off = np.maximum(abs(a[:, 2] + b[:, 2]) / 2 - 0.7, 0)  # the slice is 1.4 mm thick
    cut = off < radii
    chord = np.sqrt(radii[cut] ** 2 - off[cut] ** 2)
    return _strokes(a[cut, :2], b[cut, :2], chord)


def _draw_lesions(
    tissue: np.ndarray,
    names: tuple[str, ...],
    findings: set[str],
    seed: int,
    halves: list[np.ndarray],
) -> None:
    for name in names:
        if name not in findings:
            continue
        rng = np.random.default_rng([seed, LESIONS.index(name)])
        patch = np.max([_patches(rng, half, *_PATCHES[name]) for half in halves], axis=0)
        if name in ("GGO", "CrPa"):
            _mix(tissue, rng.uniform(-600, -480) + 45 * _noise(rng, 2), patch)
        if name in ("Csld", "AirBr"):
            _mix(tissue, 20 + 25 * _noise(rng, 2), np.sqrt(patch))
        if name == "CrPa":
            _mix(tissue, -200, patch * _septa(rng, 6.5, 0.7))
        if name == "InSepThi":
            _mix(tissue, -150, patch * _septa(rng, 13, 0.8))
        if name == "AirBr":
            tubes = [_bronchogram(rng, half & (patch > 0.6)) for half in halves]
            _mix(tissue, -900, _slice_trees(tubes))


def _bronchogram(rng, mask):
    rows, columns = np.nonzero(mask)
    medial = abs(_AXIS[columns]).argmin()
    root = np.array([[_AXIS[columns[medial]], _AXIS[rows[medial]], 0]])
    leaves = _scatter(rng, mask, 14, 0.0) * [1, 1, 0]
    return _grow_tree(rng, root, leaves, 0.8)


_PATCHES = {"GGO": (3, 22), "Csld": (1, 20), "CrPa": (2, 26), "AirBr": (1, 27), "InSepThi": (2, 30)}


def _patches(rng: np.random.Generator, half: np.ndarray, count: int, radius: float) -> np.ndarray:
    """Soft-edged, irregular patches where COVID likes to sit: at the pleura, towards the back."""
    weight = half * np.exp(_Y / 25 + abs(_X) / 40) * (_blur(half, 9) < 0.75)
    chance = np.cumsum(weight, dtype=np.float64)
    scale = np.sqrt(half.sum() / 25000)
    warp = 0.2 * _noise(rng, 6) + 0.12 * _noise(rng, 1.5)
    patch = np.zeros((_GRID, _GRID), np.float32)
    for _ in range(count):
        row, column = divmod(int(np.searchsorted(chance, rng.random() * chance[-1])), _GRID)
        a, b = radius * scale * rng.uniform([0.8, 0.45], [1.2, 0.8])
        tilt = rng.uniform(0, 180)
        distance = _ellipse(_AXIS[column], _AXIS[row], a, b, tilt) + warp
        patch = np.maximum(patch, np.clip((1.1 - distance) / 0.35, 0, 1))
    return patch * half


def _septa(rng: np.random.Generator, cell: float, width: float) -> np.ndarray:
    """A net of walls, `width` mm thick, between irregular cells about `cell` mm wide."""
    x = (_X + _FIELD / 2) / cell + 0.2 * _noise(rng, 0.35 * cell)
    y = (_Y + _FIELD / 2) / cell + 0.2 * _noise(rng, 0.35 * cell)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    seeds = rng.random((2, 256, 256))
    near = np.full((2, _GRID, _GRID), np.inf)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            dx, dy = seeds[:, row + i, column + j] + np.stack([column + j - x, row + i - y])
            gap = np.hypot(dx, dy)
            near[1] = np.minimum(near[1], np.maximum(near[0], gap))
            near[0] = np.minimum(near[0], gap)
    return np.exp(-(((near[1] - near[0]) * cell / (2 * width)) ** 2))
