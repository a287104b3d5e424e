"""Users go on from a pushed model with transformers alone: the script, and the same as a notebook."""

import json
import os
import re
import shutil

import jupytext
import nbformat
import pytest
from conftest import ROOT, run_python
from nbclient import NotebookClient

from ladnn_hf import draw_phantom
from ladnn_hf.export import export_hf

SCRIPT, NOTEBOOK = (ROOT / "model_card" / f"fine_tune.{suffix}" for suffix in ("py", "ipynb"))
WITHOUT_PACKAGE = "import sys; sys.modules['ladnn_hf'] = None  # an import of it fails\n"
RUN = (
    WITHOUT_PACKAGE
    + "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
ANSWER = (
    WITHOUT_PACKAGE
    + """
import json
from transformers import pipeline
answer = pipeline("chest-ct-classification", model=sys.argv[1], trust_remote_code=True)
print(json.dumps(answer(sys.argv[2])))
"""
)


@pytest.fixture
def exported(micro_folder, tmp_path):
    """A model as it is pushed, under the name that its script and notebook start from."""
    export_hf(micro_folder, tmp_path / "exported", "tester/base")
    return tmp_path / "exported"


@pytest.fixture(scope="module")
def my_slices(tmp_path_factory):
    """A folder of images as the script expects it."""
    folder = tmp_path_factory.mktemp("mine") / "slices"
    for split, count in (("train", 6), ("validation", 3)):
        for label, findings in (("COVID", ["GGO"]), ("NonCOVID", [])):
            (folder / split / label).mkdir(parents=True)
            for seed in range(count):
                picture = draw_phantom(findings, size=64, seed=100 * count + seed)
                picture.save(folder / split / label / f"{seed}.png")
    return folder


def test_the_script_ends_in_a_private_repository_that_answers_alone(hub, exported, my_slices, tmp_path):
    environment = hub.environment(tmp_path)
    flags = ("--slices", my_slices, "--model", exported, "--push_to", "tester/mine", "--epochs", "1")
    said = run_python(RUN, exported / "fine_tune.py", *flags, cwd=tmp_path, env=environment)
    assert said.returncode == 0, said.stderr
    assert hub.is_private("model", "tester/mine") and len(hub.commits("model", "tester/mine")) == 2
    files = hub.files("model", "tester/mine")
    card = files["README.md"].decode()
    assert "never for diagnosing a patient" in card and "roc_auc" in card
    assert str(tmp_path) not in card
    assert not [path for path in files if path.endswith((".bin", ".pt", ".pth", ".pkl"))]
    picture = my_slices / "validation" / "COVID" / "0.png"
    answered = run_python(ANSWER, "tester/mine", picture, cwd=tmp_path, env=environment)
    assert answered.returncode == 0, answered.stderr
    answer = json.loads(answered.stdout.splitlines()[-1])
    assert answer["threshold"] == json.loads(files["config.json"])["threshold"] != 0.5
    assert answer["decision"] in ("positive", "negative")


def test_the_notebook_runs_from_its_first_cell_to_its_last(hub, exported, my_slices, tmp_path):
    notebook = nbformat.read(exported / "fine_tune.ipynb", as_version=4)
    settings = {"my_slices": my_slices, "tester/base": exported, "fine_tuned": tmp_path / "fine_tuned"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for default, mine in settings.items():
                cell.source = cell.source.replace(f'"{default}"', f'"{mine}"')
            cell.source = cell.source.replace(
                'push_to: str = field(default=""', "push_to: str = field(default='tester/mine'"
            )
            cell.source = cell.source.replace("epochs: float = 5", "epochs: float = 1")
    notebook.cells.insert(0, nbformat.v4.new_code_cell(WITHOUT_PACKAGE))
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute(env=os.environ | hub.environment(tmp_path))
    printed = "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.get("name") == "stdout"
    )
    assert re.search(r"AUC on validation \d\.\d{3}, threshold", printed)
    assert "pipeline_ladnn.py" in hub.files("model", "tester/mine")


def test_the_notebook_says_what_the_script_says_and_keeps_no_output():
    script, notebook = jupytext.read(SCRIPT), nbformat.read(NOTEBOOK, as_version=4)
    said = [[(cell.cell_type, cell.source) for cell in source.cells] for source in (script, notebook)]
    assert said[0] == said[1], "run `jupytext --to notebook --update model_card/fine_tune.py`"
    assert not [cell for cell in notebook.cells if cell.get("outputs")]


def test_a_folder_of_other_classes_is_named_with_the_remedy(exported, my_slices, tmp_path):
    shutil.copytree(my_slices / "train", tmp_path / "slices" / "train")
    flags = ("--slices", tmp_path / "slices", "--model", exported)
    said = run_python(RUN, exported / "fine_tune.py", *flags, cwd=tmp_path)
    assert said.returncode == 1
    assert "expected train and validation with the folders COVID and NonCOVID in each" in said.stderr
