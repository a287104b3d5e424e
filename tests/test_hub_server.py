"""The Hub of the tests, as the real huggingface_hub and datasets see it from processes of their own."""

import io
import json
from textwrap import dedent
from types import SimpleNamespace

import datasets
import pytest
from conftest import run_python
from hub_server import Hub
from PIL import Image

PARQUET = "data/train-00000-of-00001.parquet"
LABELS = ["COVID", "NonCOVID", "NonCOVID"]

# What the code of each test starts with and ends with: it leaves what it found in `found`.
PROLOGUE = """
import json, sys
from huggingface_hub import CommitOperationAdd, HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
api, found = HfApi(), {}
def error_of(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except Exception as error:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        return [type(error).__name__, status]
"""
EPILOGUE = "\nprint(json.dumps(found))"


def client(hub, folder, code, *arguments, token=None):
    """Runs code in a process that takes `hub` for the Hub; returns its `found`."""
    code = PROLOGUE + dedent(code) + EPILOGUE
    finished = run_python(code, *arguments, cwd=folder, env=hub.environment(folder, token))
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def paths(hub, method, pattern):
    return [path for sent, path in hub.requests if sent == method and pattern in path]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A data set with images in a private repository, uploaded, read and uploaded again."""
    folder = tmp_path_factory.mktemp("published")
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=sorted(set(LABELS))))
    rows = []
    for index, label in enumerate(LABELS):
        buffer = io.BytesIO()
        Image.new("L", (8, 8), index).save(buffer, "PNG")
        rows.append({"image": {"bytes": buffer.getvalue(), "path": f"{index}.png"}, "label": label})
    (folder / "slices" / "data").mkdir(parents=True)
    datasets.Dataset.from_list(rows, features=features).to_parquet(folder / "slices" / PARQUET)
    (folder / "slices" / "README.md").write_text("---\nlicense: cc0-1.0\ntags: [ct]\n---\n# Slices\n")
    code = """
        from pathlib import Path
        from datasets import load_dataset
        folder, repo = Path(sys.argv[1]), dict(repo_id="tester/slices", repo_type="dataset")
        api.create_repo(**repo, private=True)
        found["first"] = api.upload_folder(**repo, folder_path=folder).oid
        api.create_tag(**repo, tag="v1")
        for streaming in (False, True):
            rows = load_dataset(repo["repo_id"], split="train", streaming=streaming)
            found[f"rows {streaming}"] = [(row["label"], *row["image"].getextrema()) for row in rows]
            found["names"] = rows.features["label"].names
        (folder / "README.md").write_text("---\\nlicense: mit\\n---\\n# Slices, again\\n")
        found["second"] = api.upload_folder(**repo, folder_path=folder).oid
        found["tagged"] = Path(hf_hub_download(**repo, filename="README.md", revision="v1")).read_text()
        snapshot = Path(snapshot_download(**repo))
        files = [path for path in snapshot.rglob("*") if path.is_file()]
        found["snapshot"] = {path.relative_to(snapshot).as_posix(): path.read_bytes().hex() for path in files}
        (folder / "notes.txt").write_text("For review")
        found["pull request"] = api.upload_folder(**repo, folder_path=folder, create_pr=True).pr_revision
        found["under review"] = Path(
            hf_hub_download(**repo, filename="notes.txt", revision=found["pull request"])
        ).read_text()
        info = api.dataset_info("tester/slices", revision="v1", files_metadata=True)
        found["info"] = [info.sha, info.private, info.tags, info.card_data.license]
        found["lfs"] = [sibling.rfilename for sibling in info.siblings if sibling.lfs]
    """
    with Hub() as hub:
        yield SimpleNamespace(hub=hub, found=client(hub, folder, code, folder / "slices"), rows=rows)


def test_a_folder_goes_into_a_private_repository_in_one_commit(published):
    second, first, _ = published.hub.commits("dataset", "tester/slices")
    assert [first.oid, second.oid] == [published.found["first"], published.found["second"]]
    assert set(published.hub.files("dataset", "tester/slices", "v1")) == {
        ".gitattributes",
        "README.md",
        PARQUET,
    }
    assert published.hub.is_private("dataset", "tester/slices")
    assert published.found["info"] == [first.oid, True, ["ct"], "cc0-1.0"]
    assert published.found["lfs"] == [PARQUET]  # so both ways of uploading were taken


def test_load_dataset_gives_the_rows_whole_and_streamed(published):
    rows = [[published.found["names"].index(label), index, index] for index, label in enumerate(LABELS)]
    assert published.found["rows False"] == published.found["rows True"] == rows


def test_a_tag_and_a_snapshot_give_the_files_of_their_commits(published):
    assert "cc0-1.0" in published.found["tagged"]
    files = published.hub.files("dataset", "tester/slices")
    assert b"Slices, again" in files["README.md"]
    assert {path: bytes.fromhex(content) for path, content in published.found["snapshot"].items()} == files


def test_content_that_is_there_is_not_sent_again(published):
    assert len(paths(published.hub, "POST", "/commit/")) == 3
    assert len(paths(published.hub, "PUT", "/lfs-objects/")) == 1


def test_a_pull_request_leaves_the_branch_as_it_was(published):
    assert published.found["pull request"] == "refs/pr/1"
    assert published.found["under review"] == "For review"
    assert "notes.txt" in published.hub.files("dataset", "tester/slices", "refs/pr/1")
    assert "notes.txt" not in published.hub.files("dataset", "tester/slices")


def test_those_without_the_right_token_get_the_clients_own_errors(hub, tmp_path):
    code = """
        for name, private in (("tester/open", False), ("tester/closed", True)):
            api.create_repo(name, private=private)
            api.upload_file(repo_id=name, path_or_fileobj=b"{}", path_in_repo="config.json")
        def write(repo, token):
            api.upload_file(
                repo_id=repo, path_or_fileobj=b"[]", path_in_repo="config.json", token=token
            )
        read, wrong, none = sys.argv[1], "hf_wrong", False
        found["read token reads"] = api.model_info("tester/closed", token=read).id
        found["read token is"] = api.whoami(read)["auth"]["accessToken"]["role"]
        found["read token writes"] = error_of(write, "tester/open", token=read)
        found["read token creates"] = error_of(api.create_repo, "tester/new", token=read)
        found["wrong token reads"] = error_of(api.model_info, "tester/open", token=wrong)
        found["wrong token writes"] = error_of(write, "tester/open", token=wrong)
        found["wrong token is"] = error_of(api.whoami, token=wrong)
        found["stranger reads"] = api.model_info("tester/open", token=none).id
        found["stranger writes"] = error_of(write, "tester/open", token=none)
        found["stranger reads private"] = error_of(api.model_info, "tester/closed", token=none)
        found["stranger writes private"] = error_of(write, "tester/closed", token=none)
        found["stranger loads private"] = error_of(
            hf_hub_download, "tester/closed", "config.json", token=none
        )
        found["missing"] = error_of(api.model_info, "tester/nothing")
        found["another's"] = error_of(api.create_repo, "someone/else")
    """
    found = client(hub, tmp_path, code, hub.read_token)
    not_found = ["RepositoryNotFoundError", 401]
    assert found == {
        "read token reads": "tester/closed",
        "read token is": "read",
        "read token writes": ["HfHubHTTPError", 403],
        "read token creates": ["HfHubHTTPError", 403],
        "wrong token reads": ["HfHubHTTPError", 401],
        "wrong token writes": ["HfHubHTTPError", 401],
        "wrong token is": ["HfHubHTTPError", 401],
        "stranger reads": "tester/open",
        "stranger writes": ["HfHubHTTPError", 401],
        "stranger reads private": not_found,
        "stranger writes private": not_found,
        "stranger loads private": not_found,
        "missing": ["RepositoryNotFoundError", 404],
        "another's": ["HfHubHTTPError", 403],
    }
    assert hub.files("model", "tester/open")["config.json"] == b"{}"


def test_without_a_token_in_its_environment_a_process_is_a_stranger(hub, tmp_path):
    code = "found['asks'] = error_of(api.whoami); found['creates'] = error_of(api.create_repo, 'tester/new')"
    found = client(hub, tmp_path, code, token="")
    assert found == {"asks": ["LocalTokenNotFoundError", None], "creates": ["HfHubHTTPError", 401]}


def test_repositories_of_each_type_are_made_and_deleted(hub, tmp_path):
    code = """
        for repo_type, sdk in (("model", None), ("dataset", None), ("space", "gradio")):
            repo = dict(repo_id="tester/same", repo_type=repo_type)
            made = [api.create_repo(**repo, space_sdk=sdk, exist_ok=exist_ok) for exist_ok in (False, True)]
            again = error_of(api.create_repo, **repo, space_sdk=sdk)
            card = "---\\nsdk: gradio\\n---\\n"
            api.upload_file(**repo, path_in_repo="README.md", path_or_fileobj=card.encode())
            found[repo_type] = [*made, again, api.repo_info(**repo).card_data["sdk"]]
        found["cards"] = [
            error_of(api.upload_file, **repo, path_in_repo="README.md", path_or_fileobj=card)
            for card in (b"No metadata", b"---\\na: [\\n---\\n", b"---\\ntitle: No SDK\\n---\\n")
        ]
        api.delete_repo("tester/same")
        found["deleted"] = [error_of(call, "tester/same") for call in (api.model_info, api.delete_repo)]
    """
    found = client(hub, tmp_path, code)
    for repo_type, page in (("model", ""), ("dataset", "datasets/"), ("space", "spaces/")):
        url = f"{hub.url}/{page}tester/same"
        assert found[repo_type] == [url, url, ["HfHubHTTPError", 409], "gradio"]
    assert found["cards"] == [["ValueError", None]] * 3
    assert found["deleted"] == [["RepositoryNotFoundError", 404]] * 2
    assert set(hub.repos) == {("dataset", "tester/same"), ("space", "tester/same")}


def test_trees_references_and_parts_of_files_are_as_in_the_repository(tmp_path):
    code = """
        repo = dict(repo_id="tester/model")
        api.create_repo(**repo)
        paths = ["a.txt", "b/c d.txt", "b/e/f.bin", "b/e/g.txt"]
        operations = [CommitOperationAdd(path, b"0123456789") for path in paths]
        first = api.create_commit(**repo, operations=operations, commit_message="First").oid
        api.create_branch(**repo, branch="feature/x")
        api.create_tag(**repo, tag="v1", revision=first)
        second = api.delete_folder("b/e", **repo, commit_message="Second").oid
        revisions = ("v1", "feature/x", first, "main")
        found["files"] = [api.list_repo_files(**repo, revision=revision) for revision in revisions]
        found["tree"] = [entry.path for entry in api.list_repo_tree(**repo, revision="v1")]
        found["folder"] = [
            [entry.path, entry.last_commit.title]
            for entry in api.list_repo_tree(**repo, path_in_repo="b", expand=True)
        ]
        infos = api.get_paths_info(**repo, paths=["b/e", "b/e/f.bin", "none"], revision="v1")
        found["paths"] = [[type(info).__name__, info.path] for info in infos]
        number = api.create_pull_request(**repo, title="Change").num
        found["pull request"] = api.upload_file(
            **repo, path_in_repo="new", path_or_fileobj=b"!", revision=f"refs/pr/{number}"
        ).oid
        refs = api.list_repo_refs(**repo, include_pull_requests=True)
        found["refs"] = {ref.ref: ref.target_commit for ref in refs.branches + refs.tags + refs.pull_requests}
        found["commits"] = [first, second]
        with HfFileSystem().open("tester/model@v1/b/e/f.bin") as file:
            file.seek(3)
            found["part"] = file.read(4).decode()
        found["no file"] = error_of(hf_hub_download, **repo, filename="none")
        found["no revision"] = error_of(hf_hub_download, **repo, filename="a.txt", revision="none")
        found["no folder"] = error_of(lambda: list(api.list_repo_tree(**repo, path_in_repo="none")))
        found["tag again"] = error_of(api.create_tag, **repo, tag="v1")
        found["to a tag"] = error_of(
            api.upload_file, **repo, path_in_repo="a.txt", path_or_fileobj=b"", revision="v1"
        )
    """
    with Hub(page_size=2) as hub:
        found = client(hub, tmp_path, code)
        after_first = sorted([".gitattributes", "a.txt", "b/c d.txt", "b/e/f.bin", "b/e/g.txt"])
        after_second = [".gitattributes", "a.txt", "b/c d.txt"]
        assert found["files"] == [after_first] * 3 + [after_second]
        assert found["tree"] == [".gitattributes", "a.txt", "b"]
        assert paths(hub, "GET", "cursor=")  # so pages were turned
        assert found["folder"] == [["b/c d.txt", "First"]]
        assert found["paths"] == [["RepoFolder", "b/e"], ["RepoFile", "b/e/f.bin"]]
        first, second = found["commits"]
        assert found["refs"] == {
            **{"refs/heads/main": second, "refs/heads/feature/x": first, "refs/tags/v1": first},
            "refs/pr/1": found["pull request"],
        }
        assert [commit.title for commit in hub.commits("model", "tester/model")][:2] == ["Second", "First"]
        assert found["part"] == "3456"
        assert found["no file"] == found["no folder"] == ["RemoteEntryNotFoundError", 404]
        assert found["no revision"] == ["RevisionNotFoundError", 404]
        assert found["tag again"] == ["HfHubHTTPError", 409]
        assert found["to a tag"] == ["BadRequestError", 400]


def test_a_commit_on_a_stale_parent_is_refused(hub, tmp_path):
    code = """
        repo = dict(repo_id="tester/model", path_in_repo="a.txt")
        api.create_repo("tester/model")
        parent = api.upload_file(**repo, path_or_fileobj=b"1").oid
        api.upload_file(**repo, path_or_fileobj=b"2", parent_commit=parent)
        found["stale"] = error_of(api.upload_file, **repo, path_or_fileobj=b"3", parent_commit=parent)
    """
    assert client(hub, tmp_path, code)["stale"] == ["HfHubHTTPError", 412]
    assert hub.files("model", "tester/model")["a.txt"] == b"2"


CONTENT = bytes(range(256)) * 4000
UPLOAD = """
    from pathlib import Path
    content = bytes(range(256)) * 4000
    Path("model.safetensors").write_bytes(content)
    api.create_repo("tester/model")
    file = dict(path_in_repo="model.safetensors", path_or_fileobj="model.safetensors")
    found["error"] = error_of(api.upload_file, repo_id="tester/model", **file)
