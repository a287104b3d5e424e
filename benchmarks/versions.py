"""The same answers with the oldest and the newest versions that are declared, on each Python.

python benchmarks/versions.py [--python 3.11 3.12 3.13] [--resolution lowest-direct highest] [TEST...]

uv (`pip install uv`) resolves pyproject.toml both ways and installs each into a new virtual environment, in
which the core's tests run, golden numbers on stored phantoms among them. Each downloads some gigabytes.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORE = [
    *("test_bundled", "test_model", "test_predict", "test_reading", "test_dicom", "test_training"),
    *("test_from_folder", "test_data_push", "test_page_api"),
]
SHOWN = (
    "torch",
    "timm",
    "transformers",
    "huggingface-hub",
    "datasets",
    "gradio",
    "pillow",
    "numpy",
    "onnxruntime",
)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--python", nargs="+", default=["3.11", "3.12", "3.13"])
parser.add_argument("--resolution", nargs="+", default=["lowest-direct", "highest"])
parser.add_argument("tests", nargs="*", default=[f"tests/{name}.py" for name in CORE])
arguments = parser.parse_args()


def uv(*words: str, **options: object) -> subprocess.CompletedProcess:
    """Run uv; its own words go to standard error."""
    return subprocess.run([sys.executable, "-m", "uv", *words], check=True, text=True, **options)


print("| Python | versions | " + " | ".join(SHOWN) + " | tests |\n|" + "---|" * (len(SHOWN) + 3))
failed = False
for python in arguments.python:
    for resolution in arguments.resolution:
        with tempfile.TemporaryDirectory() as folder:
            interpreter = Path(folder) / "bin" / "python"
            uv("venv", "--quiet", "--allow-existing", "--python", python, folder)
            where = ("--python", str(interpreter))
            uv("pip", "install", "--quiet", *where, "--resolution", resolution, "-e", f"{ROOT}[test]")
            frozen = uv("pip", "freeze", *where, capture_output=True).stdout
            versions = dict(line.split("==") for line in frozen.splitlines() if "==" in line)
            ran = subprocess.run(
                [interpreter, "-m", "pytest", "-q", *arguments.tests],
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
        failed |= ran.returncode != 0
        lines = ran.stdout.strip().splitlines() or ran.stderr.strip().splitlines()
        print("\n".join(line for line in lines if line.startswith("FAILED")), file=sys.stderr)
        cells = [python, resolution, *(versions.get(name, "") for name in SHOWN), lines[-1]]
        print(f"| {' | '.join(cells)} |", flush=True)
sys.exit(failed)
