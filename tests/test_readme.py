import json
import re
import shlex

import pytest
from conftest import ROOT, run_ladnn, run_ladnn_alone, run_python

from ladnn_hf import draw_phantom
from ladnn_hf.contributions import ContributionStore
from ladnn_hf.evaluation import to_tables

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", README, re.M | re.S)
COMMANDS = [
    line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines() if line.startswith("ladnn ")
]
SNIPPETS = [block for kind, block in BLOCKS if kind == "python"]
LIMITS = {  # what keeps a long command short here
    "ladnn train": ["--max_steps", "1", "--per_device_train_batch_size", "2", "--image_size", "64"],
    "ladnn train --dataset covid_ct --also sars_ct": ["--seeds", "1", "2"],
    "ladnn train --dataset covid_ct --recipe published": ["--backbone_weights", "none"],  # else from the Hub
}
FINDS = (  # what is in COVID-CT, so these end with status 1
    "ladnn data audit covid_ct",  # a split leaks into another
    "ladnn predict covid_ct/test",  # a slice is refused
)
RUN_ELSEWHERE = {"ladnn demo"}  # test_page opens the page by both of its commands


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory, real_data):
    """A working folder as the README's reader has it."""
    folder = tmp_path_factory.mktemp("newcomer")
    (folder / "space").symlink_to(ROOT / "space")
    for name in ("COVID-CT", "LA-DNN", "SARS-CoV-2-CT"):
        (folder / name).symlink_to(real_data / name)
    for name, findings in (("COVID", ["GGO"]), ("NonCOVID", [])):
        (folder / "my_slices" / name).mkdir(parents=True)
        for seed in range(10):  # at 64 pixels the gate refuses half of them
            draw_phantom(findings, size=256, seed=seed).save(folder / "my_slices" / name / f"{seed}.png")
    store = ContributionStore(folder / "contributed")
    store.add(draw_phantom(["GGO"], size=256, seed=99), label="COVID", report="ground glass")
    return folder


@pytest.mark.real_data
def test_every_command_runs(newcomer, hub, monkeypatch, tmp_path):
    monkeypatch.chdir(newcomer)
    assert len(COMMANDS) == 22
    for command in COMMANDS:
        if command in RUN_ELSEWHERE or "OWNER/ladnn" in command:  # those run against the test Hub, below
            continue
        limits = [flag for start, flags in LIMITS.items() if command.startswith(start) for flag in flags]
        arguments = shlex.split(command.replace("OWNER", "tester"))[1:]
        if "OWNER/slices" in command:  # what a reader has pushed without --dry-run
            pushed = ("data", "push", "my_dataset", "tester/slices")
            assert run_ladnn_alone(*pushed, cwd=newcomer, env=hub.environment(tmp_path)).returncode == 0
        if "OWNER" in command:
            result = run_ladnn_alone(*arguments, cwd=newcomer, env=hub.environment(tmp_path))
        else:
            result = run_ladnn(*arguments, *limits)
        assert result.returncode == command.startswith(FINDS), f"{command}\n{result.stderr[-2000:]}"
        assert result.stdout or "--output" in command, command


def test_the_commands_for_the_hub_run_against_one(hub, tmp_path):
    commands = [command for command in COMMANDS if "OWNER/ladnn" in command]
    assert len(commands) == 3
    for command in commands:
        # The bundled model stands for the reader's own.
        said = command.replace("runs/bundled ", "").replace("OWNER", "tester")
        result = run_ladnn_alone(*shlex.split(said)[1:], cwd=ROOT, env=hub.environment(tmp_path))
        assert result.returncode == 0 and result.stdout, f"{command}\n{result.stderr[-2000:]}"


@pytest.mark.browser
@pytest.mark.real_data
@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.split("\n")[0])
def test_every_snippet_prints_what_it_says(snippet, newcomer, page_url):
    if "ladnn-model" in snippet and not (newcomer / "ladnn-model").exists():
        run_ladnn("export", "--format", "hf", "--output", newcomer / "ladnn-model")
    result = run_python(snippet.replace("http://127.0.0.1:7860", page_url), cwd=newcomer)
    assert result.returncode == 0, result.stderr
    said = [line[2:] for line in snippet.splitlines() if line.startswith("# ")]
    assert said and result.stdout.splitlines() == said


def test_the_scores_are_those_of_the_report_beside_the_weights():
    report = json.loads((ROOT / "ladnn_hf" / "weights" / "report.json").read_text())
    table = to_tables(report["test"]).strip()
    assert re.search(r"<!-- scores -->\n(.*?)\n<!-- /scores -->", README, re.S)[1].strip() == table


def test_the_test_command_is_the_one_that_ci_runs():
    pattern = re.search(r"grep -m1 -E '(.*?)' README.md", (ROOT / ".ci" / "run").read_text())[1]
    assert re.search(pattern, README, re.M)
