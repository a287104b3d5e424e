"""Pushing files to the Hugging Face Hub: private unless said otherwise, in one commit, or not at all.

huggingface_hub is imported by the functions that need it: it reads `HF_ENDPOINT` when it is imported.
"""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import __version__

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_AGAIN = "push again: the repository is as it was or complete, and nothing is sent twice"


@dataclass(frozen=True)
class Upload:
    """A file to push: its path in the repository, and its content or where that lies."""

    path: str
    content: bytes | Path

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def check_repo_id(repo_id: str) -> None:
    """Raise `ValueError` where a repository is not named `OWNER/NAME` as the Hub has it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
        valid = _REPO_ID.fullmatch(repo_id)
    except HFValidationError:
        valid = False
    if not valid:
        raise ValueError(
            f"expected a repository as OWNER/NAME, of letters, digits, '-', '_' and '.', found {repo_id!r}; "
            "name it so."
        )


def check_push(repo_id: str, repo_type: str, public: bool) -> None:
    """Ask the Hub whether a push can go well, before any work is done for it.

    Raises:
        ValueError: There is no token that writes, the Hub does not answer, or the repository is there
            and does not have the visibility that is asked for.
    """
    api = _api()
    with _in_words(repo_id):
        token = api.whoami().get("auth", {}).get("accessToken", {})
        if token.get("role") == "read":
            raise ValueError(
                "expected a token that writes, found one that only reads; make another in your account's "
                "settings, and give it to `hf auth login` or HF_TOKEN."
            )
        _is_there(api, repo_id, repo_type, public)


def push_files(
    uploads: Sequence[Upload],
    repo_id: str,
    *,
    repo_type: str,
    message: str,
    public: bool = False,
    replaces: Sequence[str] = (),
    parent: str | None = None,
) -> str:
    """Push files in one commit to a repository, which is made if it is not there.

    Args:
        uploads: What is sent, and nothing else.
        repo_id: `OWNER/NAME`.
        repo_type: `model`, `dataset` or `space`.
        message: The commit's title.
        public: Make the repository public; one that is there must be public already.
        replaces: Patterns of paths, such as `data/*.parquet`, that an earlier push may have left and
            that go in the same commit unless they are pushed again.
        parent: The commit that this one builds on, if it must be the last one; see `head`.

    Returns:
        The commit's address. Where all is there already there is no new commit, and it is the last one's.

    Raises:
        ValueError: As `check_push`, `parent` is not the last commit, or the Hub did not take the push. The
            repository is as it was then (one that was not there may be left empty), or complete if only the
            Hub's answer was lost.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api = _api()
    with _in_words(repo_id):
        there = _opened(api, repo_id, repo_type, public)
        sent = {upload.path for upload in uploads}
        stale = [
            file.rfilename
            for file in there.siblings
            if file.rfilename not in sent and any(fnmatch.fnmatchcase(file.rfilename, p) for p in replaces)
        ]
        commit = api.create_commit(
            repo_id,
            repo_type=repo_type,
            operations=[
                *(CommitOperationAdd(upload.path, upload.content) for upload in uploads),
                *(CommitOperationDelete(path) for path in stale),
            ],
            commit_message=message,
            parent_commit=parent or there.sha,  # who pushes at the same time is not undone
        )
    return commit.commit_url


def head(repo_id: str, repo_type: str, public: bool = False) -> str:
    """The last commit of a repository, which is made if it is not there.

    Raises:
        ValueError: As `check_push`.
    """
    with _in_words(repo_id):
        return _opened(_api(), repo_id, repo_type, public).sha


def fetch_files(
    repo_id: str, patterns: Sequence[str], folder: Path, *, repo_type: str, revision: str
) -> None:
    """Copy the files of a commit whose paths fit one of the patterns into a folder.

    Raises:
        ValueError: The Hub does not answer, or does not give them.
    """
    with _in_words(repo_id):
        _api().snapshot_download(
            repo_id,
            repo_type=repo_type,
            revision=revision,
            allow_patterns=list(patterns),
            local_dir=folder,
        )


def _api():
    from huggingface_hub import HfApi

    return HfApi(library_name="ladnn_hf", library_version=__version__)


def _opened(api, repo_id: str, repo_type: str, public: bool):
    """What the Hub says of a repository, which is made if it is not there."""
    if not _is_there(api, repo_id, repo_type, public):
        api.create_repo(repo_id, repo_type=repo_type, private=not public)
    there = api.repo_info(repo_id, repo_type=repo_type)
    _check_visibility(there, public)  # of a new one, too: an organisation may have rules of its own
    return there


def _is_there(api, repo_id: str, repo_type: str, public: bool) -> bool:
    """Whether there is such a repository that we may see; its visibility is checked if so."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        _check_visibility(api.repo_info(repo_id, repo_type=repo_type), public)
    except RepositoryNotFoundError:
        return False
    return True


def _check_visibility(info, public: bool) -> None:
    if info.private != (not public):
        asked, found = ("public", "private") if public else ("private", "public")
        raise ValueError(
            f"{info.id}: expected a {asked} repository, found a {found} one; change its visibility in its "
            f"settings on the Hub, name another, or push as {found}."
        )


@contextmanager
def _in_words(repo_id: str) -> Iterator[None]:
    """Turn what the client raises into one sentence; never its own text, which can quote the token."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.LocalTokenNotFoundError as error:
        raise ValueError(
            "expected a token of the Hub that writes, found none; run `hf auth login`, or set HF_TOKEN."
        ) from error
    except UnicodeError as error:  # no header can carry it
        raise ValueError(
            "expected a token of letters and digits, found other characters; run `hf auth login`, or correct "
            "HF_TOKEN."
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise ValueError("expected to reach the Hub, found HF_HUB_OFFLINE set; unset it to push.") from error
    except errors.HfHubHTTPError as error:
        raise _refusal(repo_id, error) from error
    except (errors.HTTPError, errors.LocalEntryNotFoundError) as error:
        raise ValueError(
            f"expected an answer from {constants.ENDPOINT}, found none ({type(error).__name__}); check the "
            f"network and HF_ENDPOINT, then {_AGAIN}."
        ) from error
    except RuntimeError as error:  # one file's upload, by LFS or Xet, failed for good
        if isinstance(error.__cause__, errors.HfHubHTTPError):
            raise _refusal(repo_id, error.__cause__) from error
        raise ValueError(
            f"{repo_id}: expected the Hub to store every file, found an upload broken off; {_AGAIN}."
        ) from error


def _refusal(repo_id: str, error) -> ValueError:
    status = error.response.status_code
    if status == 401 and "whoami" in str(error.response.url):
        return ValueError(
            "expected a token that the Hub knows, found another; run `hf auth login`, or correct HF_TOKEN."
        )
    if status in (401, 403, 404):
        return ValueError(
            f"{repo_id}: expected a token that may write there, found one that may not (status {status}); "
            "name a repository of yours, or use a token of its owner that writes."
        )
    if status in (409, 412):
        return ValueError(
            f"{repo_id}: expected no other change during the push, found one (status {status}); push again."
        )
    if status == 400:
        return ValueError(
            f"{repo_id}: expected the Hub to take the files, found them refused: "
            f"{error.server_message or 'it does not say why'}; correct that, then push again."
        )
    return ValueError(f"{repo_id}: expected the Hub to take the push, found status {status}; {_AGAIN}.")
