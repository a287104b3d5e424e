"""A push or a download that is broken off, at each of its requests: nothing half done is taken for whole."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

# Pushes three files, one of them by LFS, whenever told the repository's name, and says what came of it.
CLIENT = """
import json, sys
from ladnn_hf.hub import push_files
from ladnn_hf.uploads import Place, Upload
from huggingface_hub.utils import _http
_http.time.sleep = lambda seconds: None  # between the client's own retries
card = b"---\\nlanguage: en\\n---\\n"
uploads = [Upload("README.md", card), Upload("config.json", b"{}"), Upload("weights.bin", b"weights" * 9)]
print("ready", flush=True)
for repo_id in sys.stdin:
    try:
        commit = push_files(
            uploads, repo_id.strip(), repo_type="model", message="Push", place=Place(tag="v1")
        )
        said = {"url": commit.url}
    except ValueError as error:
        said = {"refused": str(error)}
    print(json.dumps(said), flush=True)
"""
WHOLE = {".gitattributes", "README.md", "config.json", "weights.bin"}


@contextmanager
def client(environment):
    """A process that pushes; killed at the end, if it is still there."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def push(process, repo_id):
    """What a process says of its push; None if it died."""
    process.stdin.write(f"{repo_id}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    return json.loads(line) if line else None


def is_as_it_was_or_complete(hub, repo_id):
    repo = hub.repos.get(("model", repo_id))
    return repo is None or set(hub.files("model", repo_id)) in ({".gitattributes"}, WHOLE)


def is_complete(hub, repo_id):
    return set(hub.files("model", repo_id, "v1")) == WHOLE and len(hub.commits("model", repo_id)) == 2


@pytest.mark.parametrize("in_answer", [False, True], ids=["request", "answer"])
def test_a_push_broken_off_at_any_request_is_completed_by_the_next_which_sends_nothing_twice(
    hub, tmp_path, in_answer
):
    with client(hub.environment(tmp_path)) as process:
        assert "url" in push(process, "tester/whole")
        requests = len(hub.requests)
        assert requests > 8
        for number in range(requests):
            repo_id = f"tester/broken-{number}"
            hub.drop_at(number, in_answer)
            said = push(process, repo_id)
            assert is_as_it_was_or_complete(hub, repo_id), number
            if "refused" in said:
                assert "expected" in said["refused"] and "hf_" not in said["refused"]
            stored = dict(hub.repos["model", repo_id].lfs_objects) if ("model", repo_id) in hub.repos else {}
            before = len(hub.requests)
            assert "url" in push(process, repo_id), number
            assert is_complete(hub, repo_id), number
            sent_again = [path for method, path in hub.requests[before:] if method == "PUT"]
            assert not (stored and sent_again), number


@pytest.mark.parametrize("number", [3, 5, 6, 7, 8])
def test_a_push_that_is_killed_is_completed_by_the_next(hub, tmp_path, number):
    with client(hub.environment(tmp_path)) as process:
        hub.drop_at(number, in_answer=True, then=process.kill)
        assert push(process, "tester/killed") is None
    assert is_as_it_was_or_complete(hub, "tester/killed")
    with client(hub.environment(tmp_path)) as process:
        assert "url" in push(process, "tester/killed")
    assert is_complete(hub, "tester/killed")
    assert len([path for method, path in hub.requests if method == "PUT"]) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (412, "expected no other change during the push, found one (status 412); push again."),
        (403, "expected a token that may write there, found one that may not (status 403)"),
        (400, "expected the Hub to take the files, found them refused: This failure was asked for; correct"),
        (503, "expected the Hub to take the push, found status 503; push again"),
    ],
)
def test_a_commit_that_the_hub_refuses_is_said_and_leaves_nothing(hub, tmp_path, status, words):
    hub.fail_next("POST", "/commit/", status=status)
    with client(hub.environment(tmp_path)) as process:
        assert words in push(process, "tester/refused")["refused"]
    assert set(hub.files("model", "tester/refused")) == {".gitattributes"}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "expected an answer from http://127.0.0.1:9, found none"),
        ({"HF_HUB_OFFLINE": "1"}, "found HF_HUB_OFFLINE set; unset it to push."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_without_a_network_a_push_is_refused_in_words(hub, tmp_path, setting, words):
    with client(hub.environment(tmp_path) | setting) as process:
        assert words in push(process, "tester/refused")["refused"]
    assert not hub.requests
