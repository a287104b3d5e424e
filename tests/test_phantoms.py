import json

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from ladnn_hf import LESIONS, draw_phantom
from ladnn_hf.phantoms import draw_phantom_hu

EXAMPLES = ROOT / "space" / "examples"


def test_the_same_arguments_draw_the_same_patient():
    first = draw_phantom_hu(["GGO"], level=0.4, size=64, seed=7)
    assert first.dtype == np.float32 and first.shape == (64, 64)
    assert np.array_equal(first, draw_phantom_hu(["GGO"], level=0.4, size=64, seed=7))
    assert not np.array_equal(first, draw_phantom_hu(["GGO"], level=0.4, size=64, seed=8))


@pytest.mark.parametrize("lesion", LESIONS)
def test_a_lesion_changes_the_lungs_and_nothing_else(lesion):
    healthy, ill = (draw_phantom_hu(findings, level=0.4, seed=3) for findings in ((), (lesion,)))
    changed = np.abs(ill - healthy) > 100
    assert 0.002 < changed.mean() < 0.2
    assert healthy[changed].mean() < -500, "lung"
    assert ill[changed].mean() > healthy[changed].mean() + 150, "denser than lung"


def test_a_phantom_is_dark_lungs_in_a_bright_body_in_air():
    hu = draw_phantom_hu(seed=1)
    assert (hu < -950).mean() > 0.2 and 0.1 < ((hu > -920) & (hu < -750)).mean() < 0.4
    assert 0.1 < ((hu > -150) & (hu < 100)).mean() < 0.5 and (hu > 300).mean() > 0.005
    assert draw_phantom(seed=1).mode == "L"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"findings": ["cough"]}, "found 'cough'"),
        ({"level": 2}, "level must be between 0 and 1"),
        ({"size": 8}, "size must be at least 32"),
        ({"window_width": 0}, "expected a window of a width above 0 HU"),
    ],
)
def test_what_cannot_be_drawn_is_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        draw_phantom(**wrong)


def test_the_spaces_examples_are_phantoms_drawn_by_this_code():
    specs = json.loads((EXAMPLES / "phantoms.json").read_text())
    assert len(specs) >= 4
    assert set(specs) == {path.name for path in EXAMPLES.glob("*.png")}
    for name, spec in specs.items():
        drawn = np.asarray(draw_phantom(spec["findings"], level=spec["level"], seed=spec["seed"]), int)
        stored = np.asarray(Image.open(EXAMPLES / name), int)
        assert np.abs(drawn - stored).max() <= 2, name
