"""Where the lungs lie: found in any window, whole or scaled, and not where there are none."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from ladnn_hf import draw_phantom
from ladnn_hf.lungs_ladnn import find_lungs, lung_box


@pytest.fixture(scope="module")
def slice_of_chest():
    return draw_phantom([], size=256, seed=3)


def test_lungs_are_the_dark_regions_inside_the_chest(slice_of_chest):
    lungs = find_lungs(slice_of_chest)
    small = np.asarray(slice_of_chest.resize((128, 128), Image.Resampling.BOX))
    assert lungs.shape == (128, 128) and 0.1 < lungs.mean() < 0.5
    assert small[lungs].mean() < 100 < small[~lungs & (small > 60)].mean()
    assert not lungs[:4].any() and not lungs[-4:].any(), "the air around the patient"
    left, right = lungs[:, :64].sum(), lungs[:, 64:].sum()
    assert 0.5 < left / right < 2, "one lung on each side"


def test_the_box_holds_all_of_the_lungs_and_little_else(slice_of_chest):
    left, upper, right, lower = lung_box(slice_of_chest, margin=0)
    rows, columns = np.nonzero(find_lungs(slice_of_chest))
    assert (left, right) == (2 * columns.min(), 2 * columns.max() + 2)
    assert upper == pytest.approx(2 * rows.min(), abs=4) and lower == pytest.approx(2 * rows.max(), abs=4)


@pytest.mark.parametrize(
    "change", [lambda g: g * 0.5, lambda g: g * 0.5 + 100, lambda g: 255 * (g / 255) ** 0.6]
)
def test_lungs_are_the_same_under_another_window(slice_of_chest, change):
    grey = np.asarray(slice_of_chest, dtype=float)
    windowed = Image.fromarray(change(grey).round().astype(np.uint8))
    there, again = find_lungs(slice_of_chest), find_lungs(windowed)
    assert (there & again).sum() / (there | again).sum() > 0.9


def test_lungs_are_found_inside_a_round_field_of_view(slice_of_chest):
    wide = np.asarray(slice_of_chest) / 255 * 90 + 90
    across = np.linspace(-1, 1, 256)
    wide[across[:, None] ** 2 + across**2 > 1] = 0
    box = lung_box(Image.fromarray(wide.round().astype(np.uint8)))
    assert box == pytest.approx(lung_box(slice_of_chest), abs=12)


def test_the_box_scales_with_the_picture(slice_of_chest):
    wide = slice_of_chest.resize((512, 300))
    expected = np.array(lung_box(slice_of_chest)) / 256 * [512, 300, 512, 300]
    assert lung_box(wide) == pytest.approx(expected, abs=12)


@pytest.mark.parametrize("greys", [(0,), (255,), (255, 0), (90, 255)])
def test_borders_of_one_grey_change_nothing(slice_of_chest, greys):
    framed, edge = slice_of_chest, 30 * len(greys)
    for grey in reversed(greys):
        framed = ImageOps.expand(framed, 30, grey)
    box = np.array(lung_box(framed)) - edge
    assert tuple(box) == pytest.approx(lung_box(slice_of_chest))
    inside = find_lungs(framed).repeat(framed.width, axis=1).repeat(framed.height, axis=0)[63::128, 63::128]
    alone = find_lungs(slice_of_chest).repeat(256, axis=1).repeat(256, axis=0)[63::128, 63::128]
    inside = inside[edge:-edge, edge:-edge]
    assert (inside & alone).sum() / (inside | alone).sum() > 0.95


def test_the_box_stays_inside_the_picture(slice_of_chest):
    tight = slice_of_chest.crop(lung_box(slice_of_chest, margin=0))
    left, upper, right, lower = lung_box(tight) or (0, 0, *tight.size)
    assert left >= 0 and upper >= 0 and right <= tight.width and lower <= tight.height


def _noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8))


@pytest.mark.parametrize(
    "picture",
    [Image.new("L", (64, 64)), Image.new("L", (64, 64), 255), Image.linear_gradient("L"), _noise()],
    ids=["black", "white", "gradient", "noise"],
)
def test_a_picture_without_a_chest_has_no_lungs(picture):
    assert find_lungs(picture) is None and lung_box(picture) is None
