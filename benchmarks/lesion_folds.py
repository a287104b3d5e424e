"""Patient-grouped folds of a data set, and a training run for each: how well can lesions be told at all?

python benchmarks/lesion_folds.py covid_ct --output folds --bf16 --num_train_epochs 10

A fold is scored by a run that saw none of its patients. All splits are taken together, since a lesion of
which a split holds three cannot be measured there. What follows goes to `ladnn train`; of a fold that is
there, nothing is done again. The last line is what `ladnn evaluate --lesion-folds` takes.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from datasets import DatasetDict, concatenate_datasets

from ladnn_hf.cli import main
from ladnn_hf.patient_split import split_patients
from ladnn_hf.slice_dataset import load_slices, to_lesion_labels

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("dataset", help="folder that `ladnn data build` wrote")
parser.add_argument("--output", type=Path, required=True, help="folder for data sets and runs")
parser.add_argument("--folds", type=int, default=5)
arguments, flags = parser.parse_known_args()

rows = concatenate_datasets(list(load_slices(arguments.dataset).values()))
lesions = np.nan_to_num(to_lesion_labels(rows["lesions"]))
# A slice counts under the rarest of its lesions, so that each fold gets a part of those.
rarity = np.argsort(lesions.sum(axis=0))
kinds = [
    str(next((lesion for lesion in rarity if has[lesion]), f"label {label}"))
    for has, label in zip(lesions, rows["label"], strict=True)
]
names = [str(number) for number in range(arguments.folds)]
patients = [patient or f"row {row}" for row, patient in enumerate(rows["patient_id"])]
fold_of = np.array(split_patients(patients, kinds, dict.fromkeys(names, 1 / len(names)), seed=0))

pairs = []
for number, name in enumerate(names):
    data, run = arguments.output / f"fold_{name}", arguments.output / f"run_{name}"
    held_out, validation = fold_of == name, fold_of == names[number - 1]
    if not data.exists():
        splits = {"train": ~held_out & ~validation, "validation": validation, "test": held_out}
        DatasetDict(
            {split: rows.select(np.flatnonzero(mask)) for split, mask in splits.items()}
        ).save_to_disk(data)
    if not (run / "metrics.json").exists():
        status = main(["train", "--dataset", str(data), "--output_dir", str(run), *flags])
        if status:
            sys.exit(status)
    pairs.append(f"{run}={data}")
print("--lesion-folds", *pairs)
