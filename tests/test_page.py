"""The page in a real browser: one slice, how it looks, who can read it, and a restart in the middle."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT, opened, run_ladnn, run_ladnn_alone, run_python, serving
from operating_points import OperatingPoints
from PIL import Image
from pypdf import PdfReader
from texts import term_in

from ladnn_hf.model_folder import scored_on

EXAMPLES = ROOT / "space" / "examples"
pytestmark = pytest.mark.browser


def answer(page):
    page.wait_for_selector("#result h2")
    return page.inner_text("#result")


def probability_in(text):
    return float(re.search(r"Probability of COVID-19: (\d\.\d+)", text)[1])


def give(page, path):
    page.set_input_files("#slice input[type=file]", path)


def give_file(page, path):
    with page.expect_file_chooser() as chooser:
        page.locator("#open").click()
    chooser.value.set_files(path)


def shown_heat(page):
    return page.locator("#view [data-map]:visible").get_attribute("data-map")


def test_an_example_is_answered_with_probability_decision_lesions_and_overlay(page):
    page.get_by_text("Ground-glass opacity", exact=True).first.click()
    text = answer(page)
    expected = json.loads(run_ladnn("predict", EXAMPLES / "ground_glass.png", "--format", "json").stdout)
    assert probability_in(text) == pytest.approx(expected["covid_probability"], abs=6e-4)
    assert ("Looks like COVID-19" in text) == (expected["decision"] == "positive")
    shown = [float(number) for number in re.findall(r"\t\s*(\d\.\d\d)$", text, re.M)]
    assert shown == pytest.approx(list(expected["lesions"].values()), abs=6e-3)
    assert "PNG 512×512 pixels" in text and shown_heat(page) == "covid"


def test_the_heat_follows_the_chosen_lesion_and_its_opacity_the_slider(page):
    page.get_by_text("Consolidation", exact=True).first.click()
    answer(page)
    page.get_by_label("Show what speaks for").click()
    page.get_by_role("option", name="consolidation").click()
    page.wait_for_selector('#view [data-map="Csld"]', state="visible")
    assert shown_heat(page) == "Csld"
    page.locator("#opacity input[type=number]").fill("0.2")
    page.wait_for_function("getComputedStyle(document.querySelector('#view [data-map=Csld]')).opacity == 0.2")
    page.get_by_text("Crazy paving", exact=True).first.click()  # what was chosen stays chosen
    page.wait_for_function("document.querySelector('#slice img')?.src.includes('crazy')")
    page.wait_for_selector('#view [data-map="Csld"]', state="visible")


def test_an_uploaded_slice_is_answered_and_a_bad_file_gets_a_sentence(page, phantom, tmp_path):
    phantom.save(tmp_path / "mine.png")
    (tmp_path / "<b>bad<b>.png").write_bytes(b"no picture")
    give(page, tmp_path / "mine.png")
    assert "Probability of COVID-19" in answer(page)
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    page.wait_for_selector("#result .waiting")
    give(page, tmp_path / "<b>bad<b>.png")
    text = answer(page)
    assert "Not answered" in text and "Expected an image" in text
    assert "Traceback" not in page.content()


def test_a_dicom_slice_is_shown_in_the_lung_window_and_another_window_answers_anew(page, dicom_series):
    give_file(page, dicom_series / "7.dcm")
    text = answer(page)
    expected = json.loads(run_ladnn("predict", dicom_series / "7.dcm", "--format", "json").stdout)
    assert probability_in(text) == pytest.approx(expected["covid_probability"], abs=6e-4)
    assert "DICOM 128×128 pixels. Window: level -600 HU, width 1500 HU." in text
    assert "Doe^Jane" not in page.content() and "Jane" not in page.content()
    page.locator("#width input[type=number]").fill("400")
    page.locator("#width input[type=number]").press("Enter")
    page.wait_for_function("document.querySelector('#result').innerText.includes('width 400 HU')")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    assert json.loads(download.value.path().read_text())["image"] == "7.dcm"
    give_file(page, dicom_series / "8.dcm")
    page.wait_for_function("document.querySelector('#result').innerText.includes('width 1500 HU')")


HANDED = """(target, [kind, content, name, type]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(content), (one) => one.charCodeAt(0))], name, { type }));
  const about = { bubbles: true, cancelable: true };
  if (kind == "paste") target.dispatchEvent(new ClipboardEvent("paste", { ...about, clipboardData: files }));
  else for (const step of ["dragenter", "dragover", "drop"])
    target.dispatchEvent(new DragEvent(step, { ...about, dataTransfer: files }));
}"""


def hand(page, kind, place, path, media_type):
    content = base64.b64encode(path.read_bytes()).decode()
    page.locator(place).first.evaluate(HANDED, [kind, content, path.name, media_type])


@pytest.mark.parametrize("place", ["#slice button", "#head"])
def test_a_dicom_file_may_be_dropped_on_the_picture_or_beside_it(page, dicom_series, place):
    hand(page, "drop", place, dicom_series / "7.dcm", "")
    assert "DICOM 128×128 pixels" in answer(page)
    assert page.get_by_text("Invalid file type").count() == 0


def test_a_picture_may_be_pasted_and_dropped_beside_the_place_for_it(page):
    hand(page, "paste", "body", EXAMPLES / "ground_glass.png", "image/png")
    first = probability_in(answer(page))
    hand(page, "drop", "#head", EXAMPLES / "consolidation.png", "image/png")
    page.wait_for_function(
        "first => !document.querySelector('#result').innerText.includes(first)", arg=f"{first:.3f}"
    )
    assert "Probability of COVID-19" in answer(page)


def test_a_picture_that_the_browser_cannot_draw_leaves_no_broken_one(page, phantom, tmp_path):
    phantom.save(tmp_path / "mine.tif")
    give(page, tmp_path / "mine.tif")
    assert "TIFF" in answer(page) and page.locator("#view .slice").is_visible()
    page.wait_for_function("getComputedStyle(document.querySelector('#slice img')).visibility == 'hidden'")


def test_what_was_refused_has_no_heat_to_set(page, tmp_path):
    coloured = Image.linear_gradient("L")
    Image.merge("RGB", (coloured, coloured.rotate(90), coloured.rotate(180))).save(tmp_path / "coloured.png")
    give(page, tmp_path / "coloured.png")
    assert "Not answered" in answer(page)
    assert not page.locator("#heat:visible").count() and page.get_by_text("Download JSON").is_visible()


def test_on_a_phone_the_answer_comes_into_view_and_all_tabs_are_in_one_line(browser, page_url):
    with opened(browser, page_url, width=390) as page:
        for tab in ("Slice", "Batch", "Contribute", "About", "Data"):
            assert page.get_by_role("tab", name=tab).is_visible(), tab
        page.get_by_text("Ground-glass opacity", exact=True).first.click()
        answer(page)
        page.wait_for_function("document.querySelector('#result h2').getBoundingClientRect().top < 200")


def test_another_operating_point_is_told_with_what_validation_gives_it(page):
    page.get_by_text("Healthy lungs", exact=True).first.click()
    text = answer(page)
    page.get_by_text("Another operating point").click()
    page.locator("#threshold input[type=number]").fill("0.01")
    page.locator("#threshold input[type=number]").press("Enter")
    page.wait_for_function("parseInt(/[0-9]+%/.exec(document.querySelector('#validated').innerText)) > 95")
    assert "Looks like COVID-19" in answer(page) and probability_in(answer(page)) == probability_in(text)
    sensitivity, specificity = map(int, re.findall(r"(\d+)%", page.inner_text("#validated")))
    assert sensitivity > 95 and specificity < 50


def test_the_report_and_the_json_are_saved_by_the_browser(page, tmp_path):
    page.get_by_text("Ground-glass opacity", exact=True).first.click()
    text = answer(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    said = json.loads(download.value.path().read_text())
    assert probability_in(text) == pytest.approx(said["covid_probability"], abs=6e-4)
    assert said["image"] == "ground_glass.png" and said["model"] == "bundled"
    first = saved_report(page)
    assert "What speaks for COVID-19, in orange" in first.pages[0].extract_text()
    page.get_by_label("Show what speaks for").click()
    page.get_by_role("option", name="consolidation").click()
    page.locator("#opacity input[type=number]").fill("0")
    page.locator("#opacity input[type=number]").press("Enter")
    page.wait_for_function("getComputedStyle(document.querySelector('#view [data-map=Csld]')).opacity == 0")
    clear = saved_report(page).pages[0]
    assert "What speaks for consolidation, in orange" in clear.extract_text()
    plain, bare = (np.asarray(shown.image.convert("RGB"), int) for shown in clear.images)
    assert np.abs(plain - bare).max() < 12, "without opacity there is no heat"


def saved_report(page):
    with page.expect_download() as download:
        page.get_by_role("button", name="Download report").click()
    assert download.value.suggested_filename == "report.pdf"
    return PdfReader(download.value.path())


def test_before_an_answer_there_is_nothing_to_set_or_to_save(page):
    assert page.get_by_text("will be shown here").is_visible()
    for name in ("Download JSON", "Download report (PDF)", "Another operating point"):
        assert not page.get_by_text(name).is_visible()


SHOWN = """() => {
  const said = [], labels = ["aria-label", "title", "placeholder", "alt"];
  for (const element of document.body.querySelectorAll("*")) {
    if (element.closest("script, style") || !element.checkVisibility()) continue;
    said.push(...[...element.childNodes].filter((node) => node.nodeType == 3).map((node) => node.data));
    said.push(...labels.map((label) => element.getAttribute(label) ?? ""));
  }
  return said;
}"""


@pytest.mark.parametrize("locale", ["zh-CN", "zh-HK", "zh"])
def test_a_chinese_browser_gets_chinese_on_every_tab(browser, page_url, locale):
    with opened(browser, page_url, locale=locale) as page:
        page.get_by_text("磨玻璃影", exact=True).first.click()
        assert "概率" in answer(page) and "绝不可用于诊断患者" in page.inner_text("#head")
        page.get_by_role("button", name="PDF").wait_for()
        for tab in ("单个层面", "批量", "贡献图像", "关于", "数据"):
            page.get_by_role("tab", name=tab).click()
            page.get_by_role("tab", name=tab, selected=True).wait_for()
            said = [words for words in page.evaluate(SHOWN) if not re.search("medRxiv|Liu B.", words)]
            assert [words for words in said if re.search("[A-Za-z]{3,} [A-Za-z]{3,}", words)] == [], tab
        page.get_by_role("tab", name="批量").click()
        page.get_by_role("button", name="全部作答").click()
        page.get_by_text("未完成").wait_for()
        page.get_by_text("应提供文件，但未收到").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_tab_fits_a_phone_and_has_no_serious_fault_for_a_screen_reader(browser, page_url, theme):
    with opened(browser, f"{page_url}/?__theme={theme}", width=390) as page:
        page.get_by_text("Ground-glass opacity", exact=True).first.click()
        answer(page)
        for tab in ("Slice", "Batch", "Contribute", "About", "Data"):
            choose(page, tab)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
            violations = Axe().run(page).response["violations"]
            serious = {
                found["id"]: [node["html"][:200] for node in found["nodes"]]
                for found in violations
                if found["impact"] in ("serious", "critical")
            }
            assert serious == {}, tab


def choose(page, tab):
    """Open a tab; on a phone those that do not fit are in a menu."""
    button = page.get_by_role("tab", name=tab)
    if not button.is_visible():
        page.locator(".overflow-menu button").first.click()
        button = page.locator(".overflow-dropdown button", has_text=tab)
    button.click()


def test_a_page_that_was_restarted_answers_the_next_slice(browser, tmp_path, phantom):
    phantom.save(tmp_path / "mine.png")
    with serving(tmp_path / "log") as (url, server), opened(browser, url) as page:
        give(page, tmp_path / "mine.png")
        first = answer(page)
        port = int(url.rsplit(":", 1)[1])
        server.send_signal(signal.SIGKILL)
        server.wait()
        with serving(tmp_path / "log", port):
            page.reload()
            page.wait_for_selector("#result .waiting")
            give(page, tmp_path / "mine.png")
            assert probability_in(answer(page)) == probability_in(first)


def test_the_about_tab_has_the_reports_numbers(page):
    report = json.loads((ROOT / "ladnn_hf" / "weights" / "report.json").read_text())["test"]
    page.get_by_role("tab", name="About").click()
    page.locator("#about h2").first.wait_for()
    text = page.inner_text("#about")
    link = page.locator("#about a").first
    assert "underline" in link.evaluate("link => getComputedStyle(link).textDecorationLine")
    for row in report["rows"]:
        value, low, high = row["auc"]
        assert term_in(row["title"], "en") in text and f"{value:.3f} ({low:.3f}–{high:.3f})" in text
    assert "lungs blacked out, all answered" in text and "the file alone, all answered" not in text
    assert "medRxiv 10.1101/2020.05.11.20097907" in text


def test_a_tab_shows_the_facts_of_the_data_set_and_no_image_of_it(page):
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
    code = """
