"""Synthetic axial chest CT slices, drawn by code, that stand in for images of real patients.

Anatomy is laid out in millimetres on the image plane: x grows towards the patient's left (the
right of the image), y towards the back, and both are zero near the middle of the chest.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image

from .labels import LESIONS
from .phantom_canvas import GRID, X, Y, blur, curves, cut, ellipse, grow_tree, mix, noise, scatter
from .phantom_lesions import draw_lesion
from .slices import windowed

_AIR, _FAT, _MUSCLE, _BLOOD, _MARROW, _CORTEX = -1000, -100, 50, 42, 250, 700

# The mediastinum in painting order: centre x and y and two radii in mm, tilt in degrees, HU, and
# the lowest and highest level reached.
_ORGANS = (
    (-4, -14, 26, 29, 0, _FAT, 0.48, 1.15),  # fat around the great vessels
    (25, -42, 59, 50, 28, _BLOOD, -0.15, 0.52),  # heart
    (-62, -22, 54, 50, 10, 60, -0.2, 0.14),  # dome of the liver
    (22, 29, 12, 12, 0, _BLOOD, -0.3, 0.76),  # descending aorta
    (-13, -34, 17, 17, 0, _BLOOD, 0.36, 0.74),  # ascending aorta
    (19, -38, 14, 18, -20, _BLOOD, 0.38, 0.62),  # pulmonary trunk
    (-14, -13, 27, 8, 10, _BLOOD, 0.43, 0.58),  # right pulmonary artery
    (30, -8, 12, 13, 0, _BLOOD, 0.36, 0.6),  # left pulmonary artery
    (-34, -8, 9, 12, 0, _BLOOD, 0.34, 0.58),  # right hilum
    (-28, -24, 8, 9, 0, _BLOOD, 0.42, 0.85),  # superior vena cava
    (10, -8, 13, 41, -20, _BLOOD, 0.66, 0.82),  # aortic arch
    (-2, -30, 24, 6, -8, _BLOOD, 0.8, 1.1),  # left brachiocephalic vein
    (-17, -17, 8, 8, 0, _BLOOD, 0.78, 1.2),  # brachiocephalic artery
    (13, -14, 5, 5, 0, _BLOOD, 0.78, 1.2),  # left carotid artery
    (20, 3, 6, 7, 0, _BLOOD, 0.78, 1.2),  # left subclavian artery
    (6, 22, 8, 6, 0, _MUSCLE, -0.5, 1.5),  # oesophagus
    (0, 2, 9, 9.5, 0, -980, 0.56, 1.6),  # trachea
    (-19, 4, 14, 6, -12, -980, 0.43, 0.6),  # right main bronchus
    (17, 6, 11, 6, 12, -980, 0.4, 0.58),  # left main bronchus
    (-29, 5, 5, 5, 0, -980, 0.28, 0.46),  # bronchus intermedius
    (31, 14, 4.5, 4.5, 0, -980, 0.28, 0.43),  # left lower lobe bronchus
)
_HILUM_LEVEL, _CHEST_HEIGHT = 0.47, 220.0  # height of the hila; mm from level 0 to level 1


class _Oval(NamedTuple):
    """A superellipse with radii `a` and `b`, narrowed towards the front by `taper`."""

    x: float
    y: float
    a: float
    b: float
    power: float
    taper: float

    def radius(self, margin: float = 0.0) -> np.ndarray:
        """Field that is below 1 inside the oval grown by `margin` mm."""
        v = (Y - self.y) / (self.b + margin)
        u = (X - self.x) / ((self.a + margin) * np.maximum(1 + self.taper * v, 0.2))
        return (abs(u) ** self.power + abs(v) ** self.power) ** (1 / self.power)

    def arc(self, side: int, degrees: np.ndarray, margin: np.ndarray) -> np.ndarray:
        """Points outside the outline by `margin` mm; 0 degrees is lateral, 90 the back."""
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        v = np.sign(sin) * abs(sin) ** (2 / self.power)
        u = abs(cos) ** (2 / self.power) * (1 + self.taper * v)
        x = self.x + side * u * (self.a + margin)
        return np.stack([x, self.y + v * (self.b + margin)], axis=-1)


def draw_phantom_hu(
    findings: Iterable[str] = (), *, level: float = 0.5, size: int = 512, seed: int = 0
) -> np.ndarray:
    """Draws an axial chest CT slice in Hounsfield units.

    Args:
        findings: Lesions to draw, any of `LESIONS`.
        level: Height in the chest, from 0 near the diaphragm to 1 near the apex of the lungs.
        size: Height and width of the slice in pixels, at least 32.
        seed: Chooses the patient; findings change nothing but the lesions.

    Returns:
        A float32 array of shape (size, size), in HU.
    """
    findings = tuple(findings)
    if unknown := [name for name in findings if name not in LESIONS]:
        raise ValueError(f"findings must be among {', '.join(LESIONS)}, found {unknown[0]!r}.")
    if not 0 <= level <= 1:
        raise ValueError(f"level must be between 0 and 1, found {level}.")
    if size < 32:
        raise ValueError(f"size must be at least 32 pixels, found {size}.")
    rng = np.random.default_rng(seed)
    apex = max(0.0, (level - 0.55) / 0.45) ** 1.7  # how far the rib cage has narrowed
    hu = np.full((GRID, GRID), _AIR, np.float32)
    cage = _draw_body(hu, rng, apex)
    lung = _draw_mediastinum(hu, rng, cage, level)
    _draw_skeleton(hu, rng, cage, apex)
    tissue = rng.normal(-868, 8) + 0.35 * Y + 11 * noise(rng, 3)
    height = (_HILUM_LEVEL - level) * _CHEST_HEIGHT
    lesions = {name: np.random.default_rng([seed, i]) for i, name in enumerate(LESIONS)}
    for name in ("GGO", "CrPa", "InSepThi"):
        if name in findings:
            draw_lesion(tissue, name, lesions[name], lung)
    _draw_trees(tissue, rng, lung, height)
    for name in ("Csld", "AirBr"):  # these hide the vessels
        if name in findings:
            draw_lesion(tissue, name, lesions[name], lung)
    hu[lung] = tissue[lung]
    hu = blur(hu, 0.58) + rng.uniform(14, 22) * noise(rng, 0.55)

    image = Image.fromarray(hu.astype(np.float32))
    if size != GRID:
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
        level: Height in the chest, as in `draw_phantom_hu`.
        size: Height and width of the picture in pixels, at least 32.
        seed: Chooses the patient.
        window_level: Middle of the window, in HU.
        window_width: Width of the window, in HU.

    Returns:
        An image of mode "L".
    """
    hu = draw_phantom_hu(findings, level=level, size=size, seed=seed)
    return windowed(hu, (window_level, window_width))


