import csv
import io
import shutil
import stat
import sys
import zipfile
from functools import cache

import datasets
import numpy as np
import pytest
from conftest import MICRO_SIZE, run_ladnn, run_python
from PIL import Image

from ladnn_hf import LESIONS, draw_phantom
from ladnn_hf.reading import read_slice
from ladnn_hf.slice_dataset import FEATURES

HEADER = ["file_name", "label", "patient_id", *LESIONS, "caption", "source"]


@cache
def picture(seed=0):
    buffer = io.BytesIO()
    draw_phantom(["GGO"] if seed % 2 else [], size=MICRO_SIZE, seed=seed).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def slices(tmp_path):
    """Class folders with three positives and two negatives."""
    folder = tmp_path / "slices"
    for index, name in enumerate(["COVID/a", "COVID/b", "COVID/c", "NonCOVID/a", "NonCOVID/b"]):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(index))
    return folder


def write_table(folder, rows, header=HEADER, encoding="utf-8"):
    with (folder / "metadata.csv").open("w", newline="", encoding=encoding) as stream:
        csv.writer(stream).writerows([header, *rows])


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def build(folder, *flags):
    return run_ladnn("data", "from-folder", folder, "--output", folder.parent / "built", *flags)


def built(folder):
    return datasets.load_from_disk(folder.parent / "built")


def refusal(folder, *flags):
    """The sentence that a folder is refused with; nothing may be left of the attempt."""
    result = build(folder, *flags)
    assert result.returncode == 1, result.stdout
    lines = result.stderr.strip().splitlines()
    assert "Traceback" not in result.stderr and lines[-1].endswith(".") and "; " in lines[-1]
    assert not [path for path in folder.parent.iterdir() if "built" in path.name]
    return lines[-1]


def test_class_folders_become_a_data_set_with_the_features_of_covid_ct(slices):
    result = build(slices)
    assert result.returncode == 0 and not result.stderr, result.stderr
    assert result.stdout.endswith("built: 5 train\n")
    rows = built(slices)["train"]
    assert rows.features == FEATURES
    assert rows["file_name"] == [
        "NonCOVID/a.png",
        "NonCOVID/b.png",
        "COVID/a.png",
        "COVID/b.png",
        "COVID/c.png",
    ]
    assert rows["label"] == [0, 0, 1, 1, 1]
    assert np.isnan(rows["lesions"]).all()
    assert set(rows["patient_id"]) == set(rows["source"]) == {None}
    assert rows[0]["image"].size == (rows[0]["width"], rows[0]["height"]) == (MICRO_SIZE, MICRO_SIZE)


def test_a_table_gives_patients_lesions_captions_and_sources(slices):
    write_table(
        slices,
        [
            ["COVID/a.png", "COVID", "p1", 1, 0, 0, 0, 1, "Ground glass, seen\nin both lungs", "10.1/x"],
            ["./COVID/b.png", "1", "p1", "", "", "", "", "", "", ""],
            [],
            ["NonCOVID/a.png", "0", "", 0, 0, 0, 0, 0, "", ""],
        ],
    )
    result = build(slices)
    assert result.returncode == 0, result.stderr
    assert result.stderr == (
        f"ladnn: {slices}: 2 images are not in metadata.csv and left out, first COVID/c.png.\n"
    )
    rows = built(slices)["train"]
    assert rows["file_name"] == ["COVID/a.png", "COVID/b.png", "NonCOVID/a.png"]
    assert rows["label"] == [1, 1, 0] and rows["patient_id"] == ["p1", "p1", None]
    assert rows["caption"] == ["Ground glass, seen\nin both lungs", None, None]
    assert rows["source"] == ["10.1/x", None, None]
    assert rows["lesions"][0] == [1, 0, 0, 0, 1] and rows["lesions"][2] == [0, 0, 0, 0, 0]
    assert np.isnan(rows["lesions"][1]).all()


