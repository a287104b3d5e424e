"""AUC of runs on each of several splits, alone and together: what a checkpoint is chosen by.

python benchmarks/auc_by_place.py runs/1 runs/2 --splits covid_ct:validation sars_ct:validation later:new

Without the gate, so that a run is asked about slices, not about what it takes for one. The last row is the
mean of the calibrated logits of all runs, which one network can learn by `ladnn train --teachers`. `bundled`
stands for the bundled checkpoint.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.special import logit

from ladnn_hf import Predictor
from ladnn_hf.metrics import auc
from ladnn_hf.slice_dataset import load_slices
from ladnn_hf.slice_scores import score_slices

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("runs", nargs="+", help="folders that `ladnn train` wrote, or `bundled`")
parser.add_argument("--splits", nargs="+", required=True, help="data sets and splits, as covid_ct:validation")
arguments = parser.parse_args()

splits = {}
for name in arguments.splits:
    dataset, split = name.rsplit(":", 1)
    splits[f"{Path(dataset).name} {split}"] = load_slices(dataset)[split]
labels = {name: np.array(rows["label"]) for name, rows in splits.items()}
logits: dict[str, list[np.ndarray]] = {name: [] for name in splits}


def line(name: str, scores: list[np.ndarray]) -> str:
    """One row of the table."""
    numbers = [f"{auc(truth, said):.3f}" for truth, said in zip(labels.values(), scores, strict=True)]
    return f"| {name} | " + " | ".join(numbers) + " |"


print("| run | " + " | ".join(splits) + " |\n|" + "---|" * (1 + len(splits)))
for run in arguments.runs:
    predictor = Predictor(run, gate=False)
    for name, rows in splits.items():
        logits[name].append(logit(score_slices(predictor, rows, name).covid))
    print(line(Path(run).name, [said[-1] for said in logits.values()]), flush=True)
if len(arguments.runs) > 1:
    print(line("together", [np.mean(said, axis=0) for said in logits.values()]))
