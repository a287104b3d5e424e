"""One file of answers by several processes, which share nothing but a folder, on one machine or many.

Each process answers the shards whose number modulo the number of processes is its own, and leaves out those
that are there; so a run that was stopped goes on, with as many processes as there are then. Who ends last
joins them. The processes tell each other nothing: no port, no lock, no scheduler.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .durable_files import whole_file


class Process(NamedTuple):
    """One of several processes that `torchrun`, `accelerate launch` or the like has started."""

    rank: int
    """From 0."""
    count: int
    """How many there are."""


def launched() -> Process | None:
    """Which of several processes this one is, by `RANK` and `WORLD_SIZE`; None where it is alone.

    Raises:
        ValueError: The two do not go together.
    """
    rank, count = (os.environ.get(name) for name in ("RANK", "WORLD_SIZE"))
    if rank is None or count is None:
        return None
    if not (rank.isdecimal() and count.isdecimal() and int(rank) < int(count)):
        raise ValueError(
            f"expected RANK and WORLD_SIZE as a launcher sets them, found {rank!r} and {count!r}; unset "
            "both, or start with torchrun."
        )
    return Process(int(rank), int(count))


class SharedAnswers:
    """The parts of a file of answers, each there whole or not at all.

    Args:
        output: The file that the parts are joined to; they lie in the folder `OUTPUT.parts` beside it.
        shards: What each part is of, the same in every process.
        settings: What else decides what the answers are.

    Attributes:
        output: The file, with links followed.

    Raises:
        ValueError: The folder holds parts of other shards or settings, or cannot be made.
    """

    def __init__(self, output: Path, shards: Iterable[str], settings: Iterable[str]):
        self.output = Path(os.path.realpath(output))
        digest, count = hashlib.sha256(), 0
        for fact in settings:
            digest.update(f"{fact}\0".encode())
        for shard in shards:
            digest.update(f"{shard}\0".encode(errors="surrogateescape"))
            count += 1
        self._folder = self.output.with_name(f"{self.output.name}.parts")
        self._parts = [f"{at:06d}-of-{count:06d}-{digest.hexdigest()[:16]}" for at in range(count)]
        if self.joined():
            return
        if not self.output.parent.is_dir():
            raise ValueError(
                f"{output}: expected a file in a folder that is there, found none; name another."
            )
        self._folder.mkdir(exist_ok=True)
        if others := {name for name in self._there() if not name.startswith(".")} - set(self._parts):
            raise ValueError(
                f"{self._folder}: expected parts of these slices, model and settings, found parts of others "
                f"({min(others)}); remove the folder, or name another output."
            )

    def joined(self) -> bool:
        """Whether the output is there: then all is done, also for a process that starts late."""
        return self.output.exists()

    def missing(self, process: Process) -> Iterator[int]:
        """The numbers of the shards that a process has to answer."""
        for number in range(process.rank, len(self._parts), process.count):
            if not (self._folder / self._parts[number]).exists():
                yield number

    def write(self, number: int, write: Callable[[BinaryIO], None]) -> None:
        """Write a part.

        Raises:
            OSError: The disk is full, broken or read-only.
        """
        # Its own name: a process of a run that was given up may still be at the same part.
        with whole_file(self._folder / self._parts[number], self._folder / f".{uuid.uuid4().hex}") as stream:
            write(stream)

    def join(self, headed: bool) -> int:
        """Join the parts, in order, where all are there, and remove their folder.

        Args:
            headed: Each part begins with the same line, of which one is kept.

        Returns:
            How many parts are missing still.

        Raises:
            OSError: The disk is full, broken or read-only.
        """
        try:
            if missing := len(set(self._parts) - self._there()):
                return missing
            unfinished = self.output.with_name(f".{self.output.name[:100]}-{uuid.uuid4().hex}")
            with whole_file(self.output, unfinished) as stream:
                for number, name in enumerate(self._parts):
                    with (self._folder / name).open("rb") as part:
                        if headed and number:
                            part.readline()
                        shutil.copyfileobj(part, stream)
            done = self._folder.with_name(f".{self._folder.name[:100]}-{uuid.uuid4().hex}")
            self._folder.rename(done)
        except FileNotFoundError:
            if not self.joined():  # else another process that ended at the same time has done it
                raise
            return 0
        shutil.rmtree(done)
        return 0

    def _there(self) -> set[str]:
        return set(os.listdir(self._folder))
