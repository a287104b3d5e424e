import os
import re
import shutil
import zipfile

import datasets
import numpy as np
import pytest
from conftest import run_ladnn

from ladnn_hf.slice_dataset import FEATURES, slice_row

pytestmark = pytest.mark.real_data


@pytest.fixture
def source(real_data, tmp_path):
    """A copy of both folders in which every file is a link, to be replaced one at a time."""
    for name in ("COVID-CT", "LA-DNN"):
        shutil.copytree(real_data / name, tmp_path / name, copy_function=os.symlink)
    return tmp_path


def build(source, *flags):
    return run_ladnn(
        *("data", "build", "--covid-ct", source / "COVID-CT", "--la-dnn", source / "LA-DNN"),
        *("--output", source / "built", *flags),
    )


def test_covid_ct_has_the_published_splits_and_features(covid_ct):
    slices = datasets.load_from_disk(covid_ct)
    assert {name: len(rows) for name, rows in slices.items()} == {
        "train": 425,
        "validation": 118,
        "test": 203,
    }
    assert slices["train"].features == FEATURES
    assert [int(np.sum(rows["label"])) for rows in slices.values()] == [191, 60, 98]
    assert all(None not in rows["patient_id"] for rows in slices.values())


def test_lesions_are_five_values_or_none_and_all_five_occur(covid_ct):
    for split, present in (("train", [108, 51, 11, 8, 12]), ("validation", [37, 10, 0, 0, 0])):
        rows = datasets.load_from_disk(covid_ct)[split]
        lesions, labels = np.array(rows["lesions"]), np.array(rows["label"])
        missing = np.isnan(lesions)
        assert np.array_equal(missing.any(axis=1), missing.all(axis=1))
        assert missing[labels == 0].all(), "a negative has no lesion labels"
        assert np.nansum(lesions, axis=0).tolist() == present
        assert np.nanmax(lesions[~missing.any(axis=1)].sum(axis=1)) >= 1


def test_each_row_says_what_its_file_is(covid_ct):
    rows = datasets.load_from_disk(covid_ct)["test"]
    for row in rows.select(range(0, 203, 40)):
        assert (row["image"].mode, row["image"].size) == (row["mode"], (row["width"], row["height"]))
    assert set(rows["format"]) == {"PNG", "JPEG"} and set(rows["mode"]) == {"RGBA", "RGB", "L"}
    captions = [caption for caption in rows["caption"] if caption]
    assert captions and not any(caption.startswith("[") for caption in captions)


def test_every_positive_says_which_paper_printed_it(covid_ct):
    for rows in datasets.load_from_disk(covid_ct).values():
        sources = {label: set() for label in (0, 1)}
        for label, source in zip(rows["label"], rows["source"], strict=True):
            sources[label].add(source)
        assert sources[0] == {None}, "the negatives' papers are not told"
        assert None not in sources[1] and all(re.fullmatch(r"10\.\d{4}/\S+", doi) for doi in sources[1])
    assert {"10.1101/2020.02.25.20021568", "10.1016/S0140-6736(20)30360-3"} <= sources[1] | set(
        datasets.load_from_disk(covid_ct)["train"]["source"]
    )


def test_lesions_are_read_from_the_captions_on_request(source, covid_ct):
    result = build(source, "--lesions-from", "reports")
    assert result.returncode == 0, result.stderr
    read, tables = (datasets.load_from_disk(path)["train"] for path in (source / "built", covid_ct))
    read, tables, labels = np.array(read["lesions"]), np.array(tables["lesions"]), np.array(tables["label"])
    missing = np.isnan(read).any(axis=1)
    assert np.isnan(read[missing]).all() and missing[labels == 0].all()
    assert (read[~missing].sum(axis=1) >= 1).all(), "a report that names no lesion labels none"
    both = ~missing & ~np.isnan(tables).any(axis=1)
    assert both.sum() > 80 and (read[both] == tables[both]).mean() > 0.9


def test_later_images_go_into_a_split_of_their_own_or_into_train_as_asked(source, covid_ct):
    result = build(source, "--new-data", "split")
    assert result.returncode == 0, result.stderr
    assert "306 of the 315 images in its tables are in no zip or folder there" in result.stderr
    assert result.stderr.count("\n") == 1
    splits = datasets.load_from_disk(source / "built")
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 425,
        "validation": 118,
        "test": 203,
        "new": 76,
    }
    rows = splits["new"]
    assert rows.features == FEATURES and sum(rows["label"]) == 35
    facts = {name: row for name, *row in zip(*(rows[key] for key in KEYS), strict=True)}
    assert facts["10.1148.radiol.2020200642-1.png"] == [1, None, "10.1148/radiol.2020200642"]
    assert facts["Lungsquamouscellcarcinoma_CPTAC-LSCC_00497_24.png"] == [0, "CPTAC-LSCC 00497", None]
    assert facts["Non-smallcelllungcancer_RIDER-Lung-CT_01188.png"] == [0, None, None]
    shutil.rmtree(source / "built")
    assert build(source, "--new-data", "train").returncode == 0
    together = datasets.load_from_disk(source / "built")
    old = datasets.load_from_disk(covid_ct)["train"]["file_name"]
    assert together["train"]["file_name"] == [*old, *rows["file_name"]] and "new" not in together


