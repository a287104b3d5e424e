"""How well the file alone, no pixel read, tells COVID-CT's classes apart on its test split.

python benchmarks/file_only_baseline.py covid_ct
"""

import argparse
from pathlib import Path

import numpy as np
from datasets import Dataset
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, roc_auc_score

from ladnn_hf.slice_dataset import load_slices

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("dataset", help="folder that `ladnn data build` wrote")
splits = load_slices(parser.parse_args().dataset)


def facts(rows: Dataset) -> np.ndarray:
    """Suffix, colour mode, width and height of each file, as numbers."""
    return np.array(
        [
            [Path(name).suffix.lower() == ".png", mode == "L", mode == "RGBA", width, height]
            for name, mode, width, height in zip(
                rows["file_name"], rows["mode"], rows["width"], rows["height"], strict=True
            )
        ]
    )


train, test = splits["train"], splits["test"]
scores = []
for seed in range(5):
    forest = RandomForestClassifier(500, random_state=seed).fit(facts(train), train["label"])
    said = forest.predict_proba(facts(test))[:, 1]
    scores.append((roc_auc_score(test["label"], said), accuracy_score(test["label"], said >= 0.5)))
for name, values in zip(("AUC", "accuracy"), np.transpose(scores), strict=True):
    print(f"{name} {np.mean(values):.3f} (5 seeds: {min(values):.3f}–{max(values):.3f})")
