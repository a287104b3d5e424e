"""Whole files of every format that can be uploaded, for `fuzz_mutations` to break: 48-pixel phantoms."""

import io
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import pyarrow.parquet as pq
from dicom_files import COMPRESSIONS, SECRET, compress, to_hu, write_dicom
from PIL import Image, ImageCms, PngImagePlugin
from pydicom import Dataset, dcmread, uid
from pydicom.encaps import encapsulate

from ladnn_hf import CLASSES, draw_phantom

SIDE = 48
GREY = draw_phantom(["GGO"], size=SIDE, seed=1)
DEEP = np.asarray(GREY).astype(np.uint16) * 257
HU = to_hu(GREY)
COLOUR = GREY.convert("RGB")
ALPHA = Image.merge("RGBA", [*COLOUR.split(), GREY])


def _saved(picture: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(stream, kind, **options)
    return stream.getvalue()


def _exif(turned: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274], exif[315] = turned, SECRET  # orientation, artist
    return exif


def png() -> list[bytes]:
    """8 and 16 bits, one bit, palette, alpha, animated, interlaced, with text, EXIF and a profile."""
    said = PngImagePlugin.PngInfo()
    said.add_text("Author", SECRET)
    said.add_text("Comment", SECRET, zip=True)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return [
        *(_saved(picture, "PNG") for picture in (GREY, DEEP, COLOUR, ALPHA, GREY.convert("LA"))),
        _saved(GREY.convert("1"), "PNG"),
        _saved(COLOUR.convert("P"), "PNG", transparency=3),
        _saved(GREY, "PNG", pnginfo=said, exif=_exif(6), icc_profile=profile),
        _saved(COLOUR, "PNG", save_all=True, append_images=[COLOUR.rotate(90)] * 2),
        _interlaced(),
    ]


def _interlaced() -> bytes:
    """Adam7, which Pillow reads and does not write: the passes of a grey slice, each row unfiltered."""
    pixels, rows = np.asarray(GREY), b""
    for x, y, across, down in (
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
    ):  # fmt: skip
        rows += b"".join(b"\0" + row.tobytes() for row in pixels[y::down, x::across])
    stream = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    stream.seek(0, io.SEEK_END)
    PngImagePlugin.putchunk(stream, b"IHDR", struct.pack(">2I5B", SIDE, SIDE, 8, 0, 0, 0, 1))
    PngImagePlugin.putchunk(stream, b"IDAT", imagecodecs.zlib_encode(rows))
    PngImagePlugin.putchunk(stream, b"IEND", b"")
    return stream.getvalue()


def jpeg() -> list[bytes]:
    """Grey, RGB, CMYK, progressive, turned, with a comment."""
    return [
        _saved(GREY, "JPEG"),
        _saved(COLOUR, "JPEG", exif=_exif(6), comment=SECRET),
        _saved(COLOUR, "JPEG", progressive=True, subsampling=0),
        _saved(GREY, "JPEG", progressive=True, exif=_exif(8)),
        _saved(COLOUR.convert("CMYK"), "JPEG"),
        _saved(COLOUR, "JPEG", restart_marker_rows=1),
    ]


def webp() -> list[bytes]:
    """Still, lossless, with alpha, animated, turned."""
    return [
        _saved(COLOUR, "WEBP"),
        _saved(GREY, "WEBP", lossless=True, exif=_exif(3), xmp=SECRET),
        _saved(ALPHA, "WEBP"),
        _saved(COLOUR, "WEBP", save_all=True, append_images=[COLOUR.rotate(90)], duration=100),
    ]


def tiff() -> list[bytes]:
    """Each depth and compression, tiles, several pages, stored inverted, big-endian."""
    said = {315: SECRET, 274: 6}
    return [
        *(_saved(picture, "TIFF") for picture in (GREY, DEEP, COLOUR, ALPHA, COLOUR.convert("CMYK"))),
        _saved(HU.astype(np.float32), "TIFF", tiffinfo=said),
        _saved(HU.astype(np.int32), "TIFF"),
        _saved(65535 - DEEP, "TIFF", tiffinfo={262: 0}),
        _saved(GREY.convert("1"), "TIFF", compression="group4"),
        _saved(COLOUR.convert("P"), "TIFF", save_all=True, append_images=[GREY, GREY]),
        *(
            _saved(picture, "TIFF", compression=kind)
            for picture in (GREY, COLOUR)
            for kind in ("packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg")
        ),
        _saved(HU.astype(np.float32), "TIFF", compression="tiff_lzw"),
        _saved(DEEP, "TIFF", compression="zstd"),
        _tiled(),
        _saved(DEEP.astype(">u2"), "TIFF"),
    ]


def _tiled() -> bytes:
    """Four tiles of 32 pixels, which Pillow reads and does not write."""
    padded = np.pad(np.asarray(GREY), ((0, 64 - SIDE), (0, 64 - SIDE)))
    tiles = [padded[y : y + 32, x : x + 32].tobytes() for y in (0, 32) for x in (0, 32)]
    entries = [
        (256, 4, 1, SIDE), (257, 4, 1, SIDE), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1),
        (322, 4, 1, 32), (323, 4, 1, 32), (324, 4, 4, 134), (325, 4, 4, 150),
    ]  # fmt: skip
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    head += b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)
    head += struct.pack("<8I", *(166 + 1024 * number for number in range(4)), *[1024] * 4)
    return head + b"".join(tiles)