def test_a_table_saved_by_a_spreadsheet_with_a_byte_order_mark_is_read(slices):
    write_table(slices, [["COVID/a.png", "COVID"], ["NonCOVID/a.png", "NonCOVID"]], HEADER[:2], "utf-8-sig")
    assert build(slices).returncode == 0
    assert built(slices)["train"]["label"] == [1, 0]


def test_a_folder_that_is_split_already_keeps_its_splits(slices):
    for split in ("train", "test"):
        (slices / split).mkdir()
    for name in ("COVID", "NonCOVID"):
        (slices / "test" / name).mkdir()
        (slices / name / "a.png").rename(slices / "test" / name / "a.png")
        (slices / name).rename(slices / "train" / name)
    assert build(slices).stdout.endswith("built: 3 train, 2 test\n")
    assert built(slices)["test"]["file_name"] == ["NonCOVID/a.png", "COVID/a.png"]


@pytest.fixture
def many(tmp_path):
    """Sixty slices of twenty patients, one to five a patient; every tenth is nobody's."""
    folder = tmp_path / "many"
    folder.mkdir()
    rows, content = [], picture()
    for index in range(60):
        patient = int(np.sqrt(index * 6.7))
        (folder / f"{index}.png").write_bytes(content)
        rows.append([f"{index}.png", patient % 2, "" if index % 10 == 0 else f"p{patient}"])
    write_table(folder, rows, HEADER[:3])
    return folder


def test_a_split_keeps_patients_together_and_classes_even(many):
    assert build(many, "--split", "0.7,0.15,0.15").returncode == 0
    splits = built(many)
    assert list(splits) == ["train", "validation", "test"]
    for name, part in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
        assert abs(len(splits[name]) - 60 * part) <= 3
        assert abs(np.mean(splits[name]["label"]) - 0.5) < 0.2
    patients = [set(rows["patient_id"]) - {None} for rows in splits.values()]
    assert sum(map(len, patients)) == len(set.union(*patients))
    names = [name for rows in splits.values() for name in rows["file_name"]]
    assert len(set(names)) == len(names) == 60


def test_near_duplicates_that_are_nobodys_stay_in_one_split_on_request(tmp_path):
    for label in ("COVID", "non-COVID"):
        (tmp_path / "many" / label).mkdir(parents=True)
        for seed in range(6):
            chest = draw_phantom(["GGO"] * (label == "COVID"), size=256, seed=seed + 50 * (label == "COVID"))
            for copy, neighbour in enumerate((chest, chest.crop((4, 4, 250, 252)), chest.resize((200, 200)))):
                neighbour.save(tmp_path / "many" / label / f"{seed}_{copy}.png")
    flags = ("--split", "0.5,0,0.5", "--alike-together")
    assert build(tmp_path / "many", *flags).returncode == 0
    splits = built(tmp_path / "many")
    scans = [{name.split("_")[0] for name in rows["file_name"]} for rows in splits.values()]
    assert len(scans[0]) == len(scans[1]) == 6 and not scans[0] & scans[1]


def test_a_split_depends_on_the_seed_alone(many):
    def test_slices(seed, output):
        flags = ("--split", "0.5,0,0.5", "--seed", seed, "--output", many.parent / output)
        assert run_ladnn("data", "from-folder", many, *flags).returncode == 0
        splits = datasets.load_from_disk(many.parent / output)
        assert list(splits) == ["train", "test"]
        return splits["test"]["file_name"]

    first = test_slices(1, "first")
    assert first == test_slices(1, "again") != test_slices(2, "other")


def test_a_split_without_a_class_is_said(slices):
    for path in (slices / "NonCOVID").iterdir():
        path.unlink()
    (slices / "NonCOVID").rmdir()
    result = build(slices, "--split", "0.6,0.4,0")
    assert result.returncode == 0
    assert f"ladnn: {slices}: the split train has no NonCOVID slice.\n" in result.stderr
    assert "the split validation has no NonCOVID slice" in result.stderr


def test_too_few_patients_for_a_split_are_said(slices):
    write_table(slices, [["COVID/a.png", 1, "p"], ["COVID/b.png", 1, "p"]], HEADER[:3])
    assert "none left for validation and test" in refusal(slices, "--split", "0.8,0.1,0.1")


