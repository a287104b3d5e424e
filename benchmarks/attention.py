"""Whether maps show what a model looks at: painting over, lungs, random weights.

python benchmarks/attention.py covid_ct --split validation
python benchmarks/attention.py covid_ct --split validation --lesion GGO
python benchmarks/attention.py covid_ct --split validation --model runs/mine --json attention.json

Prints means over the positives that the model calls positive, or over the slices with a lesion, with 95%
bootstrap intervals of patients.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ladnn_hf.attention_checks import DRAWS, RANDOM_NETWORKS, SHARE, check_attention
from ladnn_hf.checkpoints import load_checkpoint
from ladnn_hf.labels import LESIONS
from ladnn_hf.metrics import to_json
from ladnn_hf.reading import read_slice
from ladnn_hf.slice_dataset import load_slices, patient_numbers, to_lesion_labels, values_of

TITLES = {
    "drop": f"strongest {SHARE:.0%} painted over: probability falls by",
    "drop_moved": f"the same moved at random, mean of {DRAWS}: falls by",
    "drop_over_moved": "difference",
    "drop_on_lungs": f"the same moved at random, on lungs, mean of {DRAWS}: falls by",
    "drop_over_on_lungs": "difference",
    "evidence_on_lungs": "share of the evidence on lungs",
    "lungs": "share of lungs in the view",
    "evidence_over_lungs": "difference",
    "random_rho": f"rank correlation with {RANDOM_NETWORKS} networks of random weights",
    "random_abs_rho": "its size",
}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("dataset", help="folder that `ladnn data build` or `from-folder` wrote")
parser.add_argument("--split", default="validation")
parser.add_argument("--lesion", choices=LESIONS, help="whose maps; else those of COVID-19")
parser.add_argument("--model", default="bundled", help="model folder, or bundled")
parser.add_argument("--json", type=Path, help="file to write the numbers to")
arguments = parser.parse_args()

rows = load_slices(arguments.dataset)[arguments.split]
output = 1 + LESIONS.index(arguments.lesion) if arguments.lesion else 0
labels = to_lesion_labels(values_of(rows, "lesions"))[:, output - 1] if output else np.array(rows["label"])
positives = rows.select(np.flatnonzero(labels == 1))
slices = (
    read_slice(row["image"]) for row in tqdm(positives.select_columns("image"), unit="slice", disable=None)
)
patients = patient_numbers(values_of(positives, "patient_id"))
try:
    report = check_attention(*load_checkpoint(arguments.model), slices, patients, output)
except ValueError as error:  # too few slices
    raise SystemExit(f"{arguments.dataset}, {arguments.split}: {error}") from error
if arguments.json:
    arguments.json.write_text(to_json(report))

called = "" if output else f"{report['called_positive']} called positive, "
shown = arguments.lesion or "COVID-19"
print(
    f"{arguments.model} on {arguments.split}: {report['slices']} slices with {shown}, "
    f"{called}{report['measured']} of these with lungs that are found; these are measured.\n"
)
print("| " + " | ".join(["", *report["maps"]]) + " |\n|" + "---|" * (1 + len(report["maps"])))
for name, title in TITLES.items():
    cells = ("{:.3f} ({:.3f} to {:.3f})".format(*numbers[name]) for numbers in report["maps"].values())
    print("| " + " | ".join([title, *cells]) + " |")