"""


def test_a_503_in_the_middle_of_an_lfs_upload_is_survived(hub, tmp_path):
    hub.fail_next("PUT", "/lfs-objects/", status=503)
    assert client(hub, tmp_path, UPLOAD)["error"] is None
    assert len(paths(hub, "PUT", "/lfs-objects/")) == 2
    assert hub.files("model", "tester/model")["model.safetensors"] == CONTENT


def test_an_lfs_upload_that_fails_for_good_leaves_no_commit(hub, tmp_path):
    hub.fail_next("PUT", "/lfs-objects/", status=403)
    assert client(hub, tmp_path, UPLOAD)["error"] == ["RuntimeError", None]
    assert set(hub.files("model", "tester/model")) == {".gitattributes"}


def test_uploads_and_downloads_that_break_off_are_taken_up_again(hub, tmp_path):
    hub.drop_next("PUT", "/lfs-objects/")
    hub.drop_next("GET", "/resolve/main/model.safetensors")
    code = """
    path = Path(hf_hub_download("tester/model", "model.safetensors"))
    found["loaded"] = path.read_bytes() == content
    """
    assert client(hub, tmp_path, UPLOAD + code) == {"error": None, "loaded": True}
    assert len(paths(hub, "PUT", "/lfs-objects/")) == len(paths(hub, "GET", "/resolve/main/")) == 2


def test_a_commit_is_made_even_if_its_answer_is_lost(hub, tmp_path):
    hub.drop_next("POST", "/commit/main", in_answer=True)
    assert client(hub, tmp_path, UPLOAD)["error"] == ["RemoteProtocolError", None]
    assert hub.files("model", "tester/model")["model.safetensors"] == CONTENT
