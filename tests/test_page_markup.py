"""Markup planted in names, metadata and reports is shown as text wherever the page shows it."""

import json
import re
import shutil
import zipfile
from html.parser import HTMLParser

import numpy as np
import pytest
from about import about_html
from answer_html import answer_html, view_html
from batch import answer_all, draw
from batch_inputs import expand
from data_facts import FACTS, data_html
from dicom_files import to_hu, write_dicom
from page import build_page
from PIL import Image, PngImagePlugin
from pydicom.uid import generate_uid
from texts import TEXTS, failure

from ladnn_hf import Predictor, draw_phantom
from ladnn_hf.model_folder import BUNDLED

OURS = "https://doi.org/"
"""Where the page's own links lead."""
EVIL = "\"'><img src=x onerror=alert(1)><script>alert(2)<\\script><svg onload=alert(3)>"


class Tags(HTMLParser):
    """What a browser would make of a piece of the page."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def is_harmless(page):
    return not [
        (tag, attributes)
        for tag, attributes in Tags(page).found
        if tag in ("script", "svg", "iframe")
        or any(name.startswith("on") for name in attributes)
        or not attributes.get("href", OURS).startswith(OURS)
        or not re.match("data:image/(png|jpeg|webp);", attributes.get("src", "data:image/png;"))
    ]


def strangers(value):
    """The same facts with markup in every word that a stranger could have chosen."""
    if isinstance(value, dict):
        return {name: strangers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [strangers(inner) for inner in value]
    return EVIL if isinstance(value, str) else value


def test_markup_is_found_where_it_is_not_escaped():
    assert not is_harmless(f"<p>{EVIL}</p>") and not is_harmless(f'<img alt="{EVIL}">')
    assert is_harmless("<p>&lt;script&gt;</p>")


@pytest.fixture
def given(tmp_path):
    """Files whose names, and all that is in them beside pixels, are markup."""
    grey, words, exif = draw_phantom(["GGO"], size=128, seed=1), PngImagePlugin.PngInfo(), Image.Exif()
    for name in ("Title", "Comment", EVIL[:70]):
        words.add_text(name, EVIL)
    exif[0x010E] = exif[0x013B] = EVIL
    grey.save(tmp_path / f"{EVIL}.png", pnginfo=words, exif=exif)
    (tmp_path / f"{EVIL}.jpg").write_bytes(EVIL.encode())
    with zipfile.ZipFile(tmp_path / f"{EVIL}.zip", "w") as archive:
        archive.write(tmp_path / f"{EVIL}.png", f"{EVIL}/{EVIL}.png")
        archive.writestr(f"{EVIL}.png", EVIL)
    (tmp_path / f"broken{EVIL}.zip").write_bytes(b"PK\3\4" + EVIL.encode())
    series = generate_uid()
    for number in range(3):
        write_dicom(
            *(tmp_path / f"{number}{EVIL}.dcm", to_hu(np.asarray(grey))),
            SeriesInstanceUID=series,
            SeriesDescription=EVIL,
            PatientName=EVIL,
        )
    return [str(path) for path in sorted(tmp_path.iterdir())]


@pytest.mark.parametrize("language", TEXTS)
def test_names_and_metadata_are_text_in_every_answer(given, language):
    predictor = Predictor(gate=False)
    done = list(answer_all(predictor, expand(given)))
    assert len(done) == 8 and sum(one.prediction.decision == "refused" for one in done) == 3
    page = "".join(draw(done, language))
    assert "&lt;script&gt;" in page and is_harmless(page)
    for path in given:
        answer = predictor(path)
        assert is_harmless(answer_html(answer, None, language) + view_html(answer, language, EVIL, 0.6))
    assert is_harmless(failure(EVIL, language).message)


@pytest.mark.parametrize("report", [{"split": "test"}, {"validation": {"operating_points": [{}]}}], ids=str)
def test_a_report_that_is_none_is_said_before_the_page_opens(tmp_path, report):
    shutil.copytree(BUNDLED, tmp_path / "model")
    (tmp_path / "model" / "report.json").write_text(json.dumps(report))
    with pytest.raises(ValueError, match=r"model: expected a report\.json as `ladnn evaluate` writes it"):
        build_page(str(tmp_path / "model"))


@pytest.mark.parametrize("language", TEXTS)
def test_the_report_of_a_strangers_model_and_audit_is_text(language):
    report = json.loads((BUNDLED / "report.json").read_text())
    for page in (
        about_html(strangers(report), 0.5, None, language),
        data_html(strangers(json.loads(FACTS.read_text())), language),
    ):
        assert "&lt;script&gt;" in page and is_harmless(page)
