"""Pushing files to the Hugging Face Hub: private unless said otherwise, in one commit, or not at all.

huggingface_hub is imported by the functions that need it: it reads `HF_ENDPOINT` when it is imported.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import __version__
from .hub_words import in_words
from .uploads import Commit, Place, Upload, changes

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_PATIENCE = 60.0
"""Seconds of silence after which a request has failed; the client alone would wait for ever."""
_TO_CONNECT = 10.0
"""Seconds after which a Hub that does not even take a connection is taken to be out of reach."""


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
            "expected a repository as OWNER/NAME, of at most 96 letters, digits, '-', '_' and '.', without "
            f"'--', '..' and a '.git' at its end, found {repo_id!r}; name it so."
        )


def check_push(repo_id: str, repo_type: str, public: bool) -> None:
    """Ask the Hub whether a push can go well, before any work is done for it.

    Raises:
        ValueError: The repository is not named as the Hub has it, there is no token that writes, the Hub does
            not answer, or the repository is there and does not have the visibility that is asked for.
    """
    check_repo_id(repo_id)
    api = hub_api()
    with in_words(repo_id):
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
    place: Place | None = None,
    dry_run: bool = False,
) -> Commit:
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
        place: Where the commit goes; None for the branch main.
        dry_run: Look what is there, and change nothing.

    Returns:
        What changed, and where. Where all is there already there is no new commit, and it is the last one's.

    Raises:
        ValueError: As `check_push`, `parent` is not the last commit, the tag is another commit's, or the Hub
            did not take the push. The repository is as it was then (one that was not there may be left
            empty), or complete if only the Hub's answer or the tag was lost.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api, place = hub_api(), place or Place()
    with in_words(repo_id):
        if dry_run and not _is_there(api, repo_id, repo_type, public):
            return Commit(changes(uploads, []), None)
        there = _opened(api, repo_id, repo_type, public)
        branches, tags = _refs(api, repo_id, repo_type) if place.branch or place.tag else ({}, {})
        if place.branch in branches:
            there = _info(api, repo_id, repo_type, place.branch)
        found = changes(uploads, there.siblings, replaces)
        same = all(change.state == "same" for change in found)
        if place.tag in tags and not (same and tags[place.tag] == there.sha):
            raise ValueError(
                f"{repo_id}: expected a tag that is not there yet, found {place.tag} of another commit; name "
                "another."
            )
        if dry_run:
            return Commit(found, None)
        if place.branch and place.branch not in branches:
            api.create_branch(repo_id, branch=place.branch, revision=there.sha, repo_type=repo_type)
        commit = api.create_commit(
            repo_id,
            repo_type=repo_type,
            operations=[
                *(CommitOperationAdd(upload.path, upload.content) for upload in uploads),
                *(CommitOperationDelete(change.path) for change in found if change.state == "removed"),
            ],
            commit_message=message,
            revision=place.branch,
            create_pr=place.pull_request,
            parent_commit=parent or there.sha,  # who pushes at the same time is not undone
        )
        if place.tag and place.tag not in tags:
            api.create_tag(repo_id, tag=place.tag, revision=commit.oid, repo_type=repo_type)
    return Commit(found, commit.pr_url or commit.commit_url)


def head(repo_id: str, repo_type: str, public: bool = False) -> str:
    """The last commit of a repository, which is made if it is not there.

    Raises:
        ValueError: As `check_push`.
    """
    with in_words(repo_id):
        return _opened(hub_api(), repo_id, repo_type, public).sha


def set_variables(repo_id: str, variables: Mapping[str, str]) -> None:
    """Set public variables of a Space, which its program finds in its environment.

    Raises:
        ValueError: The Hub does not take them.
    """
    api = hub_api()
    with in_words(repo_id):
        for name, value in variables.items():
            api.add_space_variable(repo_id, name, value)


def fetch_files(
    repo_id: str, patterns: Sequence[str], folder: Path, *, repo_type: str, revision: str
) -> None:
    """Copy the files of a commit whose paths fit one of the patterns into a folder.

    Raises:
        ValueError: The Hub does not answer, or does not give them.
    """
    with in_words(repo_id):
        hub_api().snapshot_download(
            repo_id,
            repo_type=repo_type,
            revision=revision,
            allow_patterns=list(patterns),
            local_dir=folder,
        )


def hub_api():
    """The client, which gives up on a Hub that is silent for a minute, or takes no connection."""
    from huggingface_hub import HfApi, get_session

    session = get_session()
    session.timeout = _PATIENCE
    session.timeout.connect = _TO_CONNECT
    return HfApi(library_name="ladnn_hf", library_version=__version__)


def _opened(api, repo_id: str, repo_type: str, public: bool):
    """What the Hub says of a repository, which is made if it is not there."""
    if not _is_there(api, repo_id, repo_type, public):
        sdk = "gradio" if repo_type == "space" else None
        api.create_repo(repo_id, repo_type=repo_type, private=not public, space_sdk=sdk)
    there = _info(api, repo_id, repo_type)
    _check_visibility(there, public)  # of a new one, too: an organisation may have rules of its own
    return there


def _info(api, repo_id: str, repo_type: str, revision: str | None = None):
    """What the Hub says of a revision, its files with their hashes."""
    return api.repo_info(
        repo_id, repo_type=repo_type, revision=revision, files_metadata=True, timeout=_PATIENCE
    )


def _refs(api, repo_id: str, repo_type: str) -> tuple[dict[str, str], dict[str, str]]:
    """The commits of the branches and of the tags, by name."""
    refs = api.list_repo_refs(repo_id, repo_type=repo_type)
    return tuple({ref.name: ref.target_commit for ref in part} for part in (refs.branches, refs.tags))


def _is_there(api, repo_id: str, repo_type: str, public: bool) -> bool:
    """Whether there is such a repository that we may see; its visibility is checked if so."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        _check_visibility(api.repo_info(repo_id, repo_type=repo_type, timeout=_PATIENCE), public)
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
