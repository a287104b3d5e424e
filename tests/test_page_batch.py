"""The batch tab in a real browser: good and bad files, a series, sorting, saving, stopping."""

import csv
import io
import json
import re
import shutil
import zipfile

import pytest
from batch_inputs import expand
from conftest import ROOT, run_ladnn
from dicom_files import to_hu, write_dicom

from ladnn_hf import Predictor, draw_phantom

EXAMPLES = ROOT / "space" / "examples"
pytestmark = pytest.mark.browser


def give(page, paths):
    page.get_by_role("tab", name="Batch").click()
    with page.expect_response(lambda response: "/upload" in response.url):
        page.set_input_files("#batch-files input[type=file]", paths)
    page.wait_for_function(
        "n => document.querySelectorAll('#batch-files tr.file').length == n", arg=len(paths)
    )


def run(page):
    page.get_by_role("button", name="Answer all").click()
    page.wait_for_selector("#table tbody tr")


def names(page):
    return [row.inner_text().strip() for row in page.locator("#table tbody th").all()]


def column(page):
    """Each answered slice's probability, by its name, in the order of the table."""
    rows = page.locator("#table tbody tr:not(.refused)").all()
    cells = [row.locator("td:nth-child(3)") for row in rows]
    shown = [row.locator("th").inner_text().strip() for row in rows]
    return dict(zip(shown, (float(cell.get_attribute("data-value")) for cell in cells), strict=True))


def test_good_and_bad_files_are_answered_together_sorted_and_saved(page, tmp_path):
    (tmp_path / "=HYPERLINK(1).png").write_bytes(b"no picture")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(EXAMPLES / "crazy_paving.png", "crazy.png")
    give(page, [*sorted(EXAMPLES.glob("*g*.png")), tmp_path / "more.zip", tmp_path / "=HYPERLINK(1).png"])
    run(page)
    answered = {path.name for path in EXAMPLES.glob("*g*.png")}
    assert answered < set(names(page)) and "more.zip/crazy.png" in names(page)
    assert re.search(r"^1\s*Not answered", page.inner_text("#summary"), re.M)
    assert page.locator("#table tbody img").count() == len(answered) + 1
    page.get_by_role("button", name="Probability").click()
    shown = [float(number) for number in re.findall(r"\t(0\.\d{3})\t", page.inner_text("#table")) if number]
    scores = list(column(page).values())
    assert shown and scores == sorted(scores, reverse=True)
    refused = page.locator("#table tbody tr.refused").inner_text()
    assert refused.startswith("=HYPERLINK(1).png") and "Not answered Expected an image" in refused
    assert page.locator("#table tbody tr:last-child.refused").count(), "it has no number to go by"
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8-sig"))))
    assert len(rows) == len(answered) + 2
    assert not any(cell.startswith("=") for row in rows for cell in row.values())
    with page.expect_download() as download:
        page.locator("#batch-download-json").click()
    said = {answer["image"]: answer for answer in json.loads(download.value.path().read_text())}
    alone = json.loads(run_ladnn("predict", EXAMPLES / "crazy_paving.png", "--format", "json").stdout)
    crazy = said["more.zip/crazy.png"]
    assert crazy["covid_probability"] == pytest.approx(alone["covid_probability"], abs=1e-4)


def test_a_series_is_a_strip_in_the_order_of_the_body_with_its_most_telling_slices(page, dicom_series):
    give(page, sorted(dicom_series.iterdir()))
    run(page)
    assert names(page) == [f"{9 - number}.dcm" for number in range(5)]
    assert page.locator("#strip .strip li").count() == 5
    telling = page.locator("#strip .telling li")
    shown = dict(re.search(r"(0\.\d+)\s*(\d\.dcm)", one).groups()[::-1] for one in telling.all_inner_texts())
    scores = column(page)
    most = sorted(scores.values(), reverse=True)[:3]
    assert [float(score) for score in shown.values()] == pytest.approx(most, abs=6e-4)
    assert all(float(score) == pytest.approx(scores[name], abs=6e-4) for name, score in shown.items())
    widths = telling.locator("img").evaluate_all("all => all.map((one) => one.naturalWidth)")
    assert all(width > 100 for width in widths), "shown, and larger than the table's thumbnails"


def test_a_zipped_series_is_one_too_and_what_is_no_longer_kept_stops_nothing(dicom_series, tmp_path):
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as archive:
        for path in dicom_series.iterdir():
            archive.write(path, f"study/{path.stem if path.stem == '7' else path.name}")
        archive.writestr("study/README", "no slice")
    given = expand([str(tmp_path / "series.zip"), str(tmp_path / "gone.png"), str(tmp_path / "gone.dcm")])
    members = [f"{9 - number}.dcm" for number in range(5)]
    members[members.index("7.dcm")] = "7"
    assert [one.name for one in given] == [
        "gone.png",
        "gone.dcm",
        *(f"series.zip/study/{m}" for m in members),
    ]
    assert len({one.series for one in given[2:]}) == 1 and given[0].series is given[1].series is None
    answers = list(Predictor(gate=False).predict(one.open() for one in given))
    assert ["give it again" in (answer.reason or "") for answer in answers] == [True] * 2 + [False] * 5
    assert all(answer.slice.hu is not None for answer in answers[2:])


def test_dicom_without_a_preamble_in_a_zip_is_known_by_its_name(tmp_path):
    hu = to_hu(draw_phantom(["GGO"], size=96, seed=1))
    path = write_dicom(tmp_path / "slice.dcm", hu, preamble=False)
    with zipfile.ZipFile(tmp_path / "bare.zip", "w") as archive:
        archive.write(path, "study/slice.dcm")
    (one,) = expand([str(tmp_path / "bare.zip")])
    assert one.series and Predictor(gate=False)(one.open()).slice.hu is not None


def test_a_batch_that_is_stopped_keeps_what_is_done(page, tmp_path):
    for number in range(300):
        shutil.copy(EXAMPLES / "healthy.png", tmp_path / f"{number:03}.png")
    give(page, sorted(tmp_path.glob("*.png")))
    cancel = page.get_by_role("button", name="Cancel")
    assert cancel.is_disabled(), "nothing runs"
    page.get_by_role("button", name="Answer all").click()
    page.wait_for_selector("#summary progress:not([value='0'])")
    cancel.click()
    page.wait_for_selector("#table tbody tr")
    page.wait_for_selector("#cancel:disabled")
    done = int(re.search(r"(\d+) answered before you stopped", page.inner_text("#summary"))[1])
    assert 0 < done < 300 and page.locator("#table tbody tr").count() == done


def test_without_files_the_page_asks_for_some(page):
    page.get_by_role("tab", name="Batch").click()
    page.get_by_role("button", name="Answer all").click()
    page.get_by_text("Expected files, found none").wait_for()
    page.wait_for_selector("#cancel:disabled")
