import io
import json
import logging
import shutil
import struct
import time
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
from conftest import run_ladnn, run_python
from dicom_files import COMPRESSIONS, ENCODERS, SECRET, compress, to_hu, write_dicom
from PIL import Image
from pydicom import Dataset, dcmread, uid
from pydicom.encaps import encapsulate

from ladnn_hf import Predictor, draw_phantom
from ladnn_hf.picture_checks import why_unlike_ct
from ladnn_hf.preprocessing_ladnn import apply_window
from ladnn_hf.reading import (
    MAX_BYTES,
    UnreadableSlice,
    frame_count,
    list_slices,
    open_slice,
    read_slice,
    with_window,
)


@pytest.fixture(scope="module")
def hu():
    """(96, 96) int16, a phantom in the lung window turned back to HU."""
    return to_hu(draw_phantom(["GGO"], size=96, seed=1))


def greys(slice_):
    return np.asarray(slice_.grey)


def refusal(source, **arguments):
    with pytest.raises(UnreadableSlice) as caught:
        open_slice(source, **arguments)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_ct_slice_is_read_in_hu_whatever_window_the_file_asks_for(hu, tmp_path):
    found = open_slice(write_dicom(tmp_path / "slice.dcm", hu))
    assert (found.format, found.size, found.window) == ("DICOM", (96, 96), (-600, 1500))
    assert found.hu.dtype == np.float32 and np.array_equal(found.hu, hu)
    assert np.array_equal(greys(found), apply_window(hu))
    assert found.doubts == ()


def test_another_window_gives_the_same_slice_in_other_greys(hu, tmp_path):
    path = write_dicom(tmp_path / "slice.dcm", hu)
    found = with_window(open_slice(path), (40, 400))
    assert found.window == (40, 400)
    assert np.array_equal(greys(found), apply_window(hu, 40, 400))
    assert np.array_equal(greys(open_slice(path, window=(40, 400))), greys(found))
    for width in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="expected a window of a width above 0 HU"):
            with_window(found, (40, width))
        with pytest.raises(ValueError, match="expected a window of a width above 0 HU"):
            open_slice(path, window=(40, width))


def test_the_answer_is_that_of_the_picture_in_the_lung_window(tmp_path):
    slice_ = draw_phantom(["GGO"], size=512, seed=3)
    slice_.save(tmp_path / "slice.png")
    write_dicom(tmp_path / "slice.dcm", to_hu(slice_))
    result = run_ladnn("predict", tmp_path / "slice.png", tmp_path / "slice.dcm", "--format", "json")
    picture, dicom = (json.loads(line) for line in result.stdout.splitlines())
    assert result.returncode == 0
    assert dicom["covid_probability"] == pytest.approx(picture["covid_probability"], abs=0.02)
    assert dicom["lesions"] == pytest.approx(picture["lesions"], abs=0.02)


def test_attention_draws_on_a_dicom_slice(hu, tmp_path, micro_folder):
    write_dicom(tmp_path / "slice.dcm", hu)
    arguments = ("--model", micro_folder, "--no-gate", "--attention", tmp_path / "maps")
    assert run_ladnn("predict", tmp_path / "slice.dcm", *arguments).returncode == 0
    with Image.open(tmp_path / "maps" / "00001_slice.png") as picture:
        assert picture.size == (96, 96)


