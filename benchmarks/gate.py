"""Share of pictures that a model's gate refuses, by kind, with 95% Wilson intervals.

python benchmarks/gate.py others --slices covid_ct:validation --slices sars_ct:train [--model DIR] [--most 50]

`others` holds a folder of pictures for each kind that is no chest CT slice: all should be refused, and none
of the slices of the data sets.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import binomtest
from tqdm import tqdm

from ladnn_hf import Predictor
from ladnn_hf.reading import list_slices
from ladnn_hf.slice_dataset import load_slices


def spread(items: list, most: int | None) -> list:
    """At most so many, spread over all."""
    if most is None or len(items) <= most:
        return items
    return [items[at] for at in np.linspace(0, len(items) - 1, most).astype(int)]


def refused(pictures: Iterable[str | Image.Image], name: str) -> list[bool]:
    """Whether each is refused."""
    answers = predictor.predict(tqdm(pictures, desc=name, unit="picture", delay=2, disable=None))
    return [answer.decision == "refused" for answer in answers]


def line(name: str, flags: list[bool]) -> str:
    """One row of the table."""
    found = binomtest(sum(flags), len(flags)).proportion_ci(method="wilson")
    share = np.mean(flags)
    return f"| {name} | {len(flags)} | {sum(flags)} | {share:.1%} ({found.low:.1%}–{found.high:.1%}) |"


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("others", type=Path, help="folder with a folder of pictures for each kind")
parser.add_argument(
    "--slices", action="append", default=[], help="data set and split, such as covid_ct:train"
)
parser.add_argument("--model", help="model folder; without it the bundled checkpoint")
parser.add_argument("--most", type=int, help="pictures of each kind, and slices of each split, at most")
arguments = parser.parse_args()
predictor = Predictor(arguments.model)

print("| pictures | count | refused | share |\n|---|---|---|---|")
others = []
for kind in sorted(path for path in arguments.others.iterdir() if path.is_dir()):
    flags = refused(spread(list(list_slices([str(kind)])), arguments.most), kind.name)
    others += flags
    print(line(kind.name, flags), flush=True)
print(line("all that are no chest CT slice", others), flush=True)
for name in arguments.slices:
    dataset, split = name.rsplit(":", 1)
    rows = load_slices(dataset)[split]
    rows = rows.select(spread(list(range(len(rows))), arguments.most))
    flags = refused((row["image"] for row in rows.select_columns("image")), split)
    print(line(f"{Path(dataset).name}, {split}", flags), flush=True)