def _draw_body(hu: np.ndarray, rng: np.random.Generator, apex: float) -> _Oval:
    """Table, skin, fat and muscle; returns the inside of the rib cage."""
    width, depth, fat = rng.uniform(118, 132), rng.uniform(92, 105), rng.uniform(3, 11)
    y, a, b = -6 + 18 * apex, width * (1 - 0.4 * apex), depth * (1 - 0.42 * apex)
    cage = _Oval(rng.uniform(-3, 3), y, a, b, rng.uniform(2.05, 2.35), rng.uniform(0.08, 0.18))
    body = _Oval(0, 2, width + 20 + fat + 8 * apex, depth + 17 + fat - 14 * apex, 2.3, 0.05)

    x = np.linspace(-165, 165, 60)
    table = np.stack([x, body.y + body.b + 6 - 26 * (x / 165) ** 2], axis=-1)
    mix(hu, -500.0, curves([(table, 1.2), (np.add(table, [0, 14]), 0.8)]))
    ripple = noise(rng, 14)
    hu[body.radius() < 1] = _MUSCLE  # skin
    hu[body.radius(-2) < 1] = _FAT
    muscle = body.radius(-0.9 * fat - 1) + 0.02 * ripple < 1
    hu[muscle] = _MUSCLE
    for margin in (14, 25):
        plane = abs(cage.radius(margin) + 0.04 * ripple - 1) < 0.012
        hu[muscle & plane & (ripple > -0.6)] = _FAT
    hu[muscle & (noise(rng, 3) > 1.3)] = _FAT
    return cage


