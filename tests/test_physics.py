"""Values in HU mean the same however a file stores them, and what is no chest is refused."""

import numpy as np
import pytest
from dicom_files import to_hu, write_dicom
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageOps

from ladnn_hf import Predictor, draw_phantom

SIDE = 256
GREY = draw_phantom(["GGO"], size=SIDE, seed=1)
HU = to_hu(GREY).astype(float)


@pytest.fixture(scope="module")
def predictor():
    return Predictor()


@pytest.fixture(scope="module")
def as_picture(predictor, tmp_path_factory):
    """The answer to the slice as 8-bit PNG in the lung window."""
    path = tmp_path_factory.mktemp("picture") / "slice.png"
    GREY.save(path)
    return predictor(path)


@st.composite
def stored(draw):
    """A pixel type, and a slope and intercept with which it holds every HU of the lung window."""
    signed, bits = draw(st.booleans()), draw(st.integers(10, 16))
    slope = draw(st.floats(1600 / 2**bits, 6))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    intercept = draw(st.floats(HU.max() + 10 - slope * high, HU.min() - 10 - slope * low))
    return signed, bits, float(f"{slope:.6g}"), float(f"{intercept:.8g}")


@settings(max_examples=25, deadline=None, derandomize=True)
@given(stored(), st.floats(-3000, 3000), st.floats(1, 8000), st.sampled_from(("MONOCHROME1", "MONOCHROME2")))
def test_a_slice_in_hu_gets_the_answer_of_its_picture_however_it_is_stored(
    predictor, as_picture, tmp_path_factory, kind, level, width, shown
):
    signed, bits, slope, intercept = kind
    values = np.round((HU - intercept) / slope).astype(np.int16 if signed else np.uint16)
    tags = {"RescaleSlope": f"{slope:.6g}", "RescaleIntercept": f"{intercept:.8g}"}
    tags |= {"WindowCenter": f"{level:.6g}", "WindowWidth": f"{width:.6g}", "BitsStored": bits}
    path = tmp_path_factory.mktemp("stored") / "slice.dcm"
    answer = predictor(write_dicom(path, values, HighBit=bits - 1, PhotometricInterpretation=shown, **tags))
    assert np.abs(answer.slice.hu - HU).max() <= 0.51 * slope + 0.01
    assert answer.covid_probability == pytest.approx(as_picture.covid_probability, abs=0.02)
    assert answer.lesions == pytest.approx(as_picture.lesions, abs=0.02)


def test_greys_that_are_shown_inverted_are_turned_and_get_the_same_answer(predictor, as_picture, tmp_path):
    path = write_dicom(
        *(tmp_path / "slice.dcm", 255 - np.asarray(GREY)),
        PhotometricInterpretation="MONOCHROME1",
        without=["RescaleSlope"],
    )
    assert predictor(path).covid_probability == pytest.approx(as_picture.covid_probability, abs=1e-6)


def test_an_inverted_picture_is_refused_as_inverted(predictor, tmp_path):
    path = write_dicom(
        *(tmp_path / "slice.dcm", 255 - np.asarray(GREY)),
        PhotometricInterpretation="MONOCHROME2",
        without=["RescaleSlope"],
    )
    for inverted in (path, ImageOps.invert(GREY)):
        assert "found an inverted picture" in predictor(inverted).reason


def oval(x, y, width, height):
    """The pixels of an oval about a point, in shares of the picture."""
    down, across = np.mgrid[:SIDE, :SIDE] / SIDE
    return ((across - x) / width) ** 2 + ((down - y) / height) ** 2 < 1


def head():
    """Skin, skull, brain, ventricles."""
    return [
        (oval(0.5, 0.5, 0.36, 0.44), 30),
        (oval(0.5, 0.5, 0.345, 0.425), 900),
        (oval(0.5, 0.5, 0.32, 0.4), 35),
        (oval(0.46, 0.48, 0.03, 0.1) | oval(0.54, 0.48, 0.03, 0.1), 8),
    ]


def abdomen():
    """Fat, muscle, liver, spine, kidneys, a bowel with air."""
    return [
        (oval(0.5, 0.5, 0.46, 0.34), -100),
        (oval(0.5, 0.5, 0.42, 0.3), 45),
        (oval(0.35, 0.45, 0.2, 0.2), 60),
        (oval(0.5, 0.68, 0.06, 0.06), 400),
        (oval(0.38, 0.6, 0.06, 0.08) | oval(0.62, 0.6, 0.06, 0.08), 35),
        (oval(0.68, 0.5, 0.05, 0.04), -700),
    ]


@pytest.mark.parametrize("organs", [head, abdomen])
def test_a_ct_of_another_part_of_the_body_is_refused(predictor, tmp_path, organs):
    hu = np.full((SIDE, SIDE), -1000.0)
    for where, value in organs():
        hu[where] = value
    hu += np.random.default_rng(0).normal(0, 10, hu.shape)
    answer = predictor(write_dicom(tmp_path / "slice.dcm", hu.round().astype(np.int16)))
    assert answer.decision == "refused"
    assert "unlike those that the model has learned from" in answer.reason