import os, sys
from data_facts import data_html, read_facts
for os.environ["LADNN_AUDIT"] in sys.argv[1:]:
    print(data_html(read_facts(), "en"))
"""
    paths = tmp_path / "audit.json", tmp_path / "nowhere.json"
    shown = run_python(code, *paths, cwd=ROOT / "space")
    text = shown.stdout
    assert "&lt;mine&gt;" in text and "The image is too small" in text and "No leak" in text
    assert "secret" not in text and "a report" not in text
    assert "ValueError: expected LADNN_AUDIT to name an audit.json, found none; make" in shown.stderr


def test_the_facts_in_the_space_name_no_row_of_the_data():
    text = (ROOT / "space" / "data_facts.json").read_text()
    assert not re.search(r"\.(png|jpe?g)|file_name|Patient \d", text)
    assert all("rows" not in finding for finding in json.loads(text)["findings"])


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


def test_contributions_that_cannot_be_kept_are_said_instead_of_a_page(tmp_path):
    (tmp_path / "file").write_text("no folder")
    result = run_ladnn_alone("demo", env={"LADNN_CONTRIBUTIONS": str(tmp_path / "file")})
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert result.stderr.startswith("ladnn demo: expected a folder of contributions that can be read")


@pytest.mark.parametrize("several", [True, False])
def test_what_validation_says_of_other_operating_points_is_found_in_either_report(several):
    point = {"threshold": 0.6, "sensitivity": 0.8, "specificity": 0.7}
    scored = {"split": "validation", "operating_points": [point]}
    report = {"training": {}, "validation": scored} if several else scored
    assert OperatingPoints(scored_on(report, "validation")).at(0.5) == (0.8, 0.7)
    assert scored_on(report, "test") is None