@pytest.mark.parametrize(
    ("stored", "tags"),
    [
        (lambda hu: (hu + 1350).astype(np.uint16), {"RescaleIntercept": -1350}),
        (lambda hu: hu * 2, {"RescaleSlope": 0.5, "RescaleType": "HU"}),
        (
            lambda hu: (hu + 1350).astype(np.uint16) | 0xF000,  # what overlays left in the high bits
            {"RescaleIntercept": -1350, "BitsStored": 12, "HighBit": 11},
        ),
        (lambda hu: hu & 0x0FFF, {"BitsStored": 12, "HighBit": 11}),  # signed in 12 bits
        (lambda hu: hu.astype(np.int32), {}),
    ],
    ids=["unsigned", "slope", "overlay", "signed 12 bits", "32 bits"],
)
def test_however_hu_are_stored_they_are_the_same(hu, tmp_path, stored, tags):
    found = open_slice(write_dicom(tmp_path / "slice.dcm", stored(hu), **tags))
    assert np.array_equal(found.hu, hu) and found.doubts == ()


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian]
)
def test_each_plain_encoding_is_read(hu, tmp_path, syntax):
    stored = hu.astype(">i2") if syntax == uid.ExplicitVRBigEndian else hu
    assert np.array_equal(open_slice(write_dicom(tmp_path / "a.dcm", stored, syntax=syntax)).hu, hu)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_each_compression_is_read(hu, tmp_path, compression):
    for stored, tags in (
        (hu, {}),
        ((hu + 1350).astype(np.uint16), {"RescaleIntercept": -1350, "BitsStored": 12, "HighBit": 11}),
    ):
        path = write_dicom(tmp_path / "slice.dcm", stored, **tags)
        compress(path, compression)
        assert dcmread(path).file_meta.TransferSyntaxUID == compression
        assert np.array_equal(open_slice(path).hu, hu)


def test_lossy_jpeg_of_twelve_bits_is_read(hu, tmp_path):
    stored = (hu + 1350).astype(np.uint16)
    dataset = dcmread(
        write_dicom(tmp_path / "a.dcm", stored, RescaleIntercept=-1350, BitsStored=12, HighBit=11)
    )
    dataset.PixelData = encapsulate([imagecodecs.jpeg8_encode(stored, level=98, bitspersample=12)])
    dataset.file_meta.TransferSyntaxUID = uid.JPEGExtended12Bit
    dataset.save_as(tmp_path / "a.dcm")
    assert np.abs(open_slice(tmp_path / "a.dcm").hu - hu).mean() < 10


def test_a_colour_picture_in_jpeg_is_a_picture(phantom, tmp_path):
    dataset = dcmread(write_dicom(tmp_path / "a.dcm", np.asarray(phantom), Modality="SC"))
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = (
        3,
        "YBR_FULL_422",
        0,
    )
    picture = io.BytesIO()
    Image.merge("RGB", [phantom, phantom, Image.new("L", phantom.size)]).save(picture, "JPEG", quality=95)
    dataset.PixelData = encapsulate([picture.getvalue()])
    dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    dataset.save_as(tmp_path / "a.dcm")
    found = np.asarray(open_slice(tmp_path / "a.dcm").picture).astype(int)
    assert np.abs(found[..., 0] - np.asarray(phantom)).mean() < 5 and found[..., 2].mean() < 10


@pytest.mark.parametrize("compression", ENCODERS)
def test_a_frame_that_claims_more_pixels_than_the_file_is_refused_before_it_is_decoded(
    hu, tmp_path, compression
):
    dataset = dcmread(write_dicom(tmp_path / "slice.dcm", hu))
    wide = np.zeros((20_000, 1_000), np.int16)
    dataset.PixelData = encapsulate([ENCODERS[compression](wide)])
    dataset.file_meta.TransferSyntaxUID = compression
    dataset.save_as(tmp_path / "slice.dcm")
    assert "found broken ones or a kind of" in refusal(tmp_path / "slice.dcm")


def test_a_compression_that_is_not_read_is_named(hu, tmp_path):
    path = write_dicom(tmp_path / "slice.dcm", hu)
    compress(path, uid.JPEG2000Lossless)
    for syntax, name in (
        (uid.HTJ2KLossless, "High-Throughput JPEG 2000"),
        ("1.2.3", "an unknown compression"),
    ):
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(tmp_path / "other.dcm")
        assert name in refusal(tmp_path / "other.dcm")


