"""What `ladnn predict` does: answers to standard output, to a file, or to one by several processes."""

import argparse
import contextlib
import hashlib
import io
import logging
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from . import __version__
from .answers import HEADED, WRITERS, opened, printable
from .inference import Prediction, Predictor
from .model_folder import ONNX, OPENVINO, WEIGHTS
from .model_pull import ModelNotHad
from .shared_answers import Process, SharedAnswers, launched
from .slice_shards import Shard, shards_of


def predict(arguments: argparse.Namespace) -> int:
    """Answer what the arguments name.

    Returns:
        0 when all was answered, 1 when some input was refused or unreadable, 2 for wrong usage. For one of
        several processes 0 in the first two cases: a launcher takes 1 for a crash and stops the others.
    """
    # A file's faults are said once, as its refusal; Pillow's own asides are not answers.
    warnings.simplefilter("ignore")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        try:
            process = launched()
            if process and arguments.output is None:
                raise ValueError(
                    "expected --output, a file that the processes share, found none; name one that all see."
                )
            if arguments.attention:
                _make_folder(arguments.attention)
            predictor = Predictor(arguments.model, gate=not arguments.no_gate, engine=arguments.engine)
            shards = shards_of(arguments.paths)
            _check_apart(arguments.output, shards)
            if process is None:  # last: a failure replaces nothing
                stream = stack.enter_context(opened(arguments.output))
            else:
                shared = SharedAnswers(
                    arguments.output, (shard.name for shard in shards), _settings(arguments, predictor)
                )
        except (ValueError, OSError) as error:
            print(f"ladnn predict: {' '.join(str(error).split())}", file=sys.stderr)
            return 1 if isinstance(error, ModelNotHad) else 2
        answers = _Answers(predictor, shards, arguments.attention)
        if process is not None:
            _answer_share(answers, shared, process, arguments.format)
            return 0
        WRITERS[arguments.format](answers.of(range(len(shards))), stream)
    return 0 if answers.all_well else 1


class _Answers:
    """Answers to shards, with their maps drawn where they are asked for."""

    def __init__(self, predictor: Predictor, shards: Sequence[Shard], attention: Path | None):
        self._predictor, self._shards, self._attention = predictor, shards, attention
        self._firsts = list(accumulate(map(len, shards), initial=1))
        self.all_well = True
        """Whether all so far was answered."""

    def count(self, numbers: Iterable[int]) -> int:
        """The slices of these shards."""
        return sum(len(self._shards[number]) for number in numbers)

    def of(self, numbers: Sequence[int], bar: bool = True) -> Iterator[Prediction]:
        """The answers to some shards, slice by slice."""
        names: deque[tuple[int, str]] = deque()

        def readable() -> Iterator:
            for number in numbers:
                for at, (name, slice_) in enumerate(self._shards[number].slices(), self._firsts[number]):
                    names.append((at, name))
                    yield slice_

        answers = self._predictor.predict(readable())
        quiet = None if bar else True
        for answer in tqdm(answers, total=self.count(numbers), unit="slice", delay=2, disable=quiet):
            at, name = names.popleft()
            self.all_well &= answer.decision != "refused"
            answer = replace(answer, image=name)
            for doubt in answer.slice.doubts if answer.slice else ():
                tqdm.write(f"ladnn predict: {printable(name)}: {doubt}", file=sys.stderr)
            if self._attention:
                self.all_well &= _write_overlay(answer, at, self._attention)
            yield answer


def _answer_share(answers: _Answers, shared: SharedAnswers, process: Process, form: str) -> None:
    if shared.joined():
        said = "is there already: nothing to do; remove it to answer again"
    else:
        missing = list(shared.missing(process))
        quiet = True if process.rank else None  # one bar is enough
        with tqdm(total=answers.count(missing), unit="slice", delay=2, disable=quiet) as bar:
            for number in missing:
                shared.write(number, _written(WRITERS[form], answers.of([number], bar=False)))
                bar.update(answers.count([number]))
        if waiting := shared.join(headed=form in HEADED):
            said = f"waits for {waiting} parts of others, the last joins them; where one died, start again"
        else:
            said = "is whole"
    print(f"ladnn predict: process {process.rank}: {shared.output} {said}.", file=sys.stderr)


def _written(write: Callable, answers: Iterable[Prediction]) -> Callable[[BinaryIO], None]:
    def to(stream: BinaryIO) -> None:
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
        write(answers, text)
        text.detach()  # flushes, and leaves the file open

    return to


def _check_apart(output: Path | None, shards: Iterable[Shard]) -> None:
    """Say it before a slice is replaced by the answer to it."""
    if output is None or not output.is_file():
        return
    for path in chain.from_iterable(shard.paths for shard in shards):
        if os.path.exists(path) and os.path.samefile(path, output):
            raise ValueError(
                f"{output}: expected a file for the answers, found one of the slices; name another."
            )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{folder}: expected a folder for the maps, which can be made, found none ({error.strerror}); "
            "name another."
        ) from error


def _settings(arguments: argparse.Namespace, predictor: Predictor) -> Iterator[str]:
    """All that decides what the answers are, but the slices."""
    yield from (__version__, arguments.format, str(arguments.no_gate), str(arguments.engine), predictor.name)
    for name in ("config.json", "preprocessor_config.json", WEIGHTS, ONNX, OPENVINO):
        if (path := predictor.folder / name).is_file():
            with path.open("rb") as stream:
                yield f"{name} {hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _write_overlay(answer: Prediction, number: int, folder: Path) -> bool:
    if answer.maps is None:
        return True
    from .attention import overlay

    path = folder / f"{number:05d}_{Path(answer.image).stem[:60]}.png"
    try:
        overlay(answer.slice.grey, answer.maps[0], answer.box).save(path)
    except OSError as error:
        print(f"ladnn predict: no overlay of {answer.image}: {error}", file=sys.stderr)
        return False
    return True
