import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from conftest import ROOT
from pdf_report import write_report
from pypdf import PdfReader
from texts import TEXTS

from ladnn_hf import LESIONS, Predictor
from ladnn_hf.attention import overlay

WHEN = datetime(2020, 5, 11, 9, 30, tzinfo=UTC)
LANGUAGES = pytest.mark.parametrize("language", TEXTS)


@pytest.fixture(scope="module")
def predictor():
    return Predictor()


@pytest.fixture(scope="module")
def prediction(predictor):
    return predictor(ROOT / "space" / "examples" / "ground_glass.png")


def report(prediction, language="en", band=(0.34, 0.77), when=WHEN, view="covid"):
    warm = None
    if prediction.maps is not None:
        warm = overlay(prediction.slice.grey, prediction.maps[0], prediction.box)
    target = io.BytesIO()
    write_report(prediction, warm, target, view=view, language=language, band=band, when=when)
    return target.getvalue()


def words(pdf):
    [page] = PdfReader(io.BytesIO(pdf)).pages
    return re.sub(r"\s+", " ", page.extract_text())


@LANGUAGES
def test_one_page_says_the_decision_the_probability_and_every_lesion(prediction, language):
    said, texts = words(report(prediction, language)), TEXTS[language]
    assert texts["decision_positive"] in said
    assert f"{prediction.covid_probability:.3f}" in said
    assert f"{prediction.threshold:.3f}" in said
    for lesion in LESIONS:
        assert texts[f"lesion_{lesion}"] in said
        assert f"{prediction.lesions[lesion]:.2f}" in said
    assert said.count(texts["notice"]) == 2


@LANGUAGES
@pytest.mark.parametrize("decision", ["negative", "indeterminate"])
def test_other_decisions_are_said_in_words(prediction, language, decision):
    said = words(report(replace(prediction, decision=decision), language))
    assert TEXTS[language][f"decision_{decision}"] in said


def test_the_band_is_said_where_the_model_has_one(prediction):
    assert "from 0.340 to 0.770" in words(report(prediction))
    assert "Cannot tell" not in words(report(prediction, band=None))


@LANGUAGES
def test_it_says_what_was_read_and_what_is_in_doubt(prediction, language):
    doubt = "The file says that its plane is not axial."
    seen = replace(prediction.slice, format="DICOM", window=(-600.0, 1500.0), doubts=(doubt,))
    said = words(report(replace(prediction, slice=seen), language))
    assert "DICOM 512×512" in said and "-600 HU" in said and "1500 HU" in said
    assert {"en": "not axial", "zh": "不是横断面"}[language] in said


@LANGUAGES
def test_a_refused_slice_gets_a_report_that_says_why(predictor, tmp_path, language):
    (tmp_path / "note.png").write_text("no picture")
    said = words(report(predictor(tmp_path / "note.png"), language))
    assert TEXTS[language]["decision_refused"] in said and "note.png" in said
    assert {"en": "Expected an image", "zh": "应为图像"}[language] in said


@LANGUAGES
def test_a_picture_that_the_gate_refuses_is_shown_without_heat(predictor, prediction, language):
    refused = predictor(prediction.slice.grey.point(lambda grey: 7))
    pdf = report(refused, language)
    assert TEXTS[language]["report_slice"] in words(pdf)
    assert TEXTS[language]["report_overlay"].partition("{view}")[2] not in words(pdf)
    assert len(PdfReader(io.BytesIO(pdf)).pages[0].images) == 1


@LANGUAGES
def test_any_name_of_a_file_is_harmless(prediction, language):
    name = "<b>\"'&肺\n\r\0𝕏😀\u202e{0}%s" * 20 + ".png"
    said = words(report(replace(prediction, image=f"folder/{name}"), language))
    assert '<b>"' in said and "肺??" in said and ".png" in said and "folder" not in said
    assert TEXTS[language]["report_how"] in said


def test_a_long_name_is_shortened_in_its_middle(prediction):
    said = words(report(replace(prediction, image="a" * 150 + "b" * 150 + ".png")))
    assert re.search("a{30,}…b{30,}.png", said) and "a" * 60 not in said


def test_no_path_of_the_server_is_in_it(prediction):
    pdf = report(replace(prediction, model="/srv/secret/model", image="/srv/secret/mine.png"))
    assert "secret" not in words(pdf) and b"secret" not in pdf


def test_the_same_facts_give_the_same_bytes(prediction):
    assert report(prediction) == report(prediction)
    assert report(prediction) != report(prediction, when=WHEN.replace(minute=31))
    assert "2020-05-11 09:30 UTC" in words(report(prediction))


def test_it_is_small_though_the_slice_is_large(predictor, prediction):
    large = prediction.slice.grey.resize((2048, 2048))
    assert len(report(predictor(large))) < 300_000


@LANGUAGES
def test_the_picture_says_what_its_heat_is_of(prediction, language):
    said = TEXTS[language]["report_overlay"].format(view=TEXTS[language]["view_Csld"])
    assert said in words(report(prediction, language, view="Csld"))


def test_it_can_be_written_to_a_path(prediction, tmp_path):
    write_report(prediction, None, tmp_path / "report.pdf", view="covid", language="en", band=None, when=WHEN)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
