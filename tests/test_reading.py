import io
import os
import struct
import time
import zlib

import numpy as np
import pytest
from conftest import run_python
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps
from transformers.image_utils import load_image

from ladnn_hf import draw_phantom
from ladnn_hf.preprocessing_ladnn import apply_window
from ladnn_hf.reading import MAX_BYTES, UnreadableSlice, list_slices, open_slice, read_slice, with_window


def saved(picture, format, **options):
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".jpg"])
def test_each_format_is_read_as_grey(phantom, tmp_path, suffix):
    path = tmp_path / f"slice{suffix}"
    phantom.save(path, **({"lossless": True} if suffix == ".webp" else {}))
    grey = read_slice(path)
    assert grey.mode == "L"
    difference = np.abs(np.asarray(grey, int) - np.asarray(phantom, int))
    assert difference.max() <= (60 if suffix == ".jpg" else 0)
    assert difference.mean() < 5


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_each_colour_mode_gives_the_same_slice(phantom, tmp_path, mode):
    path = tmp_path / "slice.png"
    phantom.convert(mode).save(path)
    assert np.array_equal(np.asarray(read_slice(path)), np.asarray(phantom))


def test_a_slice_is_decoded_as_the_pipeline_decodes_it(phantom, tmp_path):
    path = tmp_path / "slice.jpg"
    colour = Image.merge("RGB", [phantom, phantom.point(lambda v: v // 2), phantom])
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    colour.resize((96, 64)).save(path, exif=exif)
    assert np.array_equal(np.asarray(read_slice(path)), np.asarray(load_image(str(path)).convert("L")))


def test_a_picture_whose_exif_is_broken_is_taken_as_it_lies(phantom, tmp_path):
    phantom.save(tmp_path / "junk.png", exif=b"Exif\0\0not a TIFF header")
    exif = Image.Exif()
    exif[274], exif[271] = 6, "maker"
    encoded = bytearray(exif.tobytes())
    at = encoded.index(b"\x01\x0f") + 2  # the type of tag 271: say that its letters are numbers
    encoded[at : at + 2] = b"\x00\x09"
    phantom.save(tmp_path / "wrong_type.jpg", exif=bytes(encoded))
    for name in ("junk.png", "wrong_type.jpg"):
        assert read_slice(tmp_path / name).size == phantom.size


def test_a_deep_picture_is_turned_by_its_exif_as_others_are(phantom, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    flat = phantom.resize((96, 64))
    flat.save(tmp_path / "8.png", exif=exif)
    Image.fromarray(np.asarray(flat).astype(np.uint16) * 257).save(tmp_path / "16.png", exif=exif)
    eight, sixteen = (np.asarray(read_slice(tmp_path / name)) for name in ("8.png", "16.png"))
    assert eight.shape == (96, 64) and np.array_equal(eight, sixteen)


def test_a_deep_tiff_stored_inverted_is_turned_back(phantom, tmp_path):
    deep = np.asarray(phantom).astype(np.uint16) * 257
    Image.fromarray(65535 - deep).save(tmp_path / "inverted.tiff", tiffinfo={262: 0})
    assert np.array_equal(np.asarray(read_slice(tmp_path / "inverted.tiff")), np.asarray(phantom))


def test_sixteen_bits_are_scaled_not_clipped(phantom, tmp_path):
    deep = np.asarray(phantom).astype(np.uint16)
    Image.fromarray(deep * 257).save(tmp_path / "16.png")
    Image.fromarray(deep * 16).save(tmp_path / "12.tiff")
    Image.fromarray(deep.astype(np.float32) / 255).save(tmp_path / "float.tiff")
    assert np.array_equal(np.asarray(read_slice(tmp_path / "16.png")), np.asarray(phantom))
    assert np.array_equal(np.asarray(read_slice(tmp_path / "float.tiff")), np.asarray(phantom))
    twelve = np.asarray(read_slice(tmp_path / "12.tiff"), int)
    assert np.abs(twelve - np.asarray(phantom, int)).max() <= 1


def test_hounsfield_units_go_through_the_lung_window(tmp_path):
    hu = np.linspace(-1000, 400, 64 * 64).reshape(64, 64).astype(np.float32)
    Image.fromarray(hu).save(tmp_path / "hu.tiff")
    assert np.array_equal(np.asarray(read_slice(tmp_path / "hu.tiff")), apply_window(hu, -600, 1500))


def test_a_tiff_in_hounsfield_units_can_be_put_through_another_window(tmp_path):
    hu = np.linspace(-1000, 400, 64 * 80).reshape(64, 80).astype(np.float32)
    Image.fromarray(hu).save(tmp_path / "hu.tiff")
    found = open_slice(tmp_path / "hu.tiff")
    assert (found.format, found.size, found.window) == ("TIFF", (80, 64), (-600, 1500))
    assert np.array_equal(found.hu, hu)
    other = with_window(found, (40, 400))
    assert other.window == (40, 400) and np.array_equal(np.asarray(other.grey), apply_window(hu, 40, 400))


def test_a_windowed_picture_has_no_units_and_no_other_window(phantom, tmp_path):
    phantom.save(tmp_path / "slice.jpg")
    found = open_slice(tmp_path / "slice.jpg")
    assert (found.format, found.size) == ("JPEG", phantom.size)
    assert (found.hu, found.window, found.doubts) == (None, None, ())
    with pytest.raises(ValueError, match="expected a slice in HU, found grey values"):
        with_window(found, (-600, 1500))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_hounsfield_units_stored_with_an_offset_raise_a_doubt_and_windowed_greys_none(
    phantom, tmp_path, suffix
):
    windowed = np.asarray(phantom).astype(np.uint16)
    hu = windowed / 255 * 1500 - 1350
    for name, values, doubted in (
        ("offset", (hu + 1024).clip(0), True),
        ("12 bits", windowed * 16, False),
        ("16 bits", windowed * 257, False),
    ):
        path = tmp_path / f"{name}{suffix}"
        Image.fromarray(values.astype(np.uint16)).save(path)
        doubts = open_slice(path).doubts
        assert bool(doubts) == doubted, name
        assert all("HU stored with an offset of 1024" in doubt for doubt in doubts)


@pytest.mark.parametrize(
    "kind", [{"format": "TIFF"}, {"format": "PNG"}, {"format": "WEBP", "lossless": True}], ids=str
)
def test_only_the_first_frame_of_a_moving_picture_is_read(phantom, kind):
    moving = saved(phantom, **kind, save_all=True, append_images=[phantom.rotate(90)] * 3)
    slice_ = open_slice(io.BytesIO(moving))
    assert np.array_equal(np.asarray(slice_.grey), np.asarray(phantom))
    assert any("holds several pictures, of which the first is read" in doubt for doubt in slice_.doubts)


def test_a_picture_that_is_open_and_turns_out_broken_is_refused_as_broken(phantom):
    half = saved(phantom, "PNG")
    with Image.open(io.BytesIO(half[: len(half) // 2])) as picture:
        with pytest.raises(UnreadableSlice, match="expected a whole image file, found a broken one"):
            open_slice(picture)


def test_inks_and_a_colour_profile_give_the_same_slice(phantom):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for content in (
        saved(phantom.convert("CMYK"), "TIFF"),
        saved(phantom.convert("CMYK"), "JPEG", quality=100),  # its inks are stored inverted
        saved(phantom, "PNG", icc_profile=profile),
        saved(phantom, "PNG", icc_profile=b"no profile"),
    ):
        grey = np.asarray(read_slice(io.BytesIO(content)), int)
        assert np.abs(grey - np.asarray(phantom, int)).max() <= 4


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("text.png", b"not an image at all", "something else"),
        ("empty.png", b"", "an empty file"),
        ("slice.dcm", b"neither a preamble nor a tag", "something else"),
        ("gif.png", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "something else"),
    ],
)
def test_what_is_not_an_image_is_refused(tmp_path, name, content, found):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableSlice, match=f"expected an image .*found {found}; export"):
        read_slice(tmp_path / name)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff", ".bmp"])
def test_a_truncated_file_is_refused(phantom, tmp_path, suffix):
    path = tmp_path / f"slice{suffix}"
    phantom.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableSlice, match=r"^expected .*; export"):
        read_slice(path)


@pytest.mark.parametrize("name", ["nowhere.png", "n" * 300 + ".png", "nul\0.png", ""])
def test_a_missing_file_is_refused(tmp_path, name):
    with pytest.raises(UnreadableSlice, match=r"expected an image file, found none|in this folder"):
        read_slice(f"{tmp_path}/{name}")


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UnreadableSlice, match="found a device, pipe or socket"):
        read_slice(tmp_path / "pipe.png")
    with pytest.raises(UnreadableSlice, match=r"expected images .* in this folder, found none"):
        read_slice(tmp_path / "folder.png")


def test_a_folder_of_slices_is_refused_with_the_way_to_name_them(tmp_path, phantom):
    phantom.save(tmp_path / "slice.png")
    with pytest.raises(UnreadableSlice, match=r"found a folder of them; give its files, which `ladnn_hf"):
        read_slice(tmp_path)


def test_a_huge_file_is_not_opened(tmp_path):
    with (tmp_path / "sparse.png").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(UnreadableSlice, match="expected a file of at most 200,000,000 bytes"):
        read_slice(tmp_path / "sparse.png")


def test_a_picture_too_small_to_show_a_lesion_is_refused(tmp_path):
    Image.new("L", (1, 1)).save(tmp_path / "1.png")
    with pytest.raises(UnreadableSlice, match="at least 32×32 pixels, found 1×1"):
        read_slice(tmp_path / "1.png")


@pytest.mark.parametrize("side", [8_000, 30_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, side):
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    with pytest.raises(UnreadableSlice, match="at most 16,777,216 pixels, found"):
        read_slice(tmp_path / "bomb.png")


@pytest.mark.parametrize("sides", [(65_535, 65_535), (65_535, 300)])
def test_the_longest_side_that_a_header_can_claim_is_refused_before_it_is_decoded(phantom, tmp_path, sides):
    phantom.save(tmp_path / "slice.jpg")
    content = bytearray((tmp_path / "slice.jpg").read_bytes())
    struct.pack_into(">2H", content, content.index(b"\xff\xc0") + 5, *sides)
    with pytest.raises(UnreadableSlice, match="at most 16,777,216 pixels, found"):
        read_slice(io.BytesIO(content))


def test_a_jpeg_of_many_scans_is_refused_before_each_takes_as_long_as_all_pixels(phantom):
    content = saved(phantom, "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xc4", 0, content.rindex(b"\xff\xda")) : -2]
    assert read_slice(io.BytesIO(content[:-2] + 5 * last + content[-2:])).size == phantom.size
    with pytest.raises(UnreadableSlice, match="found a broken one"):
        read_slice(io.BytesIO(content[:-2] + 5_000 * last + content[-2:]))


def png_of_many_chunks(phantom):
    content = saved(phantom, "PNG")
    chunk = struct.pack(">I4sI", 0, b"prVt", zlib.crc32(b"prVt"))
    return content[:33] + 400_000 * chunk + content[33:]


def jpeg_of_many_comments(phantom):
    content = saved(phantom, "JPEG")
    return content[:2] + 500_000 * b"\xff\xfe\0\2" + content[2:]


def bmp_of_short_runs(phantom):
    head = struct.pack("<IiiHHIIiiII", 40, 4000, 4000, 1, 8, 1, 1_000_000, 0, 0, 256, 0)
    return struct.pack("<2sIHHI", b"BM", 1_001_078, 0, 0, 1078) + head + bytes(1024) + 500_000 * b"\1\1"


def tiff_of_tags_over_each_other(phantom):
    content = saved(phantom, "TIFF")
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    entries = content[at + 2 : at + 2 + 12 * count]
    entries += b"".join(struct.pack("<HHII", 40_000 + tag, 1, 1_000_000, 8) for tag in range(20))
    directory = struct.pack("<H", count + 20) + entries + bytes(4 + 1_000_000)
    return content[:4] + struct.pack("<I", len(content)) + content[8:] + directory


@pytest.mark.parametrize(
    "many", [png_of_many_chunks, jpeg_of_many_comments, bmp_of_short_runs, tiff_of_tags_over_each_other]
)
def test_a_file_of_endless_small_parts_is_refused_before_all_are_read(phantom, many):
    content, began = many(phantom), time.process_time()
    with pytest.raises(UnreadableSlice, match=r"^expected a"):
        read_slice(io.BytesIO(content))
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "make",
    [
        lambda side: Image.linear_gradient("L").resize((side, side)).convert("RGB"),
        lambda side: Image.fromarray(np.linspace(-1000, 400, side * side, dtype="f4").reshape(side, side)),
    ],
)
def test_the_largest_picture_that_is_read_takes_less_than_500_megabytes(tmp_path, make):
    make(4096).save(tmp_path / "large.tiff")
    code = """
import sys
from ladnn_hf.reading import open_slice
def most():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1000
before = most()
open_slice(sys.argv[1])
print(most() - before)
"""
    result = run_python(code, tmp_path / "large.tiff")
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 500


@pytest.mark.parametrize("side", [256, 512, 1200])
def test_a_line_of_text_beside_the_body_is_a_doubt_and_a_mark_is_none(side):
    slice_ = draw_phantom(["GGO"], size=side, seed=2)
    slice_ = ImageOps.expand(slice_, side // 8)
    assert open_slice(slice_).doubts == ()
    for words, doubted in (
        ("R", False),
        ("NIGHTINGALE ANN", True),
        ("Ann N. Gale", True),
        ("19010203", True),
    ):
        burned = slice_.copy()
        ImageDraw.Draw(burned).text((4, 4), words, 255, ImageFont.load_default(burned.width // 28))
        assert any("text burned into it" in doubt for doubt in open_slice(burned).doubts) == doubted, words


def test_a_damaged_picture_shows_nothing_of_the_memory():
    """Fax and JPEG inside of TIFF are not read: where they are damaged, libtiff leaves what was there."""
    for kind in ("group4", "jpeg"):
        content = saved(Image.new("1" if kind == "group4" else "L", (64, 64), 1), "TIFF", compression=kind)
        with pytest.raises(UnreadableSlice, match=f"packed without loss, found one packed as {kind}; export"):
            read_slice(io.BytesIO(content))


def test_a_folder_stands_for_its_images_by_the_path_as_given(phantom, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/2.png", "a/1.JPG", "a/b/3.tif", "a/notes.txt", "one.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert list(list_slices(["one.png", "./a/", "link", "nowhere"])) == [
        "one.png",
        *("./a/1.JPG", "./a/2.png", "./a/b/3.tif"),
        *("link/1.JPG", "link/2.png", "link/b/3.tif"),
        "nowhere",
    ]