@pytest.mark.parametrize("suffix", [".dcm", ".IMA"])
@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_a_file_without_preamble_is_told_by_its_suffix(hu, tmp_path, suffix, syntax):
    path = write_dicom(tmp_path / f"slice{suffix}", hu, syntax=syntax, preamble=False)
    assert np.array_equal(open_slice(path).hu, hu)
    with path.open("rb") as stream:
        assert np.array_equal(open_slice(stream).hu, hu)
    path.rename(tmp_path / "slice.png")
    assert "found something else" in refusal(tmp_path / "slice.png")


def test_dicom_is_told_by_its_content_and_so_is_a_picture(hu, phantom, tmp_path):
    content = write_dicom(tmp_path / "slice.png", hu).read_bytes()
    assert open_slice(tmp_path / "slice.png").format == "DICOM"
    assert open_slice(io.BytesIO(content)).format == "DICOM"
    phantom.save(tmp_path / "slice.dcm", "PNG")
    assert open_slice(tmp_path / "slice.dcm").format == "PNG"


def test_where_nothing_was_measured_is_air(hu, tmp_path):
    stored = hu.copy()
    stored[:20] = -2000
    for padding in (-2000, 63536 - 65536):
        found = open_slice(write_dicom(tmp_path / "slice.dcm", stored, PixelPaddingValue=padding))
        assert (found.hu[:20] == -1000).all() and np.array_equal(found.hu[20:], hu[20:])
    stored[:10] = -1990
    path = write_dicom(tmp_path / "slice.dcm", stored, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990)
    assert (open_slice(path).hu[:20] == -1000).all()


def test_padding_is_not_counted_as_lungs(hu, tmp_path):
    stored = np.full_like(hu, 40)
    stored[:48] = -2000
    path = write_dicom(tmp_path / "slice.dcm", stored, PixelPaddingValue=-2000)
    assert any(doubt.startswith("Only 0% of the slice") for doubt in open_slice(path).doubts)


