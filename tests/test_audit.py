import csv
import io
import json

import numpy as np
import pytest
from conftest import run_ladnn
from datasets import Dataset, DatasetDict, Features, Image, Value, load_from_disk
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

from ladnn_hf import draw_phantom
from ladnn_hf.audit import facts
from ladnn_hf.slice_dataset import FEATURES, slice_row

SIDE = 192


def drawn(seed, findings=()):
    """A phantom with vessels of its own: phantoms alone have too little structure to tell them apart."""
    picture = draw_phantom(list(findings), size=SIDE, seed=seed)
    pen, generator = ImageDraw.Draw(picture), np.random.default_rng(seed)
    for x, y, radius in generator.uniform((0, 0, 1), (SIDE, SIDE, 5), (90, 3)):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(generator.integers(90, 256)))
    return picture.filter(ImageFilter.GaussianBlur(0.7))


def content(picture, suffix="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, suffix, **options)
    return buffer.getvalue()


def row(picture, name, label="NonCOVID", **known):
    bytes_ = picture if isinstance(picture, bytes) else content(picture)
    return slice_row(bytes_, file_name=name, label=label, **known)


def saved(folder, **splits):
    DatasetDict(
        {split: Dataset.from_list(rows, features=FEATURES) for split, rows in splits.items()}
    ).save_to_disk(folder)
    return folder


def audited(dataset, output, *flags):
    result = run_ladnn("data", "audit", dataset, "--output", output, *flags)
    assert "Traceback" not in result.stderr, result.stderr
    return result, json.loads((output / "audit.json").read_text())


def of_kind(report, kind):
    return [finding for finding in report["findings"] if finding["kind"] == kind]


def places(finding):
    return [(row["split"], row["file_name"]) for row in finding["rows"]]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The audit of a data set with one fault of each kind, and nothing else but harmless slices."""
    folder = tmp_path_factory.mktemp("planted")
    original = {name: drawn(seed) for seed, name in enumerate(("cropped", "turned", "annotated", "jpeg"))}
    width = SIDE - 10
    annotated = original["annotated"].copy()
    ImageDraw.Draw(annotated).line((60, 60, 90, 75), fill=255, width=3)
    train = [row(picture, f"{name}.png") for name, picture in original.items()]
    train += [
        row(drawn(20), "patient_a.png", patient_id="Patient 1", source="10.1/a"),
        row(drawn(21), "control.png", "COVID", caption="CT images of the control group."),
        row(drawn(22), "both.png", "COVID", caption="CT of COVID-19 and influenza."),
        row(drawn(23), "sick.png", "NonCOVID", caption="CT of a patient with COVID-19."),
        row(drawn(24), "early.png", "COVID", caption="CT taken on March 3, 2017."),
        row(drawn(25), "fine.png", "COVID", caption="CT on 3 February 2020, no tuberculosis, of COVID-19."),
    ]
    train += [row(drawn(30 + at), f"more{at}.png", "COVID" if at % 2 else "NonCOVID") for at in range(4)]
    test = [
        row(original["cropped"].crop((6, 4, width, SIDE)), "cropped copy.png", "COVID"),
        row(original["turned"].rotate(5, Pillow.Resampling.BICUBIC), "turned copy.png"),
        row(annotated, "annotated copy.png"),
        row(content(original["jpeg"].resize((300, 310)), "JPEG", quality=50), "jpeg copy.jpg"),
        row(drawn(40), "patient_b.png", patient_id="Patient 1", source="10.1/a"),
        row(drawn(41), "twin.png"),
        row(drawn(41), "twin again.png"),
        row(Pillow.new("L", (64, 64), 7), "blank.png"),
        row(Pillow.new("L", (20, 64), 7), "tiny.png"),
        row(Pillow.effect_noise((128, 128), 80), "noise.png"),
        row(Pillow.radial_gradient("L").convert("RGB").convert("HSV").convert("RGB"), "disc.png", "COVID"),
    ]
    result, report = audited(saved(folder / "dataset", train=train, test=test), folder / "audit", "--exclude")
    return folder, result, report


@pytest.mark.parametrize("name", ["cropped", "turned", "annotated", "jpeg"])
def test_a_copy_in_another_split_is_a_leak(planted, name):
    _, _, report = planted
    suffix = "jpg" if name == "jpeg" else "png"
    pair = [("train", f"{name}.png"), ("test", f"{name} copy.{suffix}")]
    (finding,) = [finding for finding in of_kind(report, "same_image") if places(finding) == pair]
    assert finding["leak"] and finding["evidence"]["across_splits"] and not finding["evidence"]["exact"]
    assert finding["evidence"]["similarity"] > 0.9
    assert finding["evidence"]["two_labels"] == (name == "cropped")


def test_no_other_slices_are_called_the_same(planted):
    _, _, report = planted
    assert len(of_kind(report, "same_image")) == 5 and not of_kind(report, "same_scan")


def test_the_same_pixels_in_one_split_are_found_and_no_leak(planted):
    _, _, report = planted
    (finding,) = [finding for finding in of_kind(report, "same_image") if finding["evidence"]["exact"]]
    assert places(finding) == [("test", "twin.png"), ("test", "twin again.png")] and not finding["leak"]


@pytest.mark.parametrize(("kind", "value"), [("shared_patient", "Patient 1"), ("shared_source", "10.1/a")])
def test_one_patient_or_one_paper_in_two_splits_is_a_leak(planted, kind, value):
    _, _, report = planted
    (finding,) = of_kind(report, kind)
    assert value in finding["summary"] and finding["leak"]
    assert places(finding) == [("train", "patient_a.png"), ("test", "patient_b.png")]


def test_captions_that_contradict_the_label_are_listed_with_the_caption(planted):
    _, _, report = planted
    said = {places(f)[0][1]: f["evidence"]["speaks_of"] for f in of_kind(report, "caption_contradicts_label")}
    assert said == {
        "control.png": "control",
        "sick.png": "covid",
        "early.png": "before_december_2019",
    }
    assert all(f["rows"][0]["caption"].startswith("CT") for f in of_kind(report, "caption_contradicts_label"))
    (doubt,) = of_kind(report, "caption_in_doubt")
    assert places(doubt) == [("train", "both.png")] and "influenza" in doubt["summary"]


def test_pictures_that_are_no_slices_are_listed_with_the_reason(planted):
    _, _, report = planted
    for kind in ("blank", "tiny"):
        (finding,) = of_kind(report, kind)
        assert places(finding) == [("test", f"{kind}.png")]
    (finding,) = of_kind(report, "not_ct")
    assert places(finding) == [("test", "noise.png")] and "fine structure" in finding["summary"]


def test_a_leak_ends_with_status_1_and_is_said(planted):
    folder, result, report = planted
    assert result.returncode == 1 and report["leak"]
    assert "The same image twice in two splits, with two labels: 1 findings, 2 slices. Leak." in result.stdout
    assert result.stdout.rstrip().endswith(f"{folder / 'audit' / 'audit.html'}: leaks")


def test_counts_of_each_split_are_those_of_the_data(planted):
    _, _, report = planted
    train = report["splits"]["train"]
    assert (train["slices"], train["classes"]) == (14, {"NonCOVID": 8, "COVID": 6})
    assert (train["patients"], train["sources"], train["modes"]) == (1, 1, {"L": 14})
    assert report["splits"]["test"]["formats"]["JPEG"] == 1


def test_the_page_and_the_text_name_what_was_found(planted):
    folder, _, _ = planted
    page, text = ((folder / "audit" / name).read_text() for name in ("audit.html", "audit.md"))
    for written in (page, text):
        assert "cropped copy.png" in written and "CT images of the control group." in written
    assert page.count("data:image/jpeg;base64,") > 10 and "data:image" not in text


def test_exclude_writes_the_rest_and_the_reason_for_each_slice(planted):
    folder, _, _ = planted
    with (folder / "audit" / "excluded.csv").open(newline="") as stream:
        reasons = {(row["split"], row["file_name"]): row["reason"] for row in csv.DictReader(stream)}
    assert set(reasons) == {
        ("train", "cropped.png"),  # two labels: nobody knows which is right
        *(("train", f"{name}.png") for name in ("control", "sick", "early")),
        *(("test", f"{name} copy.png") for name in ("cropped", "turned", "annotated")),
        ("test", "jpeg copy.jpg"),
        *(("test", f"{name}.png") for name in ("blank", "tiny", "noise")),
    }
    assert "speaks of a control" in reasons["train", "control.png"]
    cleaned = load_from_disk(folder / "audit" / "cleaned")
    assert {name: len(rows) for name, rows in cleaned.items()} == {"train": 10, "test": 4}
    assert cleaned["test"].features == FEATURES
    assert cleaned["test"]["file_name"] == ["patient_b.png", "twin.png", "twin again.png", "disc.png"]
    assert cleaned["test"][0]["image"].size == (SIDE, SIDE)


def test_the_facts_of_an_audit_hold_no_row_name_or_caption(planted):
    _, _, report = planted
    shown = json.dumps(facts(report))
    assert "patient_a" not in shown and "Patient 1" not in shown and "control group" not in shown
    same = [finding for finding in facts(report)["findings"] if finding["kind"] == "same_image"]
    assert {(finding["title"], finding["findings"], finding["slices"]) for finding in same} == {
        ("The same image twice in two splits, with two labels", 1, 2),
        ("The same image twice in two splits", 3, 6),
        ("The same image twice in one split", 1, 2),
    }


def test_a_file_that_tells_the_label_is_found(tmp_path):
    def rows(start, count):
        for at in range(start, start + count):
            ill = at % 2
            yield row(
                content(drawn(at), "JPEG" if ill else "PNG"),
                f"{at}.{'jpg' if ill else 'png'}",
                "COVID" if ill else "NonCOVID",
                patient_id=str(at),
            )

    dataset = saved(tmp_path / "dataset", train=list(rows(0, 12)), test=list(rows(100, 12)))
    result, report = audited(dataset, tmp_path / "audit")
    assert result.returncode == 0 and not report["leak"], "a shortcut is no leak"
    (finding,) = of_kind(report, "file_predicts_label")
    assert report["file_only"]["auc"] == [1.0, 1.0, 1.0] and "AUC 1.000 on test" in finding["summary"]
    assert {"class"} == {
        key for f in of_kind(report, "too_rare") for key in ("class",) if key in f["evidence"]
    }


def test_any_data_set_with_images_and_labels_can_be_audited(tmp_path):
    bare = Features({"image": Image(), "label": Value("int64")})
    rows = [{"image": {"bytes": content(drawn(at)), "path": None}, "label": at % 2} for at in range(4)]
    rows.append({"image": {"bytes": b"no picture", "path": None}, "label": 0})
    rows.append({"image": None, "label": 1})
    wrong = Dataset.from_list(rows[4:], features=bare)  # no slice of it is left
    DatasetDict(train=Dataset.from_list(rows, features=bare), test=wrong).save_to_disk(tmp_path / "bare")
    result, report = audited(tmp_path / "bare", tmp_path / "audit", "--exclude")
    assert result.returncode == 0
    found = [places(finding) for finding in of_kind(report, "unreadable")]
    assert found == [
        [(split, f"row {row}")] for split, row in (("train", 4), ("train", 5), ("test", 0), ("test", 1))
    ]
    assert report["file_only"] is None
    cleaned = load_from_disk(tmp_path / "audit" / "cleaned")
    assert {name: len(rows) for name, rows in cleaned.items()} == {"train": 4}


def test_a_name_that_is_html_is_shown_as_text(tmp_path):
    evil = "<script>alert(1)</script>"
    rows = [row(drawn(1), f"{evil}.png"), row(drawn(1), f"b{evil}.png", "COVID", caption=f"control {evil}")]
    audited(saved(tmp_path / "dataset", train=rows), tmp_path / "audit")
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert evil not in page and "&lt;script&gt;" in page


def test_an_audit_never_overwrites_and_needs_a_data_set(phantom_slices, tmp_path):
    (tmp_path / "audit").mkdir()
    result = run_ladnn("data", "audit", phantom_slices, "--output", tmp_path / "audit")
    assert result.returncode == 1 and "expected a folder that is not there yet, found one" in result.stderr
    result = run_ladnn("data", "audit", tmp_path / "audit", "--output", tmp_path / "other")
    assert result.returncode == 1 and "expected a saved slice data set, found none" in result.stderr


@pytest.mark.real_data
def test_covid_ct_has_the_faults_that_are_known(covid_ct, tmp_path):
    result, report = audited(covid_ct, tmp_path / "audit")
    assert result.returncode == 1
    same = of_kind(report, "same_image")
    assert sum(f["evidence"]["across_splits"] and f["evidence"]["two_labels"] for f in same) == 2
    assert sum(f["evidence"]["across_splits"] for f in same) == 8 and len(same) == 18
    assert len(of_kind(report, "caption_contradicts_label")) == 11
    assert len(of_kind(report, "shared_source")) == 3 and not of_kind(report, "shared_patient")
    scores = report["file_only"]
    assert scores["auc"][0] == pytest.approx(0.951, abs=0.01), "as README says"
    assert scores["traces"]["auc"][0] == pytest.approx(0.981, abs=0.01), "as README says"
    assert not any(of_kind(report, kind) for kind in ("blank", "tiny", "not_ct", "unreadable", "same_scan"))
    rare = {(f["evidence"]["split"], f["evidence"].get("lesion")) for f in of_kind(report, "too_rare")}
    assert ("test", "InSepThi") in rare and ("test", "Csld") not in rare
