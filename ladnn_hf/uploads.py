"""Files to push, where they go in a repository of the Hub, and what they change there."""

import fnmatch
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_REF = re.compile(r"(?!refs/)\w[\w-]*([./][\w-]+)*(?<!\.lock)", re.ASCII)
"""What git takes for a name, and the Hub, which puts `refs/` before it."""


@dataclass(frozen=True)
class Upload:
    """A file to push: its path in the repository, and its content or where that lies."""

    path: str
    content: bytes | Path

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


@dataclass(frozen=True)
class Change:
    """What a push does to one file of a repository.

    Attributes:
        path: In the repository.
        state: `new`, `changed`, `same` or `removed`.
        size: Bytes that are pushed; 0 where it is removed.
    """

    path: str
    state: str
    size: int


@dataclass(frozen=True)
class Place:
    """Where a commit goes in a repository; by default onto its branch main.

    Attributes:
        branch: Onto this branch, which is made from main if it is not there.
        pull_request: Into a new pull request to main, which stays as it is.
        tag: Name the commit so.

    Raises:
        ValueError: A name is not one for a branch or tag, or a pull request is to have one.
    """

    branch: str | None = None
    pull_request: bool = False
    tag: str | None = None

    def __post_init__(self):
        for name in filter(None, (self.branch, self.tag)):
            if self.pull_request:
                raise ValueError(
                    f"expected a pull request, or a branch and a tag, found it with {name!r}; leave out one."
                )
            if not _REF.fullmatch(name):
                raise ValueError(
                    "expected a branch or tag of letters, digits, '_' and '-', with single '.' and '/' "
                    f"between, not below refs/, found {name!r}; name it so."
                )


@dataclass(frozen=True)
class Commit:
    """What a push made, or would make.

    Attributes:
        changes: What becomes of each file.
        url: The commit or the pull request; None where nothing was sent.
    """

    changes: list[Change]
    url: str | None


def changes(
    uploads: Sequence[Upload], there: Iterable["RepoSibling"], replaces: Sequence[str] = ()
) -> list[Change]:
    """What a push changes, file by file: first what is pushed, then what goes.

    Args:
        uploads: What is pushed.
        there: The files of the repository, with their hashes.
        replaces: Patterns of paths that go unless they are pushed.
    """
    files = {file.rfilename: file for file in there}
    pushed = [Change(upload.path, _state(upload, files.get(upload.path)), upload.size) for upload in uploads]
    sent = {upload.path for upload in uploads}
    stale = [
        path
        for path in files
        if path not in sent and any(fnmatch.fnmatchcase(path, pattern) for pattern in replaces)
    ]
    return pushed + [Change(path, "removed", 0) for path in stale]


def _state(upload: Upload, file: "RepoSibling | None") -> str:
    from huggingface_hub.utils.sha import git_hash

    if file is None:
        return "new"
    content = upload.content if isinstance(upload.content, bytes) else upload.content.read_bytes()
    if file.lfs is not None:
        same = file.lfs.sha256 == hashlib.sha256(content).hexdigest()
    else:
        same = file.blob_id == git_hash(content)
    return "same" if same else "changed"
