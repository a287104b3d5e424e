"""Names planted wherever a file has room for them are in nothing that the program writes."""

import base64
import hashlib
import io
import json
import re
import shutil
import warnings
import zipfile
import zlib
from datetime import UTC, datetime

import numpy as np
import pytest
from answer_html import answer_html, view_html
from batch import answer_all, csv_of, draw
from batch_inputs import expand
from conftest import run_ladnn, run_ladnn_alone, serving
from datasets import Image as DatasetImage
from datasets import load_from_disk
from dicom_files import SECRET, to_hu, write_dicom
from fuzz_mutations import mutated
from fuzz_seeds import SEEDS
from gradio_client import Client, handle_file
from pdf_report import write_report
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps, PngImagePlugin, TiffImagePlugin
from pydicom import Dataset, datadict, dcmread
from pypdf import PdfReader
from texts import TEXTS

from ladnn_hf import Predictor, draw_phantom
from ladnn_hf.attention import overlay
from ladnn_hf.contributions import ContributionStore
from ladnn_hf.dicom_tags import TAGS
from ladnn_hf.picture_metadata import without_metadata
from ladnn_hf.reading import UnreadableSlice, open_slice

NAME = "Nightingale"
_TEXTS = {"AE": 16, "CS": 16, "LO": 64, "LT": 64, "PN": 64, "SH": 16, "ST": 64, "UC": 64, "UT": 64}
"""Kinds of tags that hold words, and how many letters."""

_READ = (*TAGS, "SpecificCharacterSet")
"""Tags that say how a file is to be read."""


def plant_everywhere(dataset):
    """A name, with a number that tells where, in every tag of words that DICOM knows, and in other places."""
    for tag, (kind, *_, keyword) in datadict.DicomDictionary.items():
        if kind in _TEXTS and tag >= 0x00080000 and keyword and keyword not in _READ:
            value = f"{NAME}{tag % 65_536}"
            dataset.add_new(tag, kind, value.upper() if kind == "CS" else value)
    block = dataset.private_block(0x0011, NAME, create=True)
    block.add_new(1, "LO", NAME)
    block.add_new(2, "OB", NAME.encode() + b"\0")
    item = Dataset()
    item.PatientName, item.PatientComments = NAME, NAME
    dataset.ReferencedPatientSequence = dataset.RequestAttributesSequence = [item]
    dataset.add_new(0x60000022, "LO", NAME)  # what an overlay shows
    dataset.add_new(0x60003000, "OB", NAME.encode() + b"\0")
    dataset.add_new(0xFFFCFFFC, "OB", NAME.encode() + b"\0")  # padding behind the pixels
    dataset.file_meta.SourceApplicationEntityTitle = NAME
    dataset.file_meta.ImplementationVersionName = NAME
    dataset.file_meta.PrivateInformationCreatorUID, dataset.file_meta.PrivateInformation = (
        "1.2",
        NAME.encode(),
    )
    dataset.preamble = NAME.encode().ljust(128, b"\0")


