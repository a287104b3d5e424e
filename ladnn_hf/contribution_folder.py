"""The folder of a store of contributions: its journal and its images, changed by one process at a time.

It holds

- `journal.jsonl`, the one truth, a line a change;
- `waiting/ID.png`, the slices that no curator has looked at yet;
- `accepted/`, in the layout that `ladnn data from-folder` reads: `metadata.csv` and `images/ID.png`.

An image is written before the journal speaks of it, and moved or deleted after; a process that is
killed in between leaves what the next one sets right. A journal's last line that is torn was never
acknowledged, and is cut off.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .contribution_journal import (
    FOLDERS,
    JOURNAL,
    TABLE,
    Contribution,
    from_lines,
    to_lines,
    to_table,
    whole_lines,
)
from .durable_files import UNFINISHED, append_whole, sync_folder, write_whole

_IMAGES = "[0-9a-f]" * 16 + ".png"


class StoreUnavailable(OSError):
    """A store that cannot be read or changed, as its disk is full, broken or read-only; in one sentence."""


class ContributionFolder:
    """The files of a store. All methods raise `StoreUnavailable` where the disk does not do its part.

    Args:
        path: The folder; it is made if it is not there, and set right if a process died in it.

    Raises:
        ValueError: The folder is another's, or its journal is lost or damaged.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._journal = self.path / JOURNAL
        self._unfinished = self.path / UNFINISHED
        with _in_words():
            new = not self.path.is_dir()
            for name in FOLDERS.values():
                (self.path / name).mkdir(parents=True, exist_ok=True)
            if new:
                sync_folder(self.path.parent)
        with self.changing() as journal:
            self._settle(from_lines(journal))

    def journal(self) -> bytes:
        """The journal as it is now, in whole lines."""
        with _in_words():
            return whole_lines(self._journal.read_bytes())

    @contextmanager
    def changing(self) -> Iterator[bytes]:
        """The journal, while no other thread or process changes it; `add` and `save` belong in here."""
        with _in_words(), (self.path / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # threads exclude each other too: each opens it anew
            if not self._journal.exists():
                self._begin()
            journal = self.journal()
            if len(journal) < self._journal.stat().st_size:
                os.truncate(self._journal, len(journal))
            yield journal

    def add(self, contribution: Contribution, image: bytes) -> None:
        """Keep a new contribution; where it cannot be kept nothing is changed."""
        try:
            self.put(contribution, image)
            append_whole(self._journal, to_lines([contribution]))
        except OSError:
            (self.path / contribution.image).unlink(missing_ok=True)
            raise

    def put(self, contribution: Contribution, image: bytes) -> None:
        """Write an image of which the journal is yet to speak."""
        write_whole(self.path / contribution.image, image, self._unfinished)

    def save(self, contributions: Mapping[str, Contribution]) -> None:
        """Write the journal anew, so that it does not keep what was deleted, then move and delete images."""
        write_whole(self._journal, to_lines(contributions.values()), self._unfinished)
        self._settle(contributions)

    def _begin(self) -> None:
        if any(path for name in FOLDERS.values() for path in (self.path / name).iterdir()):
            raise ValueError(
                f"{self.path}: expected {JOURNAL} beside the images, found none; put it back or name an "
                "empty folder."
            )
        write_whole(self._journal, b"", self._unfinished)

    def _settle(self, contributions: Mapping[str, Contribution]) -> None:
        """Make the folders what the journal says; the table never speaks of an image that is not there."""
        self._unfinished.unlink(missing_ok=True)
        stale = []
        for status, name in FOLDERS.items():
            for path in (self.path / name).glob(_IMAGES):
                known = contributions.get(path.stem)
                if known is None or known.image is None:
                    stale.append(path)
                elif known.status != status:
                    os.replace(path, self.path / known.image)
        path, table = self.path / TABLE, to_table(contributions.values())
        if not path.exists() or path.read_bytes() != table:
            write_whole(path, table, self._unfinished)
        for path in stale:
            path.unlink()
        for name in FOLDERS.values():
            sync_folder(self.path / name)


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable:
        raise
    except OSError as error:
        raise StoreUnavailable(
            f"expected a folder of contributions that can be read and changed, found: {error.strerror}; "
            "whoever keeps it must mend that, then try again."
        ) from error
