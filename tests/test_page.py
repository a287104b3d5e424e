import json
import os
import re
import subprocess
import sys
import threading

import pytest
from conftest import ROOT, run_ladnn, run_ladnn_alone, run_python
from gradio_client import Client, handle_file

EXAMPLES = ROOT / "space" / "examples"
pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser, page_url):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(page_url)
    page.wait_for_selector("#result")
    yield page
    assert page.faults == []
    page.close()


def answer(page):
    page.wait_for_selector("#result h2")
    return page.inner_text("#result")


def test_an_example_is_answered_with_probability_decision_lesions_and_overlay(page):
    page.get_by_text("Ground-glass opacity", exact=True).first.click()
    text = answer(page)
    expected = json.loads(run_ladnn("predict", EXAMPLES / "ground_glass.png", "--format", "json").stdout)
    probability = float(re.search(r"Probability of COVID-19 ([\d.]+)", text)[1])
    assert probability == pytest.approx(expected["covid_probability"], abs=6e-4)
    assert ("Looks like COVID-19" in text) == (expected["decision"] == "positive")
    shown = [float(number) for number in re.findall(r"\t\s*(\d\.\d\d)$", text, re.M)]
    assert shown == pytest.approx(list(expected["lesions"].values()), abs=6e-3)
    page.wait_for_selector("#overlay img")


def test_the_overlay_follows_the_chosen_lesion(page):
    page.get_by_text("Consolidation", exact=True).first.click()
    shown = page.locator("#overlay img")
    before = shown.get_attribute("src")
    page.get_by_label("Show what speaks for").click()
    page.get_by_role("option", name="consolidation").click()
    page.wait_for_function("before => document.querySelector('#overlay img')?.src != before", arg=before)
    assert "/file=" in before and shown.get_attribute("src") != before


def test_an_uploaded_slice_is_answered_and_a_bad_file_gets_a_sentence(page, phantom, tmp_path):
    phantom.save(tmp_path / "mine.png")
    (tmp_path / "<b>bad<b>.png").write_bytes(b"no picture")
    page.set_input_files("input[type=file]", tmp_path / "mine.png")
    assert "Probability of COVID-19" in answer(page)
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    page.wait_for_selector("#result .waiting")
    page.set_input_files("input[type=file]", tmp_path / "<b>bad<b>.png")
    text = answer(page)
    assert "Not answered" in text and "Expected an image (PNG, JPEG, WEBP, BMP, TIFF)" in text
    assert "Traceback" not in page.content()


def test_the_notice_is_on_the_page_and_it_fits_a_phone(browser, page_url):
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    phone.goto(f"{page_url}/?__theme=dark")
    phone.wait_for_selector("#result")
    assert "never for diagnosing a patient" in phone.inner_text("#head")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.close()


def test_a_second_tab_shows_the_facts_of_the_data_set_and_no_image_of_it(page):
    facts = json.loads((ROOT / "space" / "data_facts.json").read_text())
    page.get_by_role("tab", name="Data").click()
    shown = page.locator("#data")
    shown.wait_for(state="visible")
    text = shown.inner_text()
    for split, counts in facts["splits"].items():
        assert re.search(rf"{split}\s+{counts['slices']}\s+{counts['classes']['NonCOVID']}", text)
    assert all(finding["title"] in text for finding in facts["findings"])
    assert f"AUC {facts['file_only']['auc'][0]:.3f}" in text
    assert shown.locator("img").count() == 0


def test_ladnn_audit_names_the_audit_to_show_and_a_missing_one_is_said(tmp_path):
    row = {"split": "train", "file_name": "secret.png", "row": 0, "label": "COVID", "caption": "a report"}
    finding = {"kind": "tiny", "leak": False, "summary": "", "evidence": {}, "rows": [row]}
    facts = json.loads((ROOT / "space" / "data_facts.json").read_text())
    report = facts | {"dataset": "<mine>", "leak": False, "file_only": None, "findings": [finding]}
    (tmp_path / "audit.json").write_text(json.dumps(report))

    def shown(path):
        code = "from data_facts import data_facts; print(data_facts())"
        return run_python(code, cwd=ROOT / "space", env={"LADNN_AUDIT": str(path)}).stdout

    text = shown(tmp_path / "audit.json")
    assert "&lt;mine&gt;" in text and "The image is too small" in text and "No leak" in text
    assert "secret" not in text and "a report" not in text
    assert "ladnn data audit" in shown(tmp_path / "nowhere.json")


def test_the_facts_in_the_space_name_no_row_of_the_data():
    text = (ROOT / "space" / "data_facts.json").read_text()
    assert not re.search(r"\.(png|jpe?g)|file_name|Patient \d", text)
    assert all("rows" not in finding for finding in json.loads(text)["findings"])


def test_the_api_gives_the_command_lines_json(page_url, tmp_path, phantom):
    client = Client(page_url, verbose=False)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    phantom.save(tmp_path / "mine.png")
    for path in (EXAMPLES / "crazy_paving.png", tmp_path / "mine.png", tmp_path / "broken.png"):
        said = client.predict(handle_file(path), api_name="/predict")
        expected = json.loads(run_ladnn("predict", path, "--format", "json").stdout)
        assert said["image"] == path.name, "no path of the server"
        assert list(said) == list(expected)
        assert said["decision"] == expected["decision"] and said["reason"] == expected["reason"]
        if said["lesions"]:
            assert said["covid_probability"] == pytest.approx(expected["covid_probability"], abs=1e-4)
            assert said["lesions"] == pytest.approx(expected["lesions"], abs=1e-4)


def test_the_api_asks_for_a_file_in_words(page_url):
    with pytest.raises(Exception, match="Expected one image file, found none"):
        Client(page_url, verbose=False).predict(None, api_name="/predict")


def test_only_the_named_endpoint_is_public(page_url):
    assert set(Client(page_url, verbose=False).view_api(return_format="dict")["named_endpoints"]) == {
        "/predict"
    }


@pytest.mark.parametrize("command", [["app.py"], ["-m", "ladnn_hf", "demo"]])
def test_both_commands_open_the_page(command):
    started = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        overdue = threading.Timer(60, started.kill)
        overdue.start()
        assert any("Running on local URL" in line for line in started.stdout)
    finally:
        overdue.cancel()
        started.terminate()
        started.wait(20)


def test_a_model_that_is_none_is_said_instead_of_a_page(tmp_path):
    result = run_ladnn_alone("demo", "--model", tmp_path)
    assert result.returncode == 1
    assert result.stderr.strip().startswith(f"ladnn demo: {tmp_path}: expected a model folder")
    assert "Traceback" not in result.stderr