def test_hu_do_not_turn_with_the_way_they_are_shown_but_greys_do(hu, phantom, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", hu, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(open_slice(path).hu, hu)
    inverted = 255 - np.asarray(phantom)
    path = write_dicom(
        *(tmp_path / "b.dcm", inverted), PhotometricInterpretation="MONOCHROME1", without=["RescaleSlope"]
    )
    assert np.array_equal(greys(open_slice(path)), np.asarray(phantom))


def test_values_that_are_not_said_to_be_hu_are_taken_for_grey_with_a_doubt(hu, tmp_path):
    stored = (hu + 1350).astype(np.uint16)
    stored[0, 0] = 4095
    unsigned = {"BitsStored": 12, "HighBit": 11, "without": ["RescaleIntercept"]}
    found = open_slice(write_dicom(tmp_path / "slice.dcm", stored, **unsigned))
    assert found.hu is None and found.window is None
    assert np.array_equal(greys(found), np.round(stored * (255 / 4095)).astype(np.uint8))
    assert found.doubts == ("The file does not say how its values become HU; it is taken for a picture.",)
    signed = open_slice(write_dicom(tmp_path / "a.dcm", hu, RescaleType="OD"))
    assert signed.hu is None and greys(signed).min() < 127 <= greys(signed).max()
    with pytest.raises(ValueError, match="expected a slice in HU, found grey values"):
        with_window(found, (-600, 1500))


def test_a_colour_picture_in_dicom_is_a_picture(phantom, tmp_path):
    colour = np.stack([np.asarray(phantom), 255 - np.asarray(phantom), np.asarray(phantom)], axis=-1)
    path = write_dicom(
        *(tmp_path / "slice.dcm", colour[None]),
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        Modality="SC",
    )
    found = open_slice(path)
    assert found.hu is None and found.picture.mode == "RGB"
    assert "coloured picture" in why_unlike_ct(found.picture, found.grey)
    assert "The file does not say that it is CT." in found.doubts
    assert "coloured picture" in Predictor()(path).reason


@pytest.mark.parametrize("modality", ["DX", "MR", "US"])
def test_another_modality_is_refused_by_name(hu, tmp_path, modality):
    assert f"found a DICOM file of modality {modality}; give" in refusal(
        write_dicom(tmp_path / "slice.dcm", hu, Modality=modality)
    )


@pytest.mark.parametrize(
    ("tags", "doubt"),
    [
        ({"without": ["Modality"]}, "does not say that it is CT"),
        ({"BodyPartExamined": "HEAD"}, "another part of the body"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "not axial"),
        ({"LossyImageCompression": "01"}, "compressed with loss"),
        ({"BurnedInAnnotation": "YES"}, "text is burned in"),
        ({"RescaleIntercept": 1350}, "may say wrongly how its values become HU"),
    ],
)
def test_what_speaks_against_a_slice_is_a_doubt_and_no_refusal(hu, tmp_path, tags, doubt):
    found = open_slice(write_dicom(tmp_path / "slice.dcm", hu, **tags))
    assert found.hu is not None
    assert len(found.doubts) == 1 and doubt in found.doubts[0]


@pytest.mark.parametrize(("slope", "intercept"), [(0, -1024), (-1, 0), (1e9, 0), (1, 1e9)])
def test_a_rescale_that_gives_no_hu_is_refused(hu, tmp_path, slope, intercept):
    path = write_dicom(tmp_path / "slice.dcm", hu, RescaleSlope=slope, RescaleIntercept=intercept)
    assert "expected a rescale that gives HU" in refusal(path)


def test_one_frame_of_several_has_to_be_named(hu, tmp_path):
    path = write_dicom(tmp_path / "frames.dcm", np.stack([hu, hu.T, hu[::-1]]))
    assert frame_count(path) == 3
    assert refusal(path).startswith("expected one slice, found 3 frames; ")
    assert np.array_equal(open_slice(path, frame=1).hu, hu.T)
    for frame in (3, -1):
        assert "expected a frame from 0 to 2" in refusal(path, frame=frame)
    assert Predictor(gate=False)(open_slice(path, frame=2)).decision != "refused"


def test_one_frame_of_a_compressed_file_is_that_frame(hu, tmp_path):
    path = tmp_path / "frames.dcm"
    write_dicom(path, np.stack([hu, hu.T]))
    compress(path, uid.JPEGLSLossless)
    assert np.array_equal(open_slice(path, frame=1).hu, hu.T)


def test_an_enhanced_ct_says_for_each_frame_how_its_values_become_hu(hu, tmp_path):
    def said(name, **tags):
        item, group = Dataset(), Dataset()
        for keyword, value in tags.items():
            setattr(item, keyword, value)
        setattr(group, name, [item])
        return group

    path = write_dicom(
        tmp_path / "frames.dcm",
        np.stack([hu, hu * 2]),
        PerFrameFunctionalGroupsSequence=[
            said("PixelValueTransformationSequence", RescaleSlope=1 / slope, RescaleIntercept=0)
            for slope in (1, 2)
        ],
        SharedFunctionalGroupsSequence=[
            said("PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
        ],
        without=["RescaleSlope", "RescaleIntercept", "ImageOrientationPatient"],
    )
    for frame in (0, 1):
        found = open_slice(path, frame=frame)
        assert np.array_equal(found.hu, hu)
        assert found.doubts == ("The file says that its plane is not axial.",)


def test_a_picture_file_holds_one_slice(phantom, tmp_path):
    phantom.save(tmp_path / "slice.png")
    assert frame_count(tmp_path / "slice.png") == 1


def test_an_exported_series_is_found_without_suffixes(hu, tmp_path):
    names = ("IM000001", "1.2.840.113619.2.55", "a.dcm", "b.DICOM", "c.ima")
    for name in names:
        write_dicom(tmp_path / name, hu)
    shutil.copy(tmp_path / "IM000001", tmp_path / "DICOMDIR")
    shutil.copy(tmp_path / "IM000001", tmp_path / "notes.txt")
    (tmp_path / "README").write_text("no DICOM")
    assert list(list_slices([str(tmp_path)])) == [str(tmp_path / name) for name in sorted(names)]


@pytest.mark.parametrize("compression", [None, *COMPRESSIONS])
def test_a_truncated_file_is_refused(hu, tmp_path, compression):
    path = write_dicom(tmp_path / "slice.dcm", hu)
    if compression:
        compress(path, compression)
    content = path.read_bytes()
    for share in (0.01, 0.1, 0.5):
        path.write_bytes(content[: int(share * len(content))])
        assert refusal(path).startswith("expected ")


@pytest.mark.parametrize("name", ["Rows", "BitsStored", "PixelRepresentation", "PixelData"])
def test_a_file_without_what_pixels_need_is_refused(hu, tmp_path, name):
    dataset = dcmread(write_dicom(tmp_path / "slice.dcm", hu))
    delattr(dataset, name)
    dataset.save_as(tmp_path / "slice.dcm")
    assert refusal(tmp_path / "slice.dcm").startswith("expected a ")


def test_palette_colours_and_moved_bits_are_refused_not_guessed(hu, tmp_path):
    palette = write_dicom(
        *(tmp_path / "a.dcm", hu), PhotometricInterpretation="PALETTE COLOR", without=["RescaleSlope"]
    )
    assert "found a DICOM file in PALETTE COLOR" in refusal(palette)
    moved = write_dicom(tmp_path / "b.dcm", hu, BitsStored=12, HighBit=15)
    assert "expected a DICOM file with its high bit at 11, found 15" in refusal(moved)


def test_what_would_fill_the_memory_is_refused_before_it_is_decoded(hu, tmp_path):
    wide = write_dicom(tmp_path / "wide.dcm", hu, Rows=30_000, Columns=30_000)
    assert "at most 4,194,304 pixels, found 30000×30000" in refusal(wide)
    path = write_dicom(tmp_path / "bomb.dcm", hu[:32, :32], syntax=uid.DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    begin = 144 + struct.unpack_from("<I", content, 140)[0]
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    plain = zlib.decompress(content[begin:], -zlib.MAX_WBITS)
    zeros = (deflate.compress(bytes(1_000_000)) for _ in range(MAX_BYTES // 1_000_000 + 1))
    path.write_bytes(content[:begin] + deflate.compress(plain) + b"".join(zeros) + deflate.flush())
    assert path.stat().st_size < 1_000_000
    assert "at most 200,000,000 bytes, found more once it is inflated" in refusal(path)


def test_run_lengths_that_unpack_to_more_than_the_frame_are_refused(hu, tmp_path):
    path = write_dicom(tmp_path / "bomb.dcm", hu)
    compress(path, uid.RLELossless)
    dataset = dcmread(path)
    runs = b"\x81\x55" * 5_000_000  # 640 MB
    dataset.PixelData = encapsulate([struct.pack("<16I", 2, 64, 64 + len(runs), *[0] * 13) + 2 * runs])
    dataset.save_as(path)
    began = time.process_time()
    assert "found broken ones or a kind of RLE Lossless" in refusal(path)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_in_run_lengths_keep_their_places(phantom, tmp_path, planar):
    colours = np.stack([np.asarray(phantom), 255 - np.asarray(phantom), np.asarray(phantom) // 2], axis=-1)
    path = write_dicom(
        *(tmp_path / "a.dcm", colours[None]),
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        Modality="SC",
    )
    compress(path, uid.RLELossless)
    dataset = dcmread(path)
    dataset.PlanarConfiguration = planar  # says nothing of run lengths
    dataset.save_as(path)
    assert np.array_equal(np.asarray(open_slice(path).picture), colours)


def test_more_frames_than_a_series_has_are_refused_before_anyone_lists_them(hu, tmp_path):
    path = write_dicom(tmp_path / "slice.dcm", hu, NumberOfFrames=2**31 - 1)
    for ask in (frame_count, open_slice):
        with pytest.raises(UnreadableSlice, match="at most 10,000 frames, found 2,147,483,647; "):
            ask(path)


def test_a_file_of_endless_tags_is_refused_before_all_are_read(hu, tmp_path):
    path = write_dicom(tmp_path / "slice.dcm", hu)
    content = path.read_bytes()
    at = content.index(b"\x10\0\x10\0PN")
    tags = b"".join(struct.pack("<HH2sH", 9, 0x1000 + number % 50_000, b"LO", 0) for number in range(300_000))
    path.write_bytes(content[:at] + tags + content[at:])
    assert "expected a whole DICOM file, found a broken one" in refusal(path)


def test_a_jpeg_frame_of_many_scans_is_refused(phantom, tmp_path):
    path = write_dicom(tmp_path / "slice.dcm", np.asarray(phantom), Modality="OT")
    picture = io.BytesIO()
    phantom.save(picture, "JPEG", progressive=True)
    frame = picture.getvalue()
    last = frame[frame.rindex(b"\xff\xc4", 0, frame.rindex(b"\xff\xda")) : -2]
    dataset = dcmread(path)
    dataset.PixelData = encapsulate([frame[:-2] + 5_000 * last + frame[-2:]])
    dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    dataset.save_as(path)
    assert "found broken ones or a kind of JPEG Baseline" in refusal(path)


def test_a_small_frame_is_refused(hu, tmp_path):
    assert "at least 32×32 pixels, found 16×24" in refusal(write_dicom(tmp_path / "a.dcm", hu[:24, :16]))


def test_who_is_shown_goes_nowhere(hu, tmp_path, micro_folder, caplog):
    write_dicom(tmp_path / "good.dcm", hu)
    write_dicom(tmp_path / "other.dcm", hu, Modality="MR")
    write_dicom(tmp_path / "odd.dcm", hu, BodyPartExamined=SECRET, RescaleType=SECRET, PatientAge=SECRET)
    content = (tmp_path / "good.dcm").read_bytes()
    (tmp_path / "broken.dcm").write_bytes(content[: len(content) // 2])
    paths = [tmp_path / name for name in ("good.dcm", "other.dcm", "odd.dcm", "broken.dcm")]
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for kind in ("json", "csv", "table"):
            result = run_ladnn("predict", *paths, "--model", micro_folder, "--no-gate", "--format", kind)
            assert SECRET not in result.stdout + result.stderr
        answers = list(Predictor(micro_folder, gate=False).predict(paths))
    assert [answer.slice is None for answer in answers] == [False, True, False, True]
    said = [repr(vars(answer.slice)) for answer in answers if answer.slice] + [caplog.text]
    assert SECRET not in " ".join([*said, *(str(warning.message) for warning in warned)])


def test_broken_files_are_refused_in_one_sentence_whatever_is_broken(hu, tmp_path):
    random = np.random.default_rng(0)
    write_dicom(tmp_path / "slice.dcm", hu[:64, :64])
    content = np.frombuffer((tmp_path / "slice.dcm").read_bytes(), np.uint8)
    end = len(content) - 64 * 64 * 2
    for _ in range(300):
        broken = content.copy()
        at = random.integers(132, end, size=random.integers(1, 6))
        broken[at] = random.integers(0, 256, size=len(at))
        try:
            read_slice(io.BytesIO(broken.tobytes()))
        except UnreadableSlice as error:
            assert str(error).startswith("expected ") and SECRET not in str(error)


def test_a_picture_is_answered_without_loading_pydicom(phantom, tmp_path):
    phantom.save(tmp_path / "slice.png")
    code = """
import sys
from ladnn_hf import Predictor
Predictor()(sys.argv[1])
assert not {"pydicom", "imagecodecs", "torch"} & set(sys.modules)
"""
    result = run_python(code, tmp_path / "slice.png")
    assert result.returncode == 0, result.stderr
