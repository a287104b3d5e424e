"""A model to the Hub: what remote code loads, what was measured, an ONNX export, and nothing else."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import LaDnnForImageClassification, __version__
from .export import MEASURED, export_hf, write_onnx
from .hub import check_repo_id, push_files
from .inference import Predictor
from .model_cards import stored_facts
from .model_folder import ONNX, WEIGHTS
from .model_pull import model_folder
from .uploads import Commit, Place, Upload

_REPLACES = (ONNX, *MEASURED, "*_ladnn.py")
"""What a push may write; what an earlier one left of it and this one does not write goes."""
_KEPT = ("config.json", WEIGHTS, "preprocessor_config.json", "trainer_state.json")
"""Of a checkpoint, what is no pickle."""


def push_model(
    model: str | Path | None,
    repo_id: str,
    *,
    place: Place | None = None,
    public: bool = False,
    dry_run: bool = False,
) -> tuple[Commit, list[str]]:
    """Push a model so that `pipeline` and `Predictor` answer with it by its name.

    Args:
        model: Folder that `ladnn train` or save_pretrained wrote, or `OWNER/NAME@REVISION` on the Hub; None
            for the bundled checkpoint.
        repo_id: `OWNER/NAME`; it is made if it is not there.
        place: Branch, pull request or tag; None for the branch main.
        public: Let everybody see it.
        dry_run: Prepare everything, look what is there, and send nothing.

    Returns:
        The commit, and what the model goes without, a sentence each.

    Raises:
        ValueError: The folder is no whole model, its report or export is of other weights, or the Hub does
            not take it.
    """
    check_repo_id(repo_id)
    model = model_folder(model, whole=True)
    Predictor(model)  # says what is wrong with weights, settings or export before anything is sent
    with _exported(model, repo_id) as (network, folder):
        lacks = [*_add_onnx(network, folder), *_unmeasured(model)]
        commit = push_files(
            _uploads(folder),
            repo_id,
            repo_type="model",
            message=f"Push LA-DNN with ladnn_hf {__version__}",
            public=public,
            replaces=_REPLACES,
            place=place,
            dry_run=dry_run,
        )
    return commit, lacks


def push_checkpoint(
    checkpoint: Path,
    repo_id: str,
    *,
    keep_as: str | None = None,
    place: Place | None = None,
    public: bool = False,
) -> Commit:
    """Push what a run has reached: as `push_model`, without the ONNX export, which takes time.

    Args:
        checkpoint: Folder that `Trainer` saved in the middle of a run.
        repo_id: `OWNER/NAME`; it is made if it is not there.
        keep_as: Folder of the repository where the checkpoint also stays, to be compared or started from
            with `--model`: without the optimizer's state, which torch pickles, no run resumes from it. None
            for no such folder.
        place: As for `push_model`.
        public: Let everybody see it.

    Raises:
        ValueError: As `push_model`.
    """
    with _exported(checkpoint, repo_id) as (_, folder):
        kept = [Upload(f"{keep_as}/{name}", checkpoint / name) for name in _KEPT] if keep_as else []
        return push_files(
            _uploads(folder) + kept,
            repo_id,
            repo_type="model",
            message=f"Training in progress: {checkpoint.name}",
            public=public,
            replaces=_REPLACES,
            place=place,
        )


@contextmanager
def _exported(model: Path, repo_id: str) -> Iterator[tuple[LaDnnForImageClassification, Path]]:
    with tempfile.TemporaryDirectory(prefix="ladnn-push-") as parent:
        folder = Path(parent) / "model"
        yield export_hf(model, folder, repo_id), folder


def _uploads(folder: Path) -> list[Upload]:
    return [Upload(path.name, path) for path in sorted(folder.iterdir())]


def _add_onnx(network: LaDnnForImageClassification, folder: Path) -> Iterator[str]:
    """Make an export where there is none, or say why not."""
    if (folder / ONNX).is_file():
        return
    try:
        write_onnx(network, folder)
    except ModuleNotFoundError as error:
        yield (
            f"expected the package {error.name} for an ONNX export, found it not installed; without "
            "`ladnn predict` needs torch and no Space can show the model."
        )


def _unmeasured(model: Path) -> Iterator[str]:
    reports, training = stored_facts(model)
    if not reports:
        yield (
            "expected a report of the weights, found none; the card says 'Not evaluated' until "
            f"`ladnn evaluate --model {model} --dataset DATASET --output {model}` and another push."
        )
    if training is None:
        yield "expected the metrics.json of the training, found none; the card cannot tell how it was made."
