import ast
import json
import re
import string
import zipfile
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from texts import CHINESE, GRADIO, TEXTS, language_of, reason_in, term_in, text

from ladnn_hf.archives import list_zip
from ladnn_hf.findings import TITLES, title_of
from ladnn_hf.model_folder import BUNDLED
from ladnn_hf.perturbations import PERTURBATIONS
from ladnn_hf.picture_checks import why_blank, why_far, why_unlike_ct
from ladnn_hf.reading import UnreadableSlice, read_slice
from ladnn_hf.slice_dataset import SPLITS

BEGINNINGS = ("expected ", "The file ", "The slice ", "Only ", "Its file ", "Its grey ")
"""Of refusals and doubts."""


def facts_in(sentence):
    return sorted(name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None)


def is_chinese(sentence):
    return bool(re.search("[\u4e00-\u9fff]", sentence))


def sentences_in(source):
    """The refusals and doubts in a module's source, with 7 for each fact."""
    for node in ast.walk(ast.parse(source)):
        parts = getattr(node, "values", [node]) if isinstance(node, (ast.JoinedStr, ast.Constant)) else []
        words = "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in parts)
        if words.startswith(BEGINNINGS) and words.endswith("."):
            yield words


def test_both_languages_have_the_same_texts():
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()


@pytest.mark.parametrize("key", TEXTS["en"])
def test_both_forms_of_a_text_say_the_same_facts(key):
    assert TEXTS["zh"][key].strip()
    assert facts_in(TEXTS["en"][key]) == facts_in(TEXTS["zh"][key])


def test_every_text_that_the_page_asks_for_is_there():
    asked = {
        key
        for path in (ROOT / "space").glob("*.py")
        for key in re.findall(r"""\b(?:text|said|I18N)\(\s*["'](\w+)["']""", path.read_text(encoding="utf-8"))
    }
    assert "notice" in asked
    assert asked <= TEXTS["en"].keys()


def test_a_text_takes_its_facts():
    assert text("progress", "en", done=3, total=8) == "3 of 8"
    assert "3/8" in text("progress", "zh", done=3, total=8)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh", "zh"),
        ("ZH-tw", "zh"),
        ("en-GB,en;q=0.9,zh-CN;q=0.8", "en"),
        ("fr-FR,zh;q=0.5", "en"),
        ("", "en"),
    ],
)
def test_a_visitor_is_answered_in_the_browsers_first_language(header, language):
    assert language_of(gr.Request(headers={"accept-language": header})) == language


def test_a_request_that_says_no_language_is_answered_in_english():
    assert language_of(None) == "en"
    assert language_of(gr.Request(headers={})) == "en"


def test_every_refusal_and_doubt_has_a_chinese_form():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "ladnn_hf").glob("*.py")]
    refusing = [
        source for source in sources if re.search(r"UnreadableSlice\(\s*f?\"|^def why_", source, re.M)
    ]
    sentences = [sentence for source in refusing for sentence in sentences_in(source)]
    assert len(sentences) > 30
    assert [one for one in sentences if not is_chinese(reason_in(one, "zh"))] == []


@pytest.mark.parametrize("english", CHINESE)
def test_both_forms_of_a_reason_say_the_same_facts(english):
    assert facts_in(english) == facts_in(CHINESE[english])


def test_what_the_gate_says_of_a_picture_keeps_its_numbers_in_chinese():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    refusals = [
        why_blank(Image.new("L", (64, 64), 9)),
        why_unlike_ct(Image.new("RGB", (64, 64), "red"), noise),
        why_unlike_ct(noise, noise),
        *(
            why_far(2.5, 1.0, has_lungs=has_lungs, inverse_is_near=inverse_is_near)
            for has_lungs, inverse_is_near in ((True, True), (True, False), (False, False))
        ),
    ]
    for refusal in refusals:
        said = reason_in(refusal, "zh")
        assert is_chinese(said)
        assert re.findall(r"\d[\d.]*", said) == re.findall(r"\d[\d.]*", refusal)


def test_a_file_that_is_no_picture_is_refused_in_chinese(tmp_path):
    (tmp_path / "note.png").write_text("no picture")
    with pytest.raises(UnreadableSlice) as refusal:
        read_slice(tmp_path / "note.png")
    assert "PNG" in reason_in(str(refusal.value), "zh") and is_chinese(reason_in(str(refusal.value), "zh"))


def test_a_broken_member_of_a_zip_is_named_in_chinese_whatever_its_name(tmp_path):
    path = tmp_path / "slices.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("{0}\n.png", b"unpacked as it is")
    path.write_bytes(path.read_bytes().replace(b"unpacked", b"tampered"))
    [read] = list_zip(path).values()
    with pytest.raises(ValueError) as refusal:
        read()
    said = reason_in(str(refusal.value), "zh")
    assert "{0}\n.png" in said and is_chinese(said)


def test_every_name_in_a_report_or_an_audit_has_a_chinese_form():
    rows = json.loads((BUNDLED / "report.json").read_text())["test"]["rows"]
    names = [row["title"] for row in rows] + [one.title for one in PERTURBATIONS] + list(SPLITS)
    names += [
        title_of({"kind": kind, "evidence": {"across_splits": across, "two_labels": two}})
        for kind in TITLES
        for across in (True, False)
        for two in (True, False)
    ]
    names += ["accuracy", "sensitivity", "specificity", "precision", "sars_ct, splits train, test"]
    assert [name for name in names if not is_chinese(term_in(name, "zh"))] == []
    assert term_in("cropped by 5% on each side", "zh") == "每边裁去 5%"
    assert term_in("cropped by 5% on each side", "en") == "cropped by 5% on each side"


def test_what_gradio_says_in_english_is_still_what_it_says():
    scripts = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
    said = "\n".join(path.read_text(encoding="utf-8") for path in scripts.glob("*.js"))
    assert [words for words in GRADIO["zh"] | GRADIO["en"] if words not in said] == []


def test_a_reason_that_no_table_knows_stays_english():
    assert reason_in("expected tea, found coffee; brew.", "zh") == "Expected tea, found coffee; brew."
    assert reason_in("a.zip: expected tea.", "en") == "a.zip: expected tea."