def _draw_mediastinum(hu: np.ndarray, rng: np.random.Generator, cage: _Oval, level: float) -> np.ndarray:
    """Draws everything between the lungs; returns the mask of the lungs."""
    bulk = rng.uniform(0.92, 1.1)
    sternal = 5 + 55 * max(0.0, 0.45 - level)
    middle = np.where(Y < 0, 3 + sternal * np.clip((-Y - 50) / 55, 0, 1), 10)
    between = abs(X - cage.x - 3) < middle
    between |= ellipse(cage.x, cage.y + 0.55 * cage.b, 21, 24) < 1
    between |= ellipse(cage.x, cage.y + 1.1 * cage.b, 44, 34) < 1
    painted, warp = [], 0.03 * noise(rng, 10)
    for x, y, a, b, tilt, value, low, high in _ORGANS:
        x, y = bulk * np.array([x, y]) + [cage.x, 0] + rng.normal(0, 1.5, 2)
        a, b = bulk * np.array([a, b]) * rng.uniform(0.93, 1.07, 2)
        tilt += rng.normal(0, 5)
        t = abs(2 * level - low - high) / (high - low)
        if t >= 1:  # skipped only after the draws, so that a patient stays the same at all levels
            continue
        scale = (1 - t**3) ** (1 / 3)
        if value < -500:  # airways have a wall
            wall = ellipse(x, y, a * scale + 1.8, b * scale + 1.8, tilt)
            painted.append((wall + warp < 1, _MUSCLE))
        painted.append((ellipse(x, y, a * scale, b * scale, tilt) + warp < 1, value))
    for mask, _ in painted:
        between |= mask
    inside = cage.radius() + 0.012 * noise(rng, 10) < 1
    lung = blur(inside & ~(blur(between, 5) > 0.4), 3) > 0.5
    hu[inside & ~lung] = _FAT
    for mask, value in painted:
        hu[mask & inside] = value
    return lung


def _draw_skeleton(hu: np.ndarray, rng: np.random.Generator, cage: _Oval, apex: float) -> None:
    """Vertebra, sternum, ribs and, high in the chest, shoulder blades and collar bones."""
    origin = np.array([cage.x, cage.y + 0.55 * cage.b])  # centre of the vertebral body
    front = -1.55 * cage.b - 7
    bones = [
        (np.add(origin, [[0, 31], [0, rng.uniform(40, 50)]]), 3.5),
        (np.add(origin, [[-12, front], [12, front]]), 4.8),
    ]
    along = np.linspace(-1, 1, 9)
    for side in (-1, 1):
        process = [[9, 10], [13, 24], [rng.uniform(24, 32), rng.uniform(25, 31)]]
        bones.append((origin + np.array(process) * [side, 1], 4.3))
        bones.append((origin + np.array([[13, 24], [0, 31]]) * [side, 1], 3.5))
        for angle in np.arange(rng.uniform(-66, -50), 72, rng.uniform(22, 29)):
            degrees = angle + rng.uniform(6, 11) * along
            bones.append((cage.arc(side, degrees, 6.5 - 3 * along), 3.9))
        if apex > 0.02:
            bones.append((cage.arc(side, 45 + 18 * along, 14 + 30 * apex - 4 * along), 3.0))
        if apex > 0.5:
            bones.append((cage.arc(side, -56 + 14 * along, 20 + 9 * along), 5.0))
    mix(hu, _CORTEX, curves(bones))
    mix(hu, _MARROW, curves(bones, shrink=1.7))
    size = rng.uniform(0.9, 1.1) * np.array([19, 16])
    hu[ellipse(*origin, *size) < 1] = _CORTEX
    vertebra = ellipse(*origin, *(size - 1.5)) < 1
    hu[vertebra] = _MARROW - 90 + 60 * noise(rng, 0.8)[vertebra]
    hu[ellipse(origin[0], origin[1] + 21, 9, 8) < 1] = _MUSCLE


def _draw_trees(tissue: np.ndarray, rng: np.random.Generator, lung: np.ndarray, height: float) -> None:
    """Vessels and bronchi that spring from hila `height` mm above the slice."""
    core = blur(lung, 4) > 0.8  # vessels are too fine to be seen near the pleura
    vessels, bronchi = [], []
    for side in (-1, 1):
        half = core & (side * X > 0)
        hilum = np.array([[side * 36, 4, height]])
        roots = hilum + rng.normal(0, 6, (6, 3)) + [[0, 0, z] for z in range(-30, 31, 12)]
        vessels.append(grow_tree(roots, scatter(rng, half, 1300, height), 0.31))
        bronchi.append(grow_tree(hilum, scatter(rng, half, 250, height), 0.35))
    mix(tissue, _BLOOD, cut(vessels))
    mix(tissue, -300, cut(bronchi, least=1.4, wall=0.8))
    mix(tissue, -960, cut(bronchi, least=1.4))
