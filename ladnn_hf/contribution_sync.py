"""A store's copy in a private data set of the Hub, kept up with in the background.

The Hub holds the same files as the store: the journal, `waiting/` and `accepted/`. Its own journal
says what is there, so that nothing is sent twice or lost, whatever was cut off in between; and as a
status never goes back, stores that share a repository come to agree.
"""

import logging
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from .contribution_folder import StoreUnavailable
from .contribution_journal import (
    FOLDERS,
    JOURNAL,
    TABLE,
    Contribution,
    from_lines,
    image_path,
    to_lines,
    to_table,
)
from .contributions import ContributionStore, Receipt
from .hub import Upload, check_repo_id, fetch_files, head, push_files

_PAUSE = 5.0
"""Seconds between two looks for something to send."""
_LONGEST_PAUSE = 600.0
"""Each failure doubles the pause, up to this."""
_MOST = 100
"""Contributions in one commit."""
_log = logging.getLogger(__name__)


class HubSync:
    """Keeps a private data set repository of the Hub, which is made if it is not there, as the store is.

    It needs a token that writes, as `hf auth login` or HF_TOKEN gives it.

    Args:
        store: The store.
        repo_id: `OWNER/NAME`.

    Raises:
        ValueError: The repository is not named so.
    """

    def __init__(self, store: ContributionStore, repo_id: str):
        check_repo_id(repo_id)
        self._store = store
        self._repo_id = repo_id
        self._one_at_a_time = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="contributions", daemon=True)

    @property
    def pending(self) -> int:
        """How many contributions the Hub does not have as they stand."""
        return self._store.pending

    def start(self) -> None:
        """Sync now and whenever something is pending, in a thread; what fails is logged and tried again."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; what it has not sent goes after the next start."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_PAUSE)

    def sync_once(self) -> int:
        """Take over what the Hub knows more, and send what it lacks.

        Returns:
            How many contributions were sent.

        Raises:
            ValueError: The Hub does not answer or take it, the repository is public, or what it holds is no
                store. Nothing is lost: do it again.
            StoreUnavailable: What the Hub knows more cannot be kept here.
        """
        sent = 0
        with self._one_at_a_time:
            while True:
                commit = head(self._repo_id, "dataset")
                theirs = self._adopt(commit)
                ahead = [
                    ours
                    for ours in self._store.entries()
                    if ours.id not in theirs or ours.rank > theirs[ours.id].rank
                ][:_MOST]
                if not ahead:
                    return sent
                self._push(ahead, theirs, commit)
                sent += len(ahead)

    def confirm(self, receipt: Receipt) -> Receipt:
        """Have a contribution on the Hub before it is acknowledged, where the disk does not last.

        Returns:
            The receipt, stored on the `hub`.

        Raises:
            StoreUnavailable: The Hub did not take it. The contribution is withdrawn.
        """
        try:
            self._sync_now()
        except StoreUnavailable:
            self._store.withdraw(receipt.code)
            raise
        return replace(receipt, stored="hub")

    def withdraw(self, receipt: str) -> None:
        """Withdraw as `ContributionStore.withdraw`, from the Hub too before this returns.

        It finds what an earlier run took, where the disk does not last.

        Raises:
            ValueError: No contribution has this receipt.
            StoreUnavailable: The Hub did not take it; what was withdrawn here goes with a later sync.
        """
        self._sync_now()
        self._store.withdraw(receipt)
        self._sync_now()

    def _sync_now(self) -> None:
        try:
            self.sync_once()
        except (ValueError, OSError) as error:
            _log.warning("%s", error)
            raise StoreUnavailable(
                "expected the Hub to take the change, found that it does not; try again later."
            ) from error

    def _run(self) -> None:
        pause, due = _PAUSE, True  # what an earlier run left, and what others did on the Hub
        while True:
            try:
                if due or self.pending:
                    self.sync_once()
                pause, due = _PAUSE, False
            except (ValueError, OSError) as error:
                _log.warning("%s", error)
                pause = min(2 * pause, _LONGEST_PAUSE)
            if self._stopped.wait(pause):
                return

    def _adopt(self, commit: str) -> dict[str, Contribution]:
        """The contributions that a commit holds, which the store then knows too."""
        known = {contribution.id for contribution in self._store.entries()}
        with tempfile.TemporaryDirectory(prefix="ladnn-contributions-") as folder:
            theirs = self._journal(commit, Path(folder))
            images = [their.image for their in theirs.values() if their.image and their.id not in known]
            if images:
                fetch_files(self._repo_id, images, Path(folder), repo_type="dataset", revision=commit)
            if missing := [image for image in images if not (Path(folder) / image).is_file()]:
                raise ValueError(
                    f"{self._repo_id}: expected the images of its {JOURNAL}, found no {missing[0]}; put it "
                    "back."
                )
            self._store.adopt(theirs, Path(folder))
        return theirs

    def _journal(self, commit: str, folder: Path) -> dict[str, Contribution]:
        fetch_files(self._repo_id, [JOURNAL], folder, repo_type="dataset", revision=commit)
        path = folder / JOURNAL
        return from_lines(path.read_bytes()) if path.is_file() else {}

    def _push(self, ahead: list[Contribution], theirs: Mapping[str, Contribution], commit: str) -> None:
        after = {**theirs, **{ours.id: replace(ours, synced=True) for ours in ahead}}
        push_files(
            [
                Upload(JOURNAL, to_lines(after.values())),
                Upload(TABLE, to_table(after.values())),
                *(Upload(ours.image, self._store.folder / ours.image) for ours in ahead if ours.image),
            ],
            self._repo_id,
            repo_type="dataset",
            message=f"{len(ahead)} contributions with ladnn_hf",
            replaces=[image_path(ours.id, status) for ours in ahead for status in FOLDERS],
            parent=commit,
        )
