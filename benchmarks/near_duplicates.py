"""Share of planted copies that the audit finds in a data set, and what a perceptual hash finds of them.

pip install imagehash
python benchmarks/near_duplicates.py covid_ct

Copies of 200 slices drawn at random are scaled, cropped by up to a tenth on each side, re-encoded as JPEG,
annotated with arrows, letters and boxes, turned by up to 8 degrees, given another contrast, or all of it a
little, and hidden among all slices of the data set.
"""

import argparse
import io
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from ladnn_hf.near_duplicates import SAME_IMAGE, FeatureStore
from ladnn_hf.reading import read_slice
from ladnn_hf.slice_dataset import load_slices, stream_rows

PLANTED = 200
HASH_DISTANCE = 10
"""Bits of 64 in which two perceptual hashes of one image may differ, as is usual."""


def scaled(slice_: Image.Image, draw: random.Random) -> Image.Image:
    """Another size, the aspect a little off."""
    factor = draw.uniform(0.4, 1.6)
    sides = slice_.width * factor, slice_.height * factor * draw.uniform(0.95, 1.05)
    return slice_.resize(tuple(max(40, round(side)) for side in sides))


def cropped(slice_: Image.Image, draw: random.Random, most: float = 0.1) -> Image.Image:
    """Up to a tenth cut off each side."""
    left, top, right, bottom = (draw.uniform(0, most) for _ in range(4))
    width, height = slice_.size
    box = left * width, top * height, (1 - right) * width, (1 - bottom) * height
    return slice_.crop(tuple(map(round, box)))


def encoded(slice_: Image.Image, draw: random.Random) -> Image.Image:
    """JPEG of quality 25 to 90."""
    buffer = io.BytesIO()
    slice_.save(buffer, "JPEG", quality=draw.randint(25, 90))
    return Image.open(buffer).convert("L")


def annotated(slice_: Image.Image, draw: random.Random) -> Image.Image:
    """Arrows, a letter and at times a box."""
    picture = slice_.convert("RGB")
    pen = ImageDraw.Draw(picture)
    width, height = picture.size
    stroke = max(2, width // 100)
    for _ in range(draw.randint(1, 3)):
        x, y = draw.uniform(0.2, 0.8) * width, draw.uniform(0.2, 0.8) * height
        length, colour = draw.uniform(0.08, 0.2) * width, draw.choice(["red", "yellow", "white", "lime"])
        pen.line((x, y, x + length, y + length * draw.uniform(-1, 1)), fill=colour, width=stroke)
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=colour)
    pen.text((5, 5), draw.choice("ABCDEF"), fill="white")
    if draw.random() < 0.5:
        box = 0.3 * width, 0.3 * height, 0.55 * width, 0.5 * height
        pen.rectangle(box, outline="red", width=stroke)
    return picture.convert("L")


def turned(slice_: Image.Image, draw: random.Random, most: float = 8) -> Image.Image:
    """Turned by some degrees."""
    return slice_.rotate(draw.uniform(-most, most), resample=Image.Resampling.BICUBIC)


def windowed(slice_: Image.Image, draw: random.Random) -> Image.Image:
    """Another window: gain and offset."""
    gain, offset = draw.uniform(0.7, 1.4), draw.uniform(-25, 25)
    return slice_.point(lambda grey: round((grey - 128) * gain + 128 + offset))


def mixed(slice_: Image.Image, draw: random.Random) -> Image.Image:
    """Turned, cropped, scaled and encoded, a little of each."""
    return encoded(scaled(cropped(turned(slice_, draw, 3), draw, 0.06), draw), draw)


KINDS: tuple[Callable[..., Image.Image], ...] = (
    scaled, cropped, encoded, annotated, turned, windowed, mixed
)  # fmt: skip

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("dataset", help="folder that `ladnn data build` or `from-folder` wrote")
arguments = parser.parse_args()

import imagehash  # noqa: E402  (after --help, which needs it not, and before the long work)

splits = load_slices(arguments.dataset)
slices = [
    read_slice(io.BytesIO(row["image"]["bytes"]))
    for rows in splits.values()
    for row in tqdm(stream_rows(rows), total=len(rows), desc="reading", disable=None)
]
draw = random.Random(2020)
originals = draw.sample(range(len(slices)), PLANTED)
kinds = [KINDS[number % len(KINDS)] for number in range(PLANTED)]
copies = [kind(slices[at], draw) for kind, at in zip(kinds, originals, strict=True)]

with FeatureStore() as store:
    for slice_ in tqdm([*slices, *copies], desc="features", disable=None):
        store.add(np.asarray(slice_))
    pairs = {(pair.first, pair.second) for pair in store.pairs() if pair.similarity >= SAME_IMAGE}
hashes = np.array([imagehash.phash(slice_).hash.ravel() for slice_ in [*slices, *copies]])
distances = np.array([(hashes != one).sum(axis=1) for one in hashes])

print("| copy | planted | found | found by perceptual hash |\n|---|---|---|---|")
total = np.zeros(3, int)
for kind in KINDS:
    places = [number for number in range(PLANTED) if kinds[number] is kind]
    found = sum((originals[number], len(slices) + number) in pairs for number in places)
    by_hash = sum(distances[originals[number], len(slices) + number] <= HASH_DISTANCE for number in places)
    total += (len(places), found, by_hash)
    print(f"| {kind.__name__} | {len(places)} | {found} | {by_hash} |")
print(
    f"| all | {total[0]} | {total[1]} ({total[1] / total[0]:.1%}) | {total[2]} ({total[2] / total[0]:.1%}) |"
)
natural = sum(second < len(slices) for _, second in pairs)
by_hash = int((np.triu(distances[: len(slices), : len(slices)] <= HASH_DISTANCE, 1)).sum())
print(f"\npairs among the {len(slices)} slices themselves: {natural}; by perceptual hash {by_hash}")
