"""Make a training run the bundled checkpoint: export and score it, write report, figures and README's scores.

python benchmarks/bundle_checkpoint.py runs/bundled covid_ct --external sars_ct --runs runs/bundled runs/43

What follows the two folders goes to `ladnn evaluate` on the test split. `bundled` in place of the run scores
anew the checkpoint that is bundled already.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from ladnn_hf.cli import main
from ladnn_hf.evaluation import to_tables
from ladnn_hf.evaluation_figures import FIGURES
from ladnn_hf.export import export_onnx
from ladnn_hf.metrics import to_json
from ladnn_hf.model_folder import BUNDLED

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("run", type=Path, help="folder that `ladnn train` wrote, or `bundled`")
parser.add_argument("dataset", help="folder that `ladnn data build` wrote")
arguments, flags = parser.parse_known_args()

if arguments.run == Path("bundled"):
    training = json.loads((BUNDLED / "report.json").read_text())["training"]
else:
    training = json.loads((arguments.run / "metrics.json").read_text())
    shutil.rmtree(BUNDLED, ignore_errors=True)
    export_onnx(arguments.run, BUNDLED)
    for path in BUNDLED.iterdir():
        path.chmod(0o644)
report = {"training": training}
(BUNDLED / "report.json").write_text(to_json(report))  # what is scored now says how it was trained
for split, more in (("validation", []), ("test", flags)):
    with tempfile.TemporaryDirectory() as folder:
        status = main(
            ["evaluate", "--dataset", arguments.dataset, "--split", split, "--output", folder, *more]
        )
        if status:
            sys.exit(status)
        report[split] = json.loads((Path(folder) / "report.json").read_text())
        if split == "test":
            for figure in FIGURES:
                shutil.copy(Path(folder) / f"{figure}.png", BUNDLED)
report = {"weights_sha256": report["test"]["weights_sha256"], **report}
(BUNDLED / "report.json").write_text(to_json(report))

readme = Path(__file__).resolve().parents[1] / "README.md"
before, rest = readme.read_text().split("<!-- scores -->\n")
after = rest.split("<!-- /scores -->")[1]
readme.write_text(f"{before}<!-- scores -->\n{to_tables(report['test'])}<!-- /scores -->{after}")
print(BUNDLED, readme)