KEYS = ("file_name", "label", "patient_id", "source")


def test_later_images_in_plain_folders_take_class_and_lesions_from_the_table(source):
    folder = source / "LA-DNN" / "New_data" / "4.28"
    folder.mkdir()
    with zipfile.ZipFile(source / "LA-DNN/New_data/6.2/6.2_covidct.zip") as archive:
        content = archive.read("6.2_covidct/10.1148.radiol.2020200642-1.png")
    for name in ("10.1148ryct.2020200196-p23-1.png", "kjr-21-e24-g001-l-b.jpg"):
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(source / "LA-DNN/New_data/6.10/6.10_nocovidct.zip") as archive:
        archive.extractall(source / "LA-DNN/New_data/6.10")
    assert build(source, "--new-data", "split").returncode == 0
    rows = datasets.load_from_disk(source / "built")["new"]
    assert len(rows) == 78
    row = rows[rows["file_name"].index("10.1148ryct.2020200196-p23-1.png")]
    assert row["lesions"] == [1, 1, 0, 0, 0] and row["label"] == 1
    assert row["source"] == "10.1148/ryct.2020200196"
    row = rows[rows["file_name"].index("kjr-21-e24-g001-l-b.jpg")]
    assert row["source"] == "10.3348/kjr.2020.0132", "a paper that COVID-CT has images of as well"


def test_new_data_without_la_dnn_is_wrong_usage(source):
    flags = ("--covid-ct", source / "COVID-CT", "--output", source / "built", "--new-data", "split")
    result = run_ladnn("data", "build", *flags)
    assert result.returncode == 2
    assert "expected --la-dnn beside --new-data, found none; name LA-DNN's folder" in result.stderr


NEW_POSITIVES = "New_COVIDCT_meta(update to 5.18).csv"


@pytest.mark.parametrize(
    ("path", "change", "sentence"),
    [
        (NEW_POSITIVES, None, "expected one such table, found none"),
        (
            NEW_POSITIVES,
            lambda b: b.replace(b".png,CVD19,", b".png,influenza,", 1),
            "row 2: expected 'CVD19' in",
        ),
        (
            NEW_POSITIVES,
            lambda b: b.replace(b"(CrPa)", b"(Crazy)", 1),
            "expected a column of CrPa, found none",
        ),
        (
            NEW_POSITIVES,
            lambda b: b.replace(b"p23-2.png", b"p23-1.png", 1),
            "row 3: expected one row for each",
        ),
        ("6.2/6.2_covidct.zip", lambda b: b[:4000], "expected a zip, found a broken one"),
    ],
)
def test_a_fault_in_the_later_images_names_the_file_and_the_remedy(source, path, change, sentence):
    broken = source / "LA-DNN" / "New_data" / path
    content = broken.read_bytes()
    broken.unlink()
    if change is not None:
        assert change(content) != content
        broken.write_bytes(change(content))
    refused(source, sentence)


@pytest.mark.parametrize(
    ("path", "name", "sentence"),
    [
        ("6.10/6.10_nocovidct.zip", "6.10_ct.zip", "found 0; correct the name"),
        ("5.16/5.16_nocovidct.zip", "5.16_covidct.zip", "found 2; correct the name"),
    ],
)
def test_the_class_of_later_images_is_told_by_a_name_and_only_in_one_way(source, path, name, sentence):
    archive = source / "LA-DNN" / "New_data" / path
    archive.rename(archive.with_name(name))
    refused(source, sentence)


def refused(source, sentence):
    result = build(source, "--new-data", "split")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert sentence in last and "Traceback" not in result.stderr
    assert not (source / "built").exists() and not list(source.glob(".built*"))


def test_plain_folders_serve_as_well_as_zips(source, covid_ct):
    processed = source / "COVID-CT" / "Images-processed"
    for name in ("CT_COVID", "CT_NonCOVID"):
        with zipfile.ZipFile(processed / f"{name}.zip") as archive:
            archive.extractall(processed)
        (processed / f"{name}.zip").unlink()
    result = build(source)
    assert result.returncode == 0, result.stderr
    built, expected = (datasets.load_from_disk(path) for path in (source / "built", covid_ct))
    for split in expected:
        assert built[split]["file_name"] == expected[split]["file_name"]


def test_without_la_dnn_there_are_patients_and_captions_but_no_lesions(source, covid_ct):
    output = source / "plain"
    result = run_ladnn("data", "build", "--covid-ct", source / "COVID-CT", "--output", output)
    assert result.returncode == 0, result.stderr
    rows, expected = (datasets.load_from_disk(path)["train"] for path in (output, covid_ct))
    assert np.isnan(np.array(rows["lesions"])).all()
    assert rows["patient_id"] == expected["patient_id"]


