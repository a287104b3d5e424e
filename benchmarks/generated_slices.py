"""Write a folder of generated slices, as many as wanted, to measure how something grows with the data.

python benchmarks/generated_slices.py 50000 slices
ladnn data from-folder slices --output generated

Each is 256×256, 8-bit grey and unlike all others: one of a few phantoms under noise of its own.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image

from ladnn_hf.labels import CLASSES, LESIONS
from ladnn_hf.phantoms import draw_phantom

PHANTOMS = 16
"""Phantoms of each class, each drawn once: drawing takes far longer than noise."""
SLICES_A_PATIENT = 5


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
            picture = np.clip(phantom + noise, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / file_name, compress_level=1)
            lesions = [1, 0, 0, 0, 0] if name == "COVID" else [""] * len(LESIONS)
            table.writerow([file_name, name, f"generated {patient}", *lesions])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, help="slices to write")
    parser.add_argument("folder", type=Path, help="a folder that is not there yet")
    arguments = parser.parse_args()
    write_slices(arguments.count, arguments.folder)
