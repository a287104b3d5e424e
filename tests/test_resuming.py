"""Nothing trained is lost: killed, cut off and full disks."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import run_ladnn, run_python
from safetensors.torch import load_file
from test_training import MICRO, train_micro

STEPS = [
    *("--max_steps", "10", "--eval_strategy", "steps", "--eval_steps", "4", "--save_steps", "2"),
    *("--save_strategy", "steps", "--save_total_limit", "4", "--load_best_model_at_end", "False"),
    *("--mixup", "0.4", "--dropout", "0.3"),
]
"""An epoch is six steps: most checkpoints lie in the middle of one."""

RESUME = ["--resume_from_checkpoint", "True"]


def same_weights(folder, other):
    mine, others = (load_file(path / "model.safetensors") for path in (folder, other))
    return mine.keys() == others.keys() and all(torch.equal(mine[name], others[name]) for name in mine)


@pytest.fixture(scope="module")
def undisturbed(phantom_slices, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    train_micro(phantom_slices, folder, *STEPS)
    return folder


def test_a_run_killed_anywhere_and_started_again_ends_as_an_undisturbed_one(
    phantom_slices, undisturbed, tmp_path
):
    """A kill at a random moment of training, several in one run; `LADNN_KILLS` asks for more than 2."""
    folder = tmp_path / "run"
    flags = ["train", "--dataset", phantom_slices, "--output_dir", folder, *MICRO, *STEPS, *RESUME]
    command = [sys.executable, "-m", "ladnn_hf", *map(str, flags), "--logging_strategy", "steps"]
    command += ["--logging_steps", "1"]
    generator = np.random.default_rng(int(os.environ.get("LADNN_SEED", 0)))
    kills, wanted = 0, int(os.environ.get("LADNN_KILLS", 2))
    while kills < wanted:
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        next((line for line in run.stdout if "'loss'" in line), None)  # the first step is done
        time.sleep(generator.exponential(0.3))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        kills += run.returncode == -signal.SIGKILL
        if run.returncode == 0:  # it had ended before
            assert same_weights(folder, undisturbed)
            shutil.rmtree(folder)
    result = run_ladnn(*flags)
    assert result.returncode == 0, result.stderr
    assert same_weights(folder, undisturbed)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]
)
@pytest.mark.parametrize("damage", ["cut off", "missing"])
def test_a_checkpoint_that_is_not_whole_is_passed_over_for_the_one_before(
    undisturbed, tmp_path, capsys, name, damage
):
    from ladnn_hf.resuming import checkpoint_to_resume

    for step in (8, 10):
        shutil.copytree(undisturbed / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    assert checkpoint_to_resume("True", tmp_path) == str(tmp_path / "checkpoint-10")
    broken = tmp_path / "checkpoint-10" / name
    if damage == "missing":
        broken.unlink()
    else:
        os.truncate(broken, broken.stat().st_size * 3 // 4)
    assert checkpoint_to_resume("True", tmp_path) == str(tmp_path / "checkpoint-8")
    assert "checkpoint-10: passed over, " in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"expected a whole checkpoint of a run, found .*; name an earlier"):
        checkpoint_to_resume(str(tmp_path / "checkpoint-10"), tmp_path)


def test_the_run_goes_on_from_the_checkpoint_before_a_broken_one(phantom_slices, undisturbed, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    (folder / "checkpoint-10" / "optimizer.pt").write_bytes(b"")
    train_micro(phantom_slices, folder, *STEPS, *RESUME)
    assert same_weights(folder, undisturbed)


def test_a_run_that_was_stopped_after_its_last_step_takes_no_other(phantom_slices, undisturbed, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    for name in ("model.safetensors", "metrics.json"):
        (folder / name).unlink()
    train_micro(phantom_slices, folder, *STEPS, *RESUME)
    assert same_weights(folder, undisturbed)
    assert (folder / "metrics.json").exists()


def test_with_no_whole_checkpoint_a_run_begins_anew(phantom_slices, undisturbed, tmp_path, capsys):
    train_micro(phantom_slices, tmp_path / "run", *STEPS, *RESUME)
    assert "no whole checkpoint yet; the run begins anew" in capsys.readouterr().err
    assert same_weights(tmp_path / "run", undisturbed)


def test_a_full_disk_leaves_the_checkpoints_before_whole_and_the_run_goes_on(
    phantom_slices, undisturbed, tmp_path
):
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copytree(undisturbed / "checkpoint-6", folder / "checkpoint-6")
    flags = ["train", "--dataset", phantom_slices, "--output_dir", folder, *MICRO, *STEPS, *RESUME]
    # No file may grow beyond what the weights take: the optimizer's state, twice as long, has no room.
    room = (folder / "checkpoint-6" / "model.safetensors").stat().st_size + 10_000
    result = run_python(
        "import resource, sys\nfrom ladnn_hf.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)\nsys.exit(main(sys.argv[2:]))",
        *(room, *flags),
    )
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert json.loads((folder / "checkpoint-6" / "trainer_state.json").read_text())["global_step"] == 6
    again = run_ladnn(*flags)
    assert again.returncode == 0, again.stderr
    assert "checkpoint-8: passed over" in again.stderr
    assert same_weights(folder, undisturbed)