def bmp() -> list[bytes]:
    """Grey, colours, palette, one bit, alpha, run lengths of 8 and 4 bits."""
    runs = b"".join(bytes([SIDE, number]) + b"\0\0" for number in range(SIDE)) + b"\0\1"
    return [
        *(_saved(picture, "BMP") for picture in (GREY, COLOUR, ALPHA)),
        _saved(COLOUR.convert("P"), "BMP"),
        _saved(GREY.convert("1"), "BMP"),
        _run_lengths(8, 1, runs),
        _run_lengths(4, 2, runs),
    ]


def _run_lengths(bits: int, compression: int, runs: bytes) -> bytes:
    palette = b"".join(bytes([number, number, number, 0]) for number in range(2**bits))
    begin = 54 + len(palette)
    head = struct.pack("<2sIHHI", b"BM", begin + len(runs), 0, 0, begin)
    head += struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, bits, compression, len(runs), 0, 0, 2**bits, 0)
    return head + palette + runs


def dicom() -> list[bytes]:
    """Each transfer syntax, signed and not, frames, shown inverted, in colour, odd tags, no preamble."""
    unsigned = (HU + 1350).astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "slice.dcm"

        def written(stored=HU, compression=None, change=None, **options) -> bytes:
            write_dicom(path, stored, **options)
            if compression:
                compress(path, compression)
            if change:
                dataset = dcmread(path)
                change(dataset)
                dataset.save_as(path)
            return path.read_bytes()

        def private(dataset: Dataset) -> None:
            block = dataset.private_block(0x0011, SECRET, create=True)
            block.add_new(1, "LO", SECRET)
            item = Dataset()
            item.PatientName = SECRET
            dataset.ReferencedPatientSequence = [item]

        def lossy(dataset: Dataset) -> None:
            dataset.PixelData = encapsulate([imagecodecs.jpeg8_encode(unsigned, level=98, bitspersample=12)])
            dataset.file_meta.TransferSyntaxUID = uid.JPEGExtended12Bit

        def baseline(dataset: Dataset) -> None:
            dataset.PixelData = encapsulate([_saved(GREY, "JPEG", progressive=True)])
            dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit

        return [
            *(written(compression=one) for one in COMPRESSIONS),
            *(
                written(syntax=one)
                for one in (
                    uid.ImplicitVRLittleEndian,
                    uid.ExplicitVRLittleEndian,
                    uid.DeflatedExplicitVRLittleEndian,
                )
            ),
            written(HU.astype(">i2"), syntax=uid.ExplicitVRBigEndian),
            written(unsigned, RescaleIntercept=-1350, BitsStored=12, HighBit=11),
            written(unsigned, change=lossy, RescaleIntercept=-1350, BitsStored=12, HighBit=11),
            written(np.asarray(GREY), change=baseline, Modality="OT"),
            written(np.asarray(GREY), PhotometricInterpretation="MONOCHROME1", without=["RescaleSlope"]),
            written(np.stack([HU, HU.T])),
            written(np.stack([HU, HU.T]), compression=uid.RLELossless),
            written(
                np.asarray(COLOUR)[None],
                PhotometricInterpretation="RGB",
                PlanarConfiguration=0,
                Modality="SC",
            ),
            written(change=private, PixelPaddingValue=-2000, RescaleType="HU", BurnedInAnnotation="YES"),
            written(RescaleSlope=0.5, RescaleIntercept=-1e4),
            written(preamble=False),
            written(preamble=False, syntax=uid.ImplicitVRLittleEndian),
        ]


