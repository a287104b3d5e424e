"""How a run that was stopped goes on: from the newest checkpoint that was written whole."""

import json
import re
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open


def checkpoint_to_resume(flag: str | None, output_dir: str | Path) -> str | None:
    """What `--resume_from_checkpoint` stands for.

    A run that was killed while it wrote a checkpoint leaves a part of it, which is passed over; where there
    is no whole one, the run begins anew. Both are said on standard error.

    Args:
        flag: A checkpoint's folder, `True` for the newest whole one of the run, `False` or None for none.
        output_dir: The run's folder.

    Raises:
        ValueError: The folder that was named is no whole checkpoint.
    """
    if flag is None or str(flag).lower() == "false":
        return None
    if str(flag).lower() != "true":
        if fault := _fault(Path(flag)):
            raise ValueError(
                f"{flag}: expected a whole checkpoint of a run, found {fault}; name an earlier one, or True "
                "for the newest whole one."
            )
        return str(flag)
    for checkpoint in _newest_first(Path(output_dir)):
        fault = _fault(checkpoint)
        if fault is None:
            return str(checkpoint)
        print(f"ladnn: {checkpoint}: passed over, {fault}.", file=sys.stderr)
    print(f"ladnn: {output_dir}: no whole checkpoint yet; the run begins anew.", file=sys.stderr)
    return None


@contextmanager
def room_for_the_run(output_dir: str | Path) -> Iterator[None]:
    """Around what writes a run's files.

    Raises:
        OSError: They cannot be written; says how the run goes on.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # of Python, torch and safetensors
        if isinstance(error, OSError) and error.errno is None:
            raise  # not the system's: a picture is broken
        raise OSError(
            f"{output_dir}: expected room on the disk for the run, found: {' '.join(str(error).split())}; "
            "make room and start again, a training run with --resume_from_checkpoint True."
        ) from error


def _newest_first(output_dir: Path) -> list[Path]:
    steps = {path: re.fullmatch(r"checkpoint-(\d+)", path.name) for path in output_dir.glob("checkpoint-*")}
    return sorted(filter(steps.get, steps), key=lambda path: int(steps[path][1]), reverse=True)


def _fault(checkpoint: Path) -> str | None:
    """What a checkpoint of `Trainer` lacks, or None: `trainer_state.json` is the last file that it writes."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
        with safe_open(checkpoint / "model.safetensors", "np"):
            pass  # that the file is as long as its header says is checked on opening
        # Of several processes each has a generator's state of its own.
        generators = sorted(path.name for path in checkpoint.glob("rng_state*.pth")) or ["rng_state.pth"]
        for name in ("optimizer.pt", "scheduler.pt", *generators):
            with zipfile.ZipFile(checkpoint / name) as saved:
                if broken := saved.testzip():
                    return f"{name} is damaged at {broken}"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name if error.filename else 'a file'} is missing"
    except (OSError, ValueError, SafetensorError, zipfile.BadZipFile) as error:
        return f"a file of it is cut off or damaged ({' '.join(str(error).split())})"
    return None
