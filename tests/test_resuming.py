"""Nothing trained is lost: killed, cut off and full disks."""

import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_training import MICRO, train_micro

from ladnn_hf.cli import main
from ladnn_hf.slice_trainer import LaDnnTrainer

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


def train_in_a_fork(log, bytes_at_most, *flags):
    """`ladnn train`, whose words go to a file; from the third checkpoint on, files have so many bytes."""
    save = LaDnnTrainer._save_checkpoint

    def save_on_a_full_disk(trainer, *arguments):
        if trainer.state.global_step == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_at_most, resource.RLIM_INFINITY))
        save(trainer, *arguments)

    if bytes_at_most:
        LaDnnTrainer._save_checkpoint = save_on_a_full_disk
    with log.open("w", buffering=1) as stream, redirect_stdout(stream), redirect_stderr(stream):
        sys.exit(main(["train", *flags]))


@contextmanager
def forked(log, *flags, bytes_at_most=0):
    """A run in a process that is forked from one that has torch, and need not import it anew."""
    log.write_text("")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ladnn_hf.training"])
    run = context.Process(target=train_in_a_fork, args=(log, bytes_at_most, *map(str, flags)), daemon=True)
    run.start()
    yield run
    run.join()


def test_a_run_killed_anywhere_and_started_again_ends_as_an_undisturbed_one(
    phantom_slices, undisturbed, tmp_path
):
    """A kill at a random moment of training, several in one run; `LADNN_KILLS` asks for more than 2."""
    folder, log = tmp_path / "run", tmp_path / "log"
    flags = ["--dataset", phantom_slices, "--output_dir", folder, *MICRO, *STEPS, *RESUME]
    flags += ["--logging_strategy", "steps", "--logging_steps", "1"]
    generator = np.random.default_rng(int(os.environ.get("LADNN_SEED", 0)))
    kills, wanted = 0, int(os.environ.get("LADNN_KILLS", 2))
    while kills < wanted:
        with forked(log, *flags) as run:
            while run.is_alive() and "'loss'" not in log.read_text():  # until the first step is done
                time.sleep(0.01)
            time.sleep(generator.exponential(0.3))
            run.kill()
        kills += run.exitcode == -signal.SIGKILL
        if run.exitcode == 0:  # it had ended before
            assert same_weights(folder, undisturbed)
            shutil.rmtree(folder)
    with forked(log, *flags) as run:
        pass
    assert run.exitcode == 0, log.read_text()
    assert same_weights(folder, undisturbed)


@pytest.mark.parametrize("bytes_at_most", [100_000, 500_000], ids=["weights", "optimizer"])
def test_a_full_disk_is_said_and_leaves_the_best_checkpoint_and_the_newest_whole_one(
    phantom_slices, tmp_path, bytes_at_most
):
    from ladnn_hf.resuming import checkpoint_to_resume

    folder, log = tmp_path / "run", tmp_path / "log"
    flags = ["--dataset", phantom_slices, "--output_dir", folder, *MICRO, *STEPS, "--eval_steps", "2"]
    flags += ["--load_best_model_at_end", "True", "--save_total_limit", "1", *RESUME]
    with forked(log, *flags, bytes_at_most=bytes_at_most) as run:
        pass
    assert run.exitcode == 1
    assert (
        log.read_text()
        .splitlines()[-1]
        .startswith(f"ladnn: {folder}: expected room on the disk for the run, found: ")
    )
    assert log.read_text().endswith(
        "; make room and start again, a training run with --resume_from_checkpoint True.\n"
    )
    assert checkpoint_to_resume("True", folder) == str(folder / "checkpoint-4")
    state = json.loads((folder / "checkpoint-4" / "trainer_state.json").read_text())
    best = state["best_model_checkpoint"]
    assert checkpoint_to_resume(best, folder) == best
    with forked(log, *flags) as run:
        pass
    assert run.exitcode == 0, log.read_text()


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
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["train_seconds"] is None, "the time of the last part is not the run's"


def test_with_no_whole_checkpoint_a_run_begins_anew(phantom_slices, undisturbed, tmp_path, capsys):
    train_micro(phantom_slices, tmp_path / "run", *STEPS, *RESUME)
    assert "no whole checkpoint yet; the run begins anew" in capsys.readouterr().err
    assert same_weights(tmp_path / "run", undisturbed)
