"""What is known of each contributed slice, as lines of a journal and as the table that from-folder reads."""

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from .labels import LESIONS

JOURNAL = "journal.jsonl"
"""The one truth of a store: the last line that speaks of a contribution says how it stands."""
TABLE = "accepted/metadata.csv"
"""The accepted ones, written from the journal."""
FOLDERS = {"waiting": "waiting", "accepted": "accepted/images"}
"""Where an image lies, by status; the other statuses have none. On the Hub it is the same."""
STATUSES = ("waiting", "accepted", "rejected", "withdrawn")
"""What may become of a contribution: it moves to the right, never back, so that two copies of a store that
were changed apart have one way to agree."""
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """A contributed slice, without its image.

    Attributes:
        id: 16 hexadecimal digits.
        status: One of `STATUSES`.
        receipt: SHA-256 of the receipt's code, which is known to the contributor alone.
        label: `COVID` or `NonCOVID`; empty once withdrawn.
        lesions: Whether each of `LESIONS` is present; None for no label.
        report: The contributor's text.
        source: The paper or collection that it is from, empty where unknown.
        day: When it was received, as YYYY-MM-DD by the clock (UTC). Nothing is ordered by it.
        pixels: SHA-256 of the slice's size and greys, by which it is known again.
        reason: Why it was rejected.
        synced: Whether the Hub has it as it stands.
    """

    id: str
    status: str
    receipt: str
    label: str = ""
    lesions: dict[str, bool] | None = None
    report: str = ""
    source: str = ""
    day: str = ""
    pixels: str = ""
    reason: str = ""
    synced: bool = False

    @property
    def image(self) -> str | None:
        """Where its image lies, relative to the store; None where there is none."""
        return image_path(self.id, self.status) if self.status in FOLDERS else None

    @property
    def rank(self) -> int:
        """How far it has come in `STATUSES`."""
        return STATUSES.index(self.status)

    def accepted(self) -> "Contribution":
        """The same, accepted."""
        return replace(self, status="accepted", synced=False)

    def rejected(self, reason: str) -> "Contribution":
        """What stays of it when it is rejected: enough to refuse the slice when it comes again."""
        emptied = replace(self, lesions=None, report="", source="", synced=False)
        return replace(emptied, status="rejected", reason=reason)

    def withdrawn(self) -> "Contribution":
        """What stays of it when it is withdrawn: that it was."""
        return Contribution(id=self.id, status="withdrawn", receipt=self.receipt)


def image_path(contribution: str, status: str) -> str:
    """Where the image of a contribution lies in one of `FOLDERS`, relative to the store."""
    return f"{FOLDERS[status]}/{contribution}.png"


def to_lines(contributions: Iterable[Contribution]) -> bytes:
    """Lines of a journal."""
    return "".join(f"{json.dumps(asdict(contribution))}\n" for contribution in contributions).encode()


def from_lines(content: bytes) -> dict[str, Contribution]:
    """Read a journal of `whole_lines`: the contributions by id, in the order in which they came.

    Raises:
        ValueError: A line is no line of a journal.
    """
    contributions = {}
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            contribution = _from_line(line)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{JOURNAL}, line {number}: expected a contribution, found something else; put a copy of the "
                "journal in its place."
            ) from error
        contributions[contribution.id] = contribution
    return contributions


def whole_lines(content: bytes) -> bytes:
    """A journal without its last line where a process died while it appended that."""
    start = content.rfind(b"\n", 0, -1) + 1
    try:
        _from_line(content[start:])
    except (ValueError, TypeError):
        return content[:start]
    return content if content.endswith(b"\n") else content[:start]


def knows_slice(content: bytes, pixels: str) -> bool:
    """Whether a journal has a slice; without parsing it, which takes long where there are thousands."""
    return _member("pixels", pixels) in content


def count_pending(content: bytes) -> int:
    """How many contributions of a journal the Hub does not have as they stand; without parsing it."""
    return content.count(_member("synced", False))


def _member(key: str, value: str | bool) -> bytes:
    # No text can hold this: JSON puts a backslash before the quotes in it.
    return f'"{key}": {json.dumps(value)}'.encode()


def _from_line(line: bytes) -> Contribution:
    contribution = Contribution(**json.loads(line))
    # The id becomes a file's name, and a journal may come from the Hub.
    if not (_ID.fullmatch(contribution.id) and contribution.status in STATUSES):
        raise ValueError(contribution.id)
    return contribution


def to_table(contributions: Iterable[Contribution]) -> bytes:
    """The accepted ones as `metadata.csv`, which lies beside their images' folder."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file_name", "label", *LESIONS, "caption", "source"])
    for contribution in contributions:
        if contribution.status == "accepted":
            lesions = contribution.lesions
            cells = [int(lesions[name]) for name in LESIONS] if lesions else [""] * len(LESIONS)
            texts = map(_cell, (contribution.report, contribution.source))
            writer.writerow([f"images/{contribution.id}.png", contribution.label, *cells, *texts])
    return stream.getvalue().encode()


def _cell(text: str) -> str:
    # A spreadsheet computes what begins with = + - @; after a space it does not, and from-folder takes
    # spaces around a cell off.
    return f" {text}" if text and not text[0].isalnum() else text
