"""Write a folder of generated slices, as many as wanted, to measure how something grows with the data.

python benchmarks/generated_slices.py 50000 slices
ladnn data from-folder slices --output generated

Each is 256×256, 8-bit grey and unlike all others: one of a few phantoms, with vessels and noise of its own.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ladnn_hf.labels import CLASSES, LESIONS
from ladnn_hf.phantoms import draw_phantom

PHANTOMS = 16
"""Phantoms of each class, each drawn once: drawing takes far longer than noise."""
SLICES_A_PATIENT = 5
VESSELS = 120


def write_slices(count: int, folder: Path, size: int = 256) -> None:
    """Write a folder for `ladnn data from-folder`: class folders with PNGs, and their metadata.csv.

    Every second patient is a positive with ground glass, which the lesion labels say.

    Args:
        count: Slices to write.
        folder: A folder that is not there yet.
        size: Width and height in pixels.
    """
    phantoms = {
        name: [np.asarray(draw_phantom(findings, size=size, seed=seed)) for seed in range(PHANTOMS)]
        for name, findings in (("NonCOVID", []), ("COVID", ["GGO"]))
    }
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["file_name", "label", "patient_id", *LESIONS])
        for index in range(count):
            # a patient's slices follow each other and are of one class
            patient = index // SLICES_A_PATIENT
            name = CLASSES[patient % 2]
            file_name = f"{name}/{index:06d}.png"
            generator = np.random.default_rng(index)
            noise = generator.normal(0, 6, (size, size))
            phantom = phantoms[name][generator.integers(PHANTOMS)]
            picture = Image.fromarray(np.clip(phantom + noise, 0, 255).astype(np.uint8))
            _draw_vessels(picture, generator)
            picture.save(folder / file_name, compress_level=1)
            lesions = [1, 0, 0, 0, 0] if name == "COVID" else [""] * len(LESIONS)
            table.writerow([file_name, name, f"generated {patient}", *lesions])


def _draw_vessels(picture: Image.Image, generator: np.random.Generator) -> None:
    """Bright spots of many sizes: what tells one slice from another."""
    draw = ImageDraw.Draw(picture)
    for x, y, radius, grey in zip(
        *generator.uniform(0, picture.width, (2, VESSELS)),
        generator.uniform(1, 6, VESSELS),
        generator.integers(90, 256, VESSELS),
        strict=True,
    ):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(grey))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, help="slices to write")
    parser.add_argument("folder", type=Path, help="a folder that is not there yet")
    arguments = parser.parse_args()
    write_slices(arguments.count, arguments.folder)
