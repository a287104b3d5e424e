"""Make a training run the bundled checkpoint: export it, score it, write its report and the README's scores.

python benchmarks/bundle_checkpoint.py runs/bundled covid_ct
"""

import argparse
import json
import shutil
from pathlib import Path

from ladnn_hf.evaluation import evaluate, to_markdown
from ladnn_hf.export import export_onnx
from ladnn_hf.inference import BUNDLED
from ladnn_hf.metrics import to_json

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("run", type=Path, help="folder that `ladnn train` wrote")
parser.add_argument("dataset", help="folder that `ladnn data build` wrote")
arguments = parser.parse_args()

training = json.loads((arguments.run / "metrics.json").read_text())
shutil.rmtree(BUNDLED, ignore_errors=True)
export_onnx(arguments.run, BUNDLED)
for path in BUNDLED.iterdir():
    path.chmod(0o644)
reports = {split: evaluate(None, arguments.dataset, split) for split in ("validation", "test")}
report = {"weights_sha256": reports["test"]["weights_sha256"], "training": training, **reports}
(BUNDLED / "report.json").write_text(to_json(report))

readme = Path(__file__).resolve().parents[1] / "README.md"
table = to_markdown(reports["test"]).split("\n\n", 2)[2]
before, rest = readme.read_text().split("<!-- scores -->\n")
after = rest.split("<!-- /scores -->")[1]
readme.write_text(f"{before}<!-- scores -->\n{table}<!-- /scores -->{after}")
print(BUNDLED, readme)