@pytest.mark.parametrize(
    "parts", ["0.7,0.3", "0.7,0.2,0.2", "0,0.5,0.5", "most,some,few", "1.2,-0.1,-0.1", "nan,0,1"]
)
def test_parts_that_are_no_split_are_wrong_usage(slices, parts):
    result = build(slices, f"--split={parts}")
    assert result.returncode == 2
    assert (
        f"expected three parts that sum to 1, the first above 0, such as 0.7,0.15,0.15, found '{parts}'"
        in (result.stderr)
    )


def test_lesions_are_read_from_captions_on_request(slices):
    captions = ["Bilateral ground-glass opacity with consolidation.", "No ground-glass opacity.", ""]
    rows = [
        [f"COVID/{name}.png", 1, *"11111", caption] for name, caption in zip("abc", captions, strict=True)
    ]
    write_table(slices, rows, ["file_name", "label", *LESIONS, "caption"])
    result = build(slices, "--lesions-from", "reports")
    assert result.returncode == 0, result.stderr
    lesions = np.array(built(slices)["train"]["lesions"])
    assert lesions[0].tolist() == [1, 1, 0, 0, 0]
    assert np.isnan(lesions[1:]).all(), "a report that names no lesion labels none"


def test_reports_need_a_table_of_captions(slices):
    assert "metadata.csv: expected this table with the reports" in refusal(
        slices, "--lesions-from", "reports"
    )
    write_table(slices, [["COVID/a.png", "1"]], HEADER[:2])
    assert "found no ['caption']" in refusal(slices, "--lesions-from", "reports")


def test_a_model_trains_on_slices_of_ones_own(many, tmp_path):
    assert build(many, "--split", "0.7,0.3,0").returncode == 0
    result = run_ladnn(
        *("train", "--dataset", tmp_path / "built", "--output_dir", tmp_path / "run", "--max_steps", "2"),
        *("--backbone", "test_efficientnet", "--backbone_weights", "none", "--image_size", MICRO_SIZE),
        *("--disable_tqdm", "True"),
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "model.safetensors").is_file()


ROW = ["COVID/a.png", "COVID", "p", "", "", "", "", "", "", ""]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [ROW, ["COVID/b.png", "covid?"]],
            "row 3: expected the label COVID or NonCOVID (1 or 0), found 'covid?'",
        ),
        ([ROW, ["COVID/b.png", ""]], "row 3: expected the label COVID or NonCOVID (1 or 0), found ''"),
        ([ROW, ROW], "row 3: expected one row for each file, found 'COVID/a.png' in row 2 too"),
        ([ROW, ["./COVID/a.png", *ROW[1:]]], "row 3: expected one row for each file"),
        ([["COVID/z.png", *ROW[1:]]], "row 2: expected a file in"),
        ([["", *ROW[1:]]], "row 2: expected a file in"),
        ([["../built.png", *ROW[1:]]], "found '../built.png', which leads out of it"),
        ([["/etc/passwd", *ROW[1:]]], "found '/etc/passwd', which leads out of it"),
        ([[*ROW[:3], 1, 0, 0, 0, "", "", ""]], "row 2: expected 1 or 0 for each of GGO, Csld"),
        ([[*ROW[:3], 1, 0, 0, 0, 2, "", ""]], "five empty cells, found '1,0,0,0,2'"),
        ([[*ROW, "a second caption"]], "row 2: expected 10 cells, found 11"),
        ([], "expected images, found none"),
    ],
)
def test_a_fault_in_the_table_names_the_file_and_the_row(slices, rows, sentence):
    write_table(slices, rows)
    last = refusal(slices)
    assert str(slices) in last and sentence in last