TEST_LIST = "COVID-CT/Data-split/COVID/testCT_COVID.txt"


@pytest.mark.parametrize(
    ("path", "change", "sentence"),
    [
        (TEST_LIST, None, "expected this file, found none"),
        ("LA-DNN/data_split/val_meta.csv", None, "expected this file, found none"),
        (
            "COVID-CT/Images-processed/CT_COVID.zip",
            None,
            "or a plain folder CT_COVID beside it, found neither",
        ),
        ("COVID-CT/Images-processed/CT_COVID.zip", lambda b: b[:4000], "expected a zip, found a broken one"),
        (TEST_LIST, lambda b: b + b"nobody.png\n", "row 99: expected the name of an image in CT_COVID"),
        (TEST_LIST, lambda b: b.split(b"\n", 1)[1], "expected 98 different images, found 97 in 97 rows"),
        (TEST_LIST, lambda b: b.split(b"\n", 1)[0] + b"\n" + b, "found 98 in 99 rows"),
        (
            "LA-DNN/data_split/COVID-CT-MetaInfo_new.csv",
            lambda b: b.decode("gb18030").encode("utf-16"),
            "expected the encoding gb18030 or UTF-8",
        ),
        ("LA-DNN/data_split/train_meta.csv", lambda b: b.replace(b"AirBr", b"Aibr", 1), "found no ['AirBr']"),
        (
            "COVID-CT/NonCOVID-CT-MetaInfo.csv",
            lambda b: b.replace(b"1%1.jpg", b"1%0.jpg", 1),
            "row 4: expected one row for each file, found '1%0.jpg' in row 3 too",
        ),
        (
            "COVID-CT/NonCOVID-CT-MetaInfo.csv",
            lambda b: b.replace(b"1%0.jpg", b"1_0.jpg", 1),
            "row 3: expected the name of an image in Images-processed, found '1_0.jpg'",
        ),
    ],
)
def test_a_fault_in_the_sources_names_the_file_and_the_remedy(source, path, change, sentence):
    broken = source / path
    content = broken.read_bytes()
    broken.unlink()
    if change is not None:
        broken.write_bytes(change(content))
    result = build(source)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert broken.name in last and sentence in last and "Traceback" not in result.stderr
    assert last.rstrip(".").endswith(("again", "COVID-CT"))
    assert not (source / "built").exists() and not list(source.glob(".built*"))


def test_a_table_in_utf8_is_read_as_well(source, covid_ct):
    table = source / "LA-DNN/data_split/COVID-CT-MetaInfo_new.csv"
    text = table.read_bytes().decode("gb18030")
    table.unlink()
    table.write_text(text, encoding="utf-8-sig", newline="")
    assert build(source).returncode == 0
    built, expected = (datasets.load_from_disk(path)["train"] for path in (source / "built", covid_ct))
    assert built["caption"] == expected["caption"]


def test_an_image_that_does_not_decode_is_named(source):
    processed = source / "COVID-CT" / "Images-processed"
    with zipfile.ZipFile(processed / "CT_COVID.zip") as archive:
        archive.extractall(processed)
        victim = next(name for name in archive.namelist() if name.endswith(".png"))
    (processed / victim).write_bytes((processed / victim).read_bytes()[:2000])
    result = build(source)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert victim.rsplit("/", 1)[1] in last and "expected a whole image file" in last
    assert re.search(r"CT_COVID\.txt, row \d+: ", last)


def test_a_broken_part_of_a_zip_is_named(source):
    archive = source / "COVID-CT" / "Images-processed" / "CT_COVID.zip"
    with zipfile.ZipFile(archive) as content:
        part = content.infolist()[40]
    broken = bytearray(archive.read_bytes())
    at = part.header_offset + 30 + len(part.filename) + 400
    broken[at : at + 50] = bytes(50)
    archive.unlink()
    archive.write_bytes(broken)
    result = build(source)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert part.filename.rsplit("/", 1)[1] in last and "download it again" in last


def test_a_workbook_that_is_none_is_named(source):
    workbook = source / "COVID-CT" / "COVID-CT-MetaInfo.xlsx"
    workbook.unlink()
    workbook.write_bytes(b"no workbook")
    output = source / "plain"
    result = run_ladnn("data", "build", "--covid-ct", source / "COVID-CT", "--output", output)
    assert result.returncode == 1
    assert "COVID-CT-MetaInfo.xlsx: expected an Excel workbook, found none" in result.stderr


def test_nothing_is_ever_overwritten(source):
    (source / "built").mkdir()
    result = build(source)
    assert result.returncode == 1
    assert "expected a folder that is not there yet, found one" in result.stderr


def test_a_row_of_ones_own_needs_bytes_that_decode():
    with pytest.raises(ValueError, match=r"mine\.png: expected an image"):
        slice_row(b"no picture", file_name="mine.png", label="COVID")
