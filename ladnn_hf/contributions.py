"""Slices that people contribute: what was acknowledged is on disk, stays there, and can be withdrawn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .contribution_folder import ContributionFolder, StoreUnavailable
from .contribution_form import LONGEST_LINE, fill_form, plain_text, receipt_hash
from .contribution_journal import Contribution, count_pending, from_lines, knows_slice

__all__ = ["ContributionStore", "Receipt", "StoreUnavailable"]


@dataclass(frozen=True)
class Receipt:
    """What a contributor gets.

    Attributes:
        code: The secret with which the contribution can be withdrawn; the store keeps only its SHA-256.
        id: The contribution.
        stored: Where it is kept now: `disk`, or `hub` after `HubSync.confirm`.
    """

    code: str
    id: str
    stored: str


class ContributionStore:
    """A folder of contributed slices, which several threads and processes may share.

    All methods raise `StoreUnavailable`, with the store sound, where the disk is full, broken or read-only.

    Args:
        folder: It is made if it is not there; `contribution_folder` says what lies in it.

    Raises:
        ValueError: The folder is another's, or its journal is lost or damaged.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self._files = ContributionFolder(self.folder)

    def add(
        self,
        grey: Image.Image,
        *,
        label: str,
        lesions: Mapping[str, bool] | None = None,
        report: str = "",
        source: str = "",
    ) -> Receipt:
        """Keep a slice; when this returns it is on disk.

        Args:
            grey: The slice, mode `L`. Its greys alone are kept, nothing that came along with them.
            label: `COVID` or `NonCOVID`.
            lesions: Whether each of `LESIONS` is present in a COVID slice; None for no label.
            report: A short text.
            source: The paper (DOI) or collection that it is from.

        Raises:
            ValueError: A label is wrong, a text too long or no plain text, or the slice is here already.
        """
        form = fill_form(grey, label, lesions, report, source)
        with self._files.changing() as journal:
            if knows_slice(journal, form.contribution.pixels):
                raise ValueError(
                    "expected a new slice, found that this slice was contributed already; contribute another."
                )
            self._files.add(form.contribution, form.png)
        return Receipt(form.code, form.contribution.id, "disk")

    def entries(self) -> list[Contribution]:
        """All contributions in the order in which they came, those withdrawn too.

        Raises:
            ValueError: The journal is damaged.
        """
        return list(from_lines(self._files.journal()).values())

    @property
    def pending(self) -> int:
        """How many contributions the Hub does not have as they stand."""
        return count_pending(self._files.journal())

    def withdraw(self, receipt: str) -> None:
        """Delete the contribution with a receipt: its image, its text and its labels.

        The Hub's copy goes with the next sync. The repository's history there keeps it until the curator
        squashes it (`HfApi.super_squash_history`). A second withdrawal does nothing.

        Args:
            receipt: The receipt's code.

        Raises:
            ValueError: No contribution has this receipt.
        """
        secret = receipt_hash(receipt)
        with self._files.changing() as journal:
            contributions = from_lines(journal)
            known = next((known for known in contributions.values() if known.receipt == secret), None)
            if known is None:
                raise ValueError(
                    "expected the receipt of a contribution, found another text; copy the receipt whole."
                )
            if known.status != "withdrawn":
                self._files.save(contributions | {known.id: known.withdrawn()})

    def accept(self, *ids: str) -> None:
        """Move waiting contributions to `accepted/`, all of them or none.

        Raises:
            ValueError: There is no such contribution, or it waits no more.
        """
        self._advance(ids, Contribution.accepted)

    def reject(self, *ids: str, reason: str) -> None:
        """Reject waiting or accepted contributions, all of them or none; image and text are deleted.

        Raises:
            ValueError: There is no such contribution, it is rejected or withdrawn already, or the reason is
                missing or too long.
        """
        reason = plain_text(reason, "a reason", LONGEST_LINE)
        if not reason:
            raise ValueError("expected a reason for rejecting, found none; give one.")
        self._advance(ids, lambda contribution: contribution.rejected(reason))

    def adopt(self, theirs: Mapping[str, Contribution], images: Path) -> None:
        """Take over what another copy of the store knows; what has come farther here stays.

        Args:
            theirs: The contributions of the other copy, by id.
            images: A folder with the images of those that are not known here, laid out as a store.
        """
        with self._files.changing() as journal:
            ours = from_lines(journal)
            news = {
                number: their
                for number, their in theirs.items()
                if number not in ours or (their.rank >= ours[number].rank and their != ours[number])
            }
            for number, their in news.items():
                if number not in ours and their.image:
                    self._files.put(their, (images / their.image).read_bytes())
            if news:
                self._files.save(ours | news)

    def _advance(self, ids: tuple[str, ...], step: Callable[[Contribution], Contribution]) -> None:
        with self._files.changing() as journal:
            contributions = from_lines(journal)
            for number in dict.fromkeys(ids):
                if number not in contributions:
                    raise ValueError(f"expected the id of a contribution, found {number!r}; list them.")
                before, after = contributions[number], step(contributions[number])
                if before.rank >= after.rank:
                    raise ValueError(
                        f"{number}: expected a contribution that can be {after.status}, found it "
                        f"{before.status}; leave it out."
                    )
                contributions[number] = after
            self._files.save(contributions)
