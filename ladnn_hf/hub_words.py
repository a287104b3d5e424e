"""What huggingface_hub raises during a push, in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

_AGAIN = "push again: the repository is as it was or complete, and nothing is sent twice"


@contextmanager
def in_words(repo_id: str) -> Iterator[None]:
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
