"""One run in two processes, as `torchrun` starts them, learns what it learns in one."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from test_training import MICRO

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
# Of 24 slices ten a step: each epoch ends in a step of four, of which the second process has none.
FLAGS = [
    *(*MICRO, "--backbone", "test_efficientnet_gn", "--bf16", "False", "--learning_rate", "1e-3"),
    *("--mixup", "0", "--dropout", "0"),  # drawn by each process for its own slices
    *("--max_steps", "6", "--logging_strategy", "steps", "--logging_steps", "1"),
    *(
        "--eval_strategy",
        "steps",
        "--eval_steps",
        "4",
        "--save_steps",
        "4",
        "--load_best_model_at_end",
        "False",
    ),
]
STEPS = 6


def trained(dataset, output, *flags, processes):
    command = [*TORCHRUN, "-m", "ladnn_hf"] if processes == 2 else ["-m", "ladnn_hf"]
    batch = ["--per_device_train_batch_size", str(10 // processes)]
    command += ["train", "--dataset", str(dataset), "--output_dir", str(output), *FLAGS, *batch, *flags]
    result = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return output


def losses(output):
    """The training loss of every step."""
    state = json.loads((output / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


@pytest.fixture(scope="module")
def alone(phantom_slices, tmp_path_factory):
    return trained(phantom_slices, tmp_path_factory.mktemp("alone") / "run", processes=1)


@pytest.fixture(scope="module")
def side_by_side(phantom_slices, tmp_path_factory):
    return trained(phantom_slices, tmp_path_factory.mktemp("two") / "run", processes=2)


def test_two_processes_have_the_loss_curve_of_one(alone, side_by_side):
    assert len(losses(alone)) == STEPS
    np.testing.assert_allclose(losses(side_by_side), losses(alone), rtol=1e-4)


def test_two_processes_write_what_one_writes(alone, side_by_side):
    names = [sorted(path.name for path in folder.iterdir()) for folder in (side_by_side, alone)]
    assert names[0] == names[1]
    mine, others = (json.loads((folder / "metrics.json").read_text()) for folder in (side_by_side, alone))
    assert mine["validation"]["auc"] == pytest.approx(others["validation"]["auc"], abs=0.1)


def test_accumulated_batches_are_one_large_batch(alone, phantom_slices, tmp_path):
    flags = ("--per_device_train_batch_size", "5", "--gradient_accumulation_steps", "2")
    output = trained(phantom_slices, tmp_path / "run", *flags, processes=1)
    np.testing.assert_allclose(losses(output), losses(alone), rtol=1e-4)


def test_a_run_of_two_processes_goes_on_in_one(alone, side_by_side, phantom_slices, tmp_path):
    flags = ("--resume_from_checkpoint", str(side_by_side / "checkpoint-4"))
    output = trained(phantom_slices, tmp_path / "run", *flags, processes=1)
    np.testing.assert_allclose(losses(output), losses(alone), rtol=1e-4)
