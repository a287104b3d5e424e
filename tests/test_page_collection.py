"""The contribution tab in a real browser: given, found in the store, taken back."""

import re

import pytest
from conftest import ROOT, opened, run_ladnn, serving
from datasets import load_from_disk
from PIL import Image

from ladnn_hf import draw_phantom

pytestmark = pytest.mark.browser


@pytest.fixture
def own_slice(tmp_path):
    """A phantom that no other test contributes, with a name in its metadata."""
    number = int(str(abs(hash(tmp_path.name)))[:6])
    picture = draw_phantom(["Csld"], size=160, seed=number)
    exif = Image.Exif()
    exif[0x013B] = "Doe, Jane"
    picture.save(tmp_path / "Jane Doe.png", exif=exif)
    return tmp_path / "Jane Doe.png"


def fill(page, path, *, consent=True):
    page.get_by_role("tab", name="Contribute").click()
    with page.expect_response(lambda response: "/upload" in response.url):
        page.set_input_files("#contribute-file input[type=file]", path)
    page.get_by_label("COVID-19", exact=True).check()
    page.get_by_label("consolidation").check()
    page.locator("#report textarea").fill("=consolidation in the right lower lobe")
    if consent:
        page.locator("#consent input").check()
    page.locator("#send").click()


def test_a_contribution_is_found_in_the_store_trained_on_when_accepted_and_can_be_withdrawn(
    page, contributions, own_slice, tmp_path
):
    fill(page, own_slice)
    receipt = re.search(r"receipt is (\S+);", page.locator("#thanks p").inner_text())[1]
    listed = run_ladnn("data", "contributions", contributions, "list", "--format", "json").stdout
    (line,) = [line for line in listed.splitlines() if "right lower lobe" in line]
    name = re.search(r'"id": "(\w+)"', line)[1]
    assert run_ladnn("data", "contributions", contributions, "accept", name).returncode == 0
    output = tmp_path / "dataset"
    assert run_ladnn("data", "from-folder", contributions / "accepted", "--output", output).returncode == 0
    (row,) = [row for row in load_from_disk(output)["train"] if "right lower lobe" in (row["caption"] or "")]
    assert row["label"] == 1 and row["lesions"][1] == 1 and row["caption"].startswith("=consolidation")
    for file in contributions.rglob("*"):
        assert "Doe" not in file.name and (file.is_dir() or b"Doe" not in file.read_bytes()), file
    page.locator("#receipt input, #receipt textarea").fill(receipt)
    page.locator("#withdraw").click()
    page.locator("#withdrawn p").wait_for()
    assert "right lower lobe" not in run_ladnn("data", "contributions", contributions, "list").stdout


def test_without_consent_nothing_is_kept(page, contributions, own_slice):
    before = run_ladnn("data", "contributions", contributions, "list").stdout
    fill(page, own_slice, consent=False)
    page.get_by_text("consent", exact=False).last.wait_for()
    assert run_ladnn("data", "contributions", contributions, "list").stdout == before


def test_the_same_slice_is_not_taken_twice(page, contributions, own_slice):
    fill(page, own_slice)
    page.locator("#thanks p").wait_for()
    page.locator("#consent input:not(:checked)").wait_for()  # the next slice needs a consent of its own
    page.wait_for_function("!document.querySelector('#contribute-view img')")
    once = run_ladnn("data", "contributions", contributions, "list").stdout
    fill(page, own_slice)
    page.get_by_text("contributed already").wait_for()
    assert run_ladnn("data", "contributions", contributions, "list").stdout == once


def test_what_would_be_kept_is_shown_before_it_is_given(page, own_slice):
    page.get_by_role("tab", name="Contribute").click()
    page.set_input_files("#contribute-file input[type=file]", own_slice)
    page.get_by_text("This is all that is kept of the file.").wait_for()
    assert page.locator("#contribute-view img").evaluate("one => one.naturalWidth") == 160
    assert "Doe" not in page.locator("#contribute-view").inner_html()


def test_a_withdrawal_speaks_of_the_hub_only_where_it_keeps_a_copy(page, own_slice):
    fill(page, own_slice)
    page.locator("#receipt input, #receipt textarea").fill(page.locator("#thanks code").inner_text())
    page.locator("#withdraw").click()
    page.locator("#withdrawn p").wait_for()
    assert page.inner_text("#withdrawn") == "Withdrawn: the picture and what you wrote are deleted."


def test_what_is_no_slice_is_not_taken(page, contributions):
    before = run_ladnn("data", "contributions", contributions, "list").stdout
    fill(page, ROOT / "LICENSE")
    page.get_by_text("Expected an image").first.wait_for()
    assert run_ladnn("data", "contributions", contributions, "list").stdout == before


def test_without_a_folder_the_page_takes_nothing(browser, tmp_path):
    with serving(tmp_path / "log") as (url, _), opened(browser, url) as page:
        page.get_by_role("tab", name="Contribute").click()
        page.get_by_text("Collection is off on this page.").wait_for()
        assert page.locator("#send").count() == 0