def zip_() -> list[bytes]:
    """Stored and packed, with folders, one in another, a way out, a link, two of a name, locked, Zip64."""
    slices = {"COVID/a.png": _saved(GREY, "PNG"), "b.jpg": _saved(GREY, "JPEG"), "notes.txt": b"no slice"}

    def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, zip64: bool = False) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, content in members.items():
                with archive.open(name, "w", force_zip64=zip64) as member:
                    member.write(content)
        return stream.getvalue()

    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a.png", slices["COVID/a.png"])
        archive.writestr("a.png", slices["b.jpg"])
    locked = bytearray(packed(slices))
    locked[6] |= 1
    locked[locked.index(b"PK\1\2") + 8] |= 1
    return [
        *(packed(slices, method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)),
        packed(slices, zipfile.ZIP_BZIP2),
        packed(slices, zip64=True),
        packed({"inner.zip": packed(slices), "c.png": slices["COVID/a.png"]}),
        packed({"../../out.png": slices["COVID/a.png"]}),
        packed({"bomb.png": bytes(1_000_000)}),
        stream.getvalue(),
        bytes(locked),
    ]


def csv() -> list[bytes]:
    """A folder's `metadata.csv`: all columns, the fewest, other orders, quotes, line ends and encodings."""
    header = "file_name,label,patient_id,GGO,Csld,CrPa,AirBr,InSepThi,caption,source\n"
    whole = header + '0.png,COVID,p1,1,0,0,0,1,"opacity, left",10.1101/1\n1.png,0,p2,,,,,,"two ""lines""\n",'
    return [
        whole.encode(),
        whole.replace("\n", "\r\n").encode("utf-8-sig"),
        b"label,file_name\nNonCOVID,0.png\nCOVID,1.png\n1,2.png\n",
        "file_name,label,caption\n0.png,COVID,肺部磨玻璃影\n1.png,NonCOVID,é\n".encode(),
    ]


def arrow() -> list[bytes]:
    """The rows of a saved data set."""
    with tempfile.TemporaryDirectory() as folder:
        path = saved_slices(Path(folder) / "slices")
        return [path.read_bytes()]


def saved_slices(output: Path) -> Path:
    """Save a data set of two slices; the file of its rows."""
    from ladnn_hf.slice_dataset import SliceFile, write_slices

    files = [SliceFile("here", partial(_saved, GREY, "PNG"), f"{label}.png", label) for label in CLASSES]
    write_slices({"train": files}, output)
    (rows,) = (output / "train").glob("*.arrow")
    return rows


def parquet() -> list[bytes]:
    """As a data set is pushed; and packed, with and without dictionaries and lists, as others write it."""
    from datasets import load_from_disk

    from ladnn_hf.parquet_shards import write_shards

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved_slices(Path(folder) / "slices")
        rows = load_from_disk(Path(folder) / "slices")["train"]
        (shard,) = write_shards("train", rows, Path(folder)).paths
        contents, table = [shard.read_bytes()], pq.read_table(shard)
        for options in (
            {"compression": "zstd", "data_page_version": "2.0"},
            {"compression": "gzip", "use_dictionary": False, "row_group_size": 1},
            {"compression": "none", "write_page_checksum": True},
            {"compression": "snappy", "store_schema": False},
        ):
            pq.write_table(table, shard, **options)
            contents.append(shard.read_bytes())
        pq.write_table(table.select(["image"]), shard, compression="lz4")
        return [*contents, shard.read_bytes()]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "PNG": png, "JPEG": jpeg, "WebP": webp, "TIFF": tiff, "BMP": bmp, "DICOM": dicom, "zip": zip_, "CSV": csv,
    "Arrow": arrow, "Parquet": parquet,
}  # fmt: skip
"""Whole files of each format."""