@pytest.fixture
def given(tmp_path):
    """One file of each format, full of names."""
    folder = tmp_path / "given"
    folder.mkdir()
    grey = draw_phantom(["GGO"], size=256, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write_dicom(folder / "a.dcm", to_hu(grey))
        dataset = dcmread(path)
        plant_everywhere(dataset)
        dataset.save_as(path)
        content = path.read_bytes()
        (folder / "broken.dcm").write_bytes(content[: len(content) // 2])
        write_dicom(folder / "other.dcm", to_hu(grey), Modality="MR", PatientComments=NAME)
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = exif[0x8298] = NAME  # description, artist, copyright
    exif.get_ifd(0x8769)[0x9286] = f"ASCII\0\0\0{NAME}".encode()  # the user's comment
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile += NAME.encode()
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><name>{NAME}</name></x:xmpmeta>".encode()
    words = PngImagePlugin.PngInfo()
    words.add_text("Author", NAME)
    words.add_text("Comment", NAME, zip=True)
    words.add_itxt("XML:com.adobe.xmp", xmp.decode())
    tiff = TiffImagePlugin.ImageFileDirectory_v2()
    tiff[315] = tiff[270] = NAME
    tiff[33723] = b"\x1c\x02\x50\0\x0b" + NAME.encode()  # IPTC
    whole = {"exif": exif, "icc_profile": bytes(profile)}
    grey.save(folder / "b.png", pnginfo=words, **whole)
    grey.convert("RGB").save(folder / "c.jpg", comment=NAME, xmp=xmp, **whole)
    grey.save(folder / "d.webp", xmp=xmp, lossless=True, **whole)
    grey.save(folder / "e.tiff", tiffinfo=tiff, icc_profile=bytes(profile))
    with zipfile.ZipFile(folder / "f.zip", "w") as archive:
        archive.comment = NAME.encode()
        archive.write(folder / "b.png", "b.png")
    return folder


def hidden_in(content):
    """A file's bytes, and what is packed in them: zips, PDF's streams, zlib's, pictures inside of text."""
    yield content
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from hidden_in(archive.read(name))
    if content.startswith(b"%PDF"):
        for one in PdfReader(io.BytesIO(content)).resolved_objects.values():
            if hasattr(one, "get_data"):
                yield from hidden_in(one.get_data())
    for found in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", content):
        try:
            yield zlib.decompressobj().decompress(content[found.start() :], 10_000_000)
        except zlib.error:
            continue
    for found in re.finditer(rb"base64,([A-Za-z0-9+/=]+)", content):
        yield from hidden_in(base64.b64decode(found[1]))


def told(content):
    """Whether a name is in a file, in any of the ways that text is written."""
    written = [NAME.encode(coding).lower() for coding in ("utf-8", "utf-16-le", "utf-16-be")]
    return any(name in part.lower() for part in hidden_in(content) for name in written)


def tellers(folder, given):
    """The files below a folder that hold a name; the given ones and their copies are not looked at."""
    known = {hashlib.sha256(path.read_bytes()).digest() for path in given.iterdir()}
    for path in folder.rglob("*"):
        if given in path.parents or not path.is_file():
            continue
        content = path.read_bytes()
        if hashlib.sha256(content).digest() not in known and told(content):
            yield path.relative_to(folder).as_posix()


def private(tmp_path):
    """The environment of a process that has no other place to write to."""
    places = {name: tmp_path / name.lower() for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME")}
    for place in places.values():
        place.mkdir(exist_ok=True)
    return {name: str(place) for name, place in places.items()}


def test_a_name_is_found_where_the_test_looks_for_it(given):
    assert {path.name for path in given.iterdir() if told(path.read_bytes())} == {
        path.name for path in given.iterdir()
    }


def test_the_command_line_writes_no_name(given, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    files = sorted(path.name for path in given.iterdir() if path.suffix != ".zip")
    for kind in ("table", "json", "csv"):
        arguments = (
            "--no-gate",
            "--format",
            kind,
            "--output",
            f"answers.{kind}",
            "--attention",
            f"maps_{kind}",
        )
        paths = [given / name for name in files]
        result = run_ladnn_alone("predict", *paths, *arguments, cwd=work, env=private(tmp_path))
        assert "Traceback" not in result.stderr
        assert not told((result.stdout + result.stderr).encode())
    assert {path.name for path in work.iterdir()} >= {"answers.csv", "maps_csv"}
    assert len(list((work / "maps_csv").iterdir())) == 5
    assert list(tellers(tmp_path, given)) == []


def test_what_the_page_draws_saves_and_keeps_holds_no_name(given, tmp_path, capfd, caplog):
    predictor = Predictor(gate=False)
    files = [str(path) for path in sorted(given.iterdir())]
    store = ContributionStore(tmp_path / "contributions")
    written = tmp_path / "written"
    written.mkdir()
    for number, path in enumerate(files):
        answer = predictor(path)
        shown = answer.slice and answer.maps is not None
        warm = overlay(answer.slice.grey, answer.maps[0], answer.box) if shown else None
        for language in TEXTS:
            target = written / f"{number}_{language}.pdf"
            when = datetime(2020, 5, 11, tzinfo=UTC)
            write_report(answer, warm, target, view="covid", language=language, band=None, when=when)
            drawn = answer_html(answer, None, language) + view_html(answer, language, "covid", 0.6)
            (written / f"{number}_{language}.html").write_text(drawn)
        if answer.slice:
            grey = np.asarray(answer.slice.grey).copy()
            grey[0, 0] = number  # no slice is contributed twice
            clean = answer.slice.grey.copy()
            clean.putpixel((0, 0), number)
            store.add(clean, label="COVID", report="opacity")
    done = list(answer_all(predictor, expand(files)))
    (written / "answers.csv").write_text(csv_of(done))
    for language in TEXTS:
        (written / f"batch_{language}.html").write_text("".join(draw(done, language)))
    assert len(list(written.glob("*.pdf"))) == 2 * len(files)
    assert len(list((tmp_path / "contributions" / "waiting").glob("*.png"))) == 5
    assert list(tellers(tmp_path, given)) == []
    said = capfd.readouterr()
    assert not told((said.out + said.err + caplog.text).encode())


def test_a_data_set_of_ones_own_slices_holds_their_pixels_and_no_name(given, tmp_path):
    folder = tmp_path / "slices" / "COVID"
    folder.mkdir(parents=True)
    pictures = sorted(given.glob("[b-e].*"))
    for path in pictures:
        shutil.copy(path, folder)
    result = run_ladnn("data", "from-folder", folder.parent, "--output", tmp_path / "data")
    assert result.returncode == 0 and not told((result.stdout + result.stderr).encode())
    rows = load_from_disk(tmp_path / "data")["train"].cast_column("image", DatasetImage(decode=False))
    assert len(rows) == len(pictures)
    for row, path in zip(rows, pictures, strict=True):
        kept, before = (open_slice(source) for source in (io.BytesIO(row["image"]["bytes"]), path))
        assert kept.grey.tobytes() == before.grey.tobytes() and kept.format == before.format
    assert list(tellers(tmp_path, given)) == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF", "BMP"])
def test_a_picture_without_metadata_is_the_same_slice_damaged_or_not(kind):
    seeds = SEEDS[kind]()
    for content in (*seeds, *(mutated(kind, seeds, number) for number in range(400))):
        try:
            before = open_slice(io.BytesIO(content))
            alone = without_metadata(content)
        except UnreadableSlice as refusal:
            assert str(refusal).startswith("expected ")
            continue
        after = open_slice(io.BytesIO(alone))
        assert np.array_equal(before.grey, after.grey) and before.format == after.format
        assert (before.hu is None) == (after.hu is None)
        assert SECRET.encode() not in alone or content not in seeds


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF", "BMP"])
def test_a_name_behind_the_pixels_does_not_stay(kind, phantom):
    stream = io.BytesIO()
    phantom.save(stream, kind)
    assert SECRET.encode() not in without_metadata(stream.getvalue() + SECRET.encode())


def test_a_jpeg_without_an_end_is_refused_since_anything_may_follow(phantom):
    stream = io.BytesIO()
    phantom.save(stream, "JPEG")
    with pytest.raises(UnreadableSlice, match="found a damaged one"):
        without_metadata(stream.getvalue()[:-2] + SECRET.encode())


@pytest.mark.browser
def test_the_page_that_runs_logs_and_answers_no_name(given, tmp_path):
    with serving(tmp_path / "page", **private(tmp_path)) as (url, _):
        client = Client(url, verbose=False, download_files=False)
        files = [handle_file(path) for path in sorted(given.iterdir())]
        said = [client.predict(file, api_name="/predict") for file in files]
        said += client.predict(files, api_name="/predict_batch")
    assert len(said) == 2 * len(files)
    assert not told(json.dumps(said).encode())
    assert list(tellers(tmp_path, given)) == []


def test_no_name_stays_with_a_slice_in_memory(given):
    for path in sorted(given.glob("[a-e].*")):
        slice_ = open_slice(path)
        pictures = [slice_.grey, slice_.picture] if slice_.picture else [slice_.grey]
        assert all(not picture.info and not picture.getexif() for picture in pictures), path.name
        assert NAME not in repr(vars(slice_))


def test_a_name_burned_into_the_border_is_a_doubt(tmp_path):
    grey = ImageOps.expand(draw_phantom(["GGO"], size=256, seed=1), 40)
    assert open_slice(write_dicom(tmp_path / "a.dcm", to_hu(grey))).doubts == ()
    ImageDraw.Draw(grey).text((6, 6), NAME, 255, ImageFont.load_default(14))
    (doubt,) = open_slice(write_dicom(tmp_path / "a.dcm", to_hu(grey))).doubts
    assert "text burned into it beside the body" in doubt
    said = run_ladnn_alone("predict", tmp_path / "a.dcm", "--format", "json")
    assert doubt in said.stderr and len(said.stdout.splitlines()) == 1