def test_columns_that_are_not_known_are_said_and_misspelt_ones_refused(slices):
    write_table(slices, [["COVID/a.png", "1", "p1"]], ["file_name", "label", "Patient ID"])
    assert "expected the column patient_id, found 'Patient ID'" in refusal(slices)
    write_table(slices, [["COVID/a.png", "1"]], ["file_name;label"])
    assert "expected commas between the columns, found 'file_name;label'" in refusal(slices)
    write_table(slices, [["COVID/a.png", "1", "57"]], ["file_name", " label", "age"])
    said = build(slices)
    assert said.returncode == 0 and "the columns age are left out; known are file_name" in said.stderr


def test_a_table_with_a_missing_column_or_another_encoding_is_named(slices):
    write_table(slices, [["COVID/a.png"]], ["file_name"])
    assert "metadata.csv: expected the columns ['file_name', 'label'], found no ['label']" in refusal(slices)
    write_table(slices, [ROW], encoding="utf-16")
    assert "metadata.csv: expected the encoding UTF-8, found bytes that are not" in refusal(slices)
    (slices / "metadata.csv").write_bytes(b"")
    assert "found no ['file_name', 'label']" in refusal(slices)


def test_an_image_that_does_not_decode_is_named_with_its_row(slices):
    (slices / "COVID" / "b.png").write_bytes(picture()[:600])
    assert "COVID: COVID/b.png: expected a whole image file, found a broken one" in refusal(slices)
    write_table(slices, [ROW, ["COVID/b.png", "1"]])
    assert "metadata.csv, row 3: COVID/b.png: expected a whole image file" in refusal(slices)


def test_a_file_larger_than_a_slice_can_be_is_not_read(slices, monkeypatch):
    monkeypatch.setattr("ladnn_hf.archives.MAX_BYTES", 500)
    assert "a.png: expected an image file of at most 500 bytes, found" in refusal(slices)


def test_a_folder_laid_out_in_another_way_is_refused(slices):
    (slices / "NonCOVID").rename(slices / "healthy")
    assert "healthy/a.png: expected images in COVID alone, found one elsewhere" in refusal(slices)
    (slices / "COVID").rename(slices / "ill")
    assert "expected metadata.csv or the folders NonCOVID and COVID, found neither" in refusal(slices)
    (slices / "train").mkdir()
    assert "expected images in train alone" in refusal(slices)
    assert "expected a folder that is not split yet, found train/" in refusal(slices, "--split", "0.5,0.5,0")
    (slices / "empty" / "COVID").mkdir(parents=True)
    (slices / "empty" / "COVID" / "notes.txt").write_text("none")
    assert "expected images, found none" in refusal(slices / "empty")
    assert "expected a folder of slices, found none" in refusal(slices / "nowhere")


def test_dicom_without_a_preamble_is_dicom_too(slices, dicom_series):
    without = (dicom_series / "5.dcm").read_bytes()[132:]
    (slices / "COVID" / "bare.dcm").write_bytes(without[without.index(b"\x08\x00") :])
    assert build(slices).returncode == 0
    (kept,) = [row["image"] for row in built(slices)["train"] if row["file_name"] == "COVID/bare.dcm"]
    assert kept.tobytes() == read_slice(dicom_series / "5.dcm").tobytes()


def test_dicom_becomes_a_picture_in_the_lung_window_without_who_it_is_of(slices, dicom_series):
    shutil.copy(dicom_series / "5.dcm", slices / "COVID" / "named.dcm")
    shutil.copy(dicom_series / "6.dcm", slices / "NonCOVID" / "IM000001")
    assert build(slices).returncode == 0
    rows = built(slices)["train"].cast_column("image", datasets.Image(decode=False))
    rows = {row["file_name"]: row for row in rows}
    assert {"COVID/named.dcm", "NonCOVID/IM000001"} < set(rows) and len(rows) == 7
    content = rows["COVID/named.dcm"]["image"]["bytes"]
    assert content.startswith(b"\x89PNG") and b"Doe" not in content
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.tobytes() == read_slice(dicom_series / "5.dcm").tobytes()


def test_zips_of_each_class_serve_as_well_as_folders(tmp_path):
    folder = tmp_path / "zipped"
    folder.mkdir()
    write_zip(folder / "COVID.zip", {"in/a.png": picture(1), "__MACOSX/in/._a.png": b"", "in/notes.txt": b""})
    write_zip(folder / "NonCOVID.zip", {"b.png": picture(0)})
    assert build(folder).returncode == 0
    assert built(folder)["train"]["file_name"] == ["NonCOVID/b.png", "COVID/in/a.png"]


def broken(path):
    write_zip(path, {"a.png": picture()})
    path.write_bytes(path.read_bytes()[:-30])


def torn(path):
    write_zip(path, {"a.png": picture()})
    content = bytearray(path.read_bytes())
    content[300:400] = bytes(100)
    path.write_bytes(content)


def lying(path):
    """The directory at the end of the zip says that the image is of one byte."""
    write_zip(path, {"a.png": picture()})
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2")
    content[at + 24 : at + 28] = (1).to_bytes(4, "little")
    path.write_bytes(content)


def linked(path):
    link = zipfile.ZipInfo("a.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    write_zip(path, {link: "/etc/passwd"})


def locked(path):
    write_zip(path, {"a.png": picture()})
    content = bytearray(path.read_bytes())
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(header) + flags] |= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (broken, "COVID.zip: expected a zip, found a broken one"),
        (torn, "COVID.zip, a.png: expected an image, found a broken part of the zip"),
        (lying, "COVID.zip, a.png: expected an image, found a broken part of the zip"),
        (locked, "COVID.zip, a.png: expected an image, found a locked part of the zip"),
        (linked, "found 'a.png', a link"),
        (lambda path: write_zip(path, {"../a.png": b""}), "found '../a.png', a path that leads out of it"),
        (lambda path: write_zip(path, {"/a.png": b""}), "found '/a.png', a path that leads out of it"),
        (lambda path: write_zip(path, {"x\\..\\a.png": b""}), "a path that leads out of it"),
        (lambda path: write_zip(path, {"C:\\a.png": b""}), "a path that leads out of it"),
        (
            lambda path: write_zip(path, {"a.png": bytes(10_000_000)}),
            "COVID.zip, a.png: expected an image at most 200 times as large unpacked, found 10,000,000 bytes",
        ),
    ],
)
def test_a_zip_that_is_not_to_be_trusted_is_refused(tmp_path, spoil, sentence):
    folder = tmp_path / "zipped"
    folder.mkdir()
    spoil(folder / "COVID.zip")
    assert sentence in refusal(folder)


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "zipped"
    folder.mkdir()
    write_zip(folder / "COVID.zip", {f"{index}.png": picture(index) for index in range(3)})
    monkeypatch.setattr("ladnn_hf.archives.MAX_TOTAL_BYTES", 5_000)
    assert "COVID.zip: expected images of at most 5,000 bytes together, found" in refusal(folder)
    monkeypatch.setattr("ladnn_hf.archives.MAX_BYTES", 500)
    assert "COVID.zip, 0.png: expected an image file of at most 500 bytes, found" in refusal(folder)


def test_nothing_is_ever_overwritten(slices):
    (slices.parent / "built").mkdir()
    result = build(slices)
    assert result.returncode == 1
    assert "expected a folder that is not there yet, found one" in result.stderr


PEAK = """
import resource, sys
from ladnn_hf.cli import main
main(["data", "from-folder", sys.argv[1], "--output", sys.argv[2]])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_memory_does_not_grow_with_the_data(tmp_path):
    noise = np.random.default_rng(0)

    def peak(count):
        folder = tmp_path / str(count)
        (folder / "COVID").mkdir(parents=True)
        for index in range(count):
            pixels = noise.integers(0, 256, (500, 500), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "COVID" / f"{index}.png", compress_level=0)
        result = run_python(PEAK, folder, tmp_path / f"built {count}")
        assert result.returncode == 0, result.stderr
        return int(result.stdout.split()[-1]) / 1024

    assert peak(600) < peak(200) + 40, "250 kB a slice: another 400 would take 95 MiB"
