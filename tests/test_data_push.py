import io
import json
import socket
from contextlib import closing
from types import SimpleNamespace

import datasets
import pyarrow.parquet
import pytest
import yaml
from conftest import run_ladnn, run_ladnn_alone, run_python
from hub_server import Hub
from huggingface_hub import DatasetCard

from ladnn_hf import LESIONS, parquet_shards
from ladnn_hf.audit import facts, split_facts
from ladnn_hf.cards import dataset_card
from ladnn_hf.slice_dataset import FEATURES, load_slices

REPO = "tester/slices"
PUBLIC = "--public-i-may-share-the-images"
FILES = {
    ".gitattributes",
    "README.md",
    "data/train-00000-of-00001.parquet",
    "data/validation-00000-of-00001.parquet",
}

# Runs several pushes in one process, since importing the libraries takes the most time.
PUSHES = """
import contextlib, io, json, os, sys
from ladnn_hf.cli import main
said = []
for case in json.loads(sys.argv[1]):
    if "token" in case:
        os.environ["HF_TOKEN"] = case["token"]
    streams = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        status = main(["data", "push", *case["arguments"]])
    said.append({"status": status, "out": streams[0].getvalue(), "err": streams[1].getvalue()})
print(json.dumps(said))
"""
LOAD = """
import json, math, sys
from datasets import Image, load_dataset
found = {}
for streaming in (False, True):
    slices = load_dataset(sys.argv[1], streaming=streaming)
    found[f"features {streaming}"] = {split: repr(rows.features) for split, rows in slices.items()}
    found[f"sizes {streaming}"] = [row["image"].size for row in slices["train"]]
    undecoded = {split: rows.cast_column("image", Image(decode=False)) for split, rows in slices.items()}
    found[f"rows {streaming}"] = {
        split: [repr({**row, "image": row["image"]["bytes"].hex()}) for row in rows]
        for split, rows in undecoded.items()
    }
print(json.dumps(found))
"""


def push(hub, folder, *arguments, token=None):
    return run_ladnn_alone("data", "push", *arguments, env=hub.environment(folder, token))


def pushes(environment, *cases):
    """What each push says, a dict of `arguments` and perhaps `token`."""
    cases = [case | {"arguments": list(map(str, case["arguments"]))} for case in cases]
    finished = run_python(PUSHES, json.dumps(cases), env=environment)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def sentence(said):
    """The one sentence with which a push is refused."""
    assert said["status"] == 1 and not said["out"], said
    (line,) = said["err"].strip().splitlines()
    assert line.startswith("ladnn: ") and line.endswith(".") and "; " in line and "expected" in line
    assert "hf_" not in line, "no token, not even a wrong one"
    return line


def report_of(slices, **changes):
    """An audit as `ladnn data audit` writes it, with a finding that names a slice."""
    row = {
        "split": "train",
        "file_name": "a secret name.png",
        "row": 3,
        "label": "COVID",
        "caption": "a report",
    }
    finding = {
        "kind": "caption_contradicts_label",
        "leak": True,
        "summary": "a summary",
        "evidence": {},
        "rows": [row],
    }
    scores = {"features": ["format", "mode"], "auc": [0.951, 0.902, 0.998], "accuracy": [0.875, 0.8, 0.95]}
    report = {
        "version": "0.1.0",
        "dataset": "phantoms",
        "leak": True,
        "splits": {split: split_facts(rows) for split, rows in slices.items()},
        "file_only": {"fitted_on": "train", "scored_on": "validation", **scores},
        "findings": [finding],
    }
    return report | changes


@pytest.fixture(scope="module")
def pushed(tmp_path_factory, phantom_slices):
    """A data set, pushed, loaded by others, and pushed again with its audit."""
    folder = tmp_path_factory.mktemp("pushed")
    slices = load_slices(phantom_slices)
    (folder / "audit.json").write_text(json.dumps(report_of(slices)))
    with Hub() as hub:
        first = push(hub, folder, phantom_slices, REPO)
        assert first.returncode == 0, first.stderr
        files = hub.files("dataset", REPO)
        loaded = run_python(LOAD, REPO, cwd=folder, env=hub.environment(folder))
        assert loaded.returncode == 0, loaded.stderr
        again, audited = pushes(
            hub.environment(folder),
            {"arguments": [phantom_slices, REPO]},
            {"arguments": [phantom_slices, REPO, "--audit", folder / "audit.json"]},
        )
        yield SimpleNamespace(
            hub=hub,
            slices=slices,
            first=first,
            files=files,
            loaded=json.loads(loaded.stdout.splitlines()[-1]),
            again=again,
            audited=audited,
        )


def test_a_push_is_private_and_one_commit_with_the_card_and_parquet_alone(pushed):
    assert pushed.hub.is_private("dataset", REPO)
    assert set(pushed.files) == FILES
    last, first, initial = pushed.hub.commits("dataset", REPO)
    assert initial.parent is None
    assert pushed.first.stdout.splitlines()[-1] == f"{pushed.hub.url}/datasets/{REPO}/commit/{first.oid}"
    listed = [line.split()[-1] for line in pushed.first.stdout.splitlines()[:-1]]
    assert {".gitattributes", *listed} == FILES
    assert pushed.audited["out"].splitlines()[-1].endswith(last.oid)


def test_pushing_the_same_again_makes_no_commit(pushed):
    assert pushed.again["status"] == 0
    assert pushed.again["out"] == pushed.first.stdout.replace("new ", "same")


@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset_gives_rows_and_features_back(pushed, streaming):
    for split, rows in pushed.slices.items():
        assert rows.features == FEATURES
        assert pushed.loaded[f"features {streaming}"][split] == repr(FEATURES)
        undecoded = rows.cast_column("image", datasets.Image(decode=False))
        expected = [repr({**row, "image": row["image"]["bytes"].hex()}) for row in undecoded]
        assert pushed.loaded[f"rows {streaming}"][split] == expected
    assert pushed.loaded[f"sizes {streaming}"] == [list(row["image"].size) for row in pushed.slices["train"]]


def test_the_card_is_one_and_its_counts_are_those_of_the_data(pushed):
    text = pushed.files["README.md"].decode()
    card = DatasetCard(text)
    data = card.data.to_dict()
    assert data["pretty_name"] == "slices" and data["license"] == "unknown"
    assert data["task_categories"] == ["image-classification"] and data["size_categories"] == ["n<1K"]
    assert {"medical", "ct", "covid-19"} <= set(data["tags"]) and data["language"] == ["en"]
    assert [(split["name"], split["num_examples"]) for split in data["dataset_info"]["splits"]] == [
        (split, len(rows)) for split, rows in pushed.slices.items()
    ]
    for split, rows in pushed.slices.items():
        counts = [len(rows), rows["label"].count(0), rows["label"].count(1)]
        assert f"| {split} | {' | '.join(map(str, counts))} | not known | not known |" in text
    present, labelled = [
        [sum(lesions[0] == 1 if positive else lesions[0] == lesions[0] for lesions in rows["lesions"])
         for rows in pushed.slices.values()]
        for positive in (True, False)
    ]  # fmt: skip
    cells = " | ".join(f"{p} of {n}" for p, n in zip(present, labelled, strict=True))
    assert f"| ground-glass opacity (`{LESIONS[0]}`) | {cells} |" in text
    for said in ("never for diagnosing a patient", f'load_dataset("{REPO}")', "copyright", "@article"):
        assert said in text


def test_the_card_of_another_data_set_does_not_speak_of_covid_ct(pushed):
    text = pushed.files["README.md"].decode()
    assert "2003.13865" not in text and "COVID-CT" not in text


def test_a_data_set_without_audit_says_so_and_how_to_audit(pushed):
    text = pushed.files["README.md"].decode()
    assert "This data set was not audited" in text and "ladnn data audit" in text
    assert "data_facts.json" not in text


def test_an_audit_goes_into_the_card_and_names_no_slice(pushed):
    assert pushed.audited["status"] == 0, pushed.audited["err"]
    files = pushed.hub.files("dataset", REPO)
    assert set(files) == FILES | {"data_facts.json"}
    card = files["README.md"].decode()
    assert "not audited" not in card and "splits are not apart" in card
    assert "| The caption contradicts the label | 1 | 1 | yes |" in card
    assert "| format, mode | 0.951 (0.902–0.998) | 0.875 (0.800–0.950) |" in card
    told = json.loads(files["data_facts.json"])
    assert told == json.loads(json.dumps(facts(report_of(pushed.slices))))
    for text in (card, files["data_facts.json"].decode()):
        assert "secret" not in text and "a report" not in text


def test_a_dry_run_lists_what_would_go_and_sends_nothing(hub, phantom_slices, tmp_path):
    (said,) = pushes(hub.environment(tmp_path), {"arguments": [phantom_slices, REPO, "--dry-run"]})
    assert said["status"] == 0, said["err"]
    *listed, last = said["out"].splitlines()
    assert {".gitattributes", *(line.split()[-1] for line in listed)} == FILES
    assert all(line.startswith("new ") and int(line.split()[1].replace(",", "")) > 0 for line in listed)
    assert last == f"{REPO}: nothing sent."
    assert not hub.repos and {method for method, _ in hub.requests} <= {"GET", "HEAD"}


def test_images_become_public_by_the_flag_alone(hub, phantom_slices, tmp_path):
    new, again, closed = pushes(
        hub.environment(tmp_path),
        {"arguments": [phantom_slices, "tester/open", PUBLIC]},
        {"arguments": [phantom_slices, "tester/open"]},
        {"arguments": [phantom_slices, "tester/closed"]},
    )
    assert new["status"] == closed["status"] == 0
    assert not hub.is_private("dataset", "tester/open") and hub.is_private("dataset", "tester/closed")
    commits = len(hub.commits("dataset", "tester/open"))
    assert "tester/open: expected a private repository, found a public one" in sentence(again)
    (opened,) = pushes(hub.environment(tmp_path), {"arguments": [phantom_slices, "tester/closed", PUBLIC]})
    assert "tester/closed: expected a public repository, found a private one" in sentence(opened)
    assert hub.is_private("dataset", "tester/closed")
    assert len(hub.commits("dataset", "tester/open")) == commits == 2


def test_each_bad_input_gets_its_sentence(hub, phantom_slices, tmp_path):
    slices = load_slices(phantom_slices)
    other = report_of(slices, splits={"train": split_facts(slices["validation"])})
    (tmp_path / "other.json").write_text(json.dumps(other))
    (tmp_path / "broken.json").write_text("[1")
    train = slices["train"]
    datasets.DatasetDict(train=train, test=train.select([])).save_to_disk(tmp_path / "empty")
    datasets.DatasetDict({"my-test": train}).save_to_disk(tmp_path / "misnamed")
    others = {"token": hub.write_token, "arguments": [phantom_slices, REPO]}

    def audited(name):
        return {"arguments": [phantom_slices, REPO, "--audit", tmp_path / name]}

    cases = [
        ("found none; run `hf auth login`, or set HF_TOKEN", {"token": ""}),
        ("a token that writes, found one that only reads", {"token": hub.read_token}),
        ("a token that the Hub knows", {"token": "hf_wrong"}),
        ("a token of letters and digits", {"token": "hf_\u00e9\u00e8"}),
        ("as OWNER/NAME", {"arguments": [phantom_slices, "slices"]}),
        ("found 'tester/a b'", {"arguments": [phantom_slices, "tester/a b"]}),
        ("found '../slices'", {"arguments": [phantom_slices, "../slices"]}),
        ("someone/slices: expected a token that may", {"arguments": [phantom_slices, "someone/slices"]}),
        ("expected a saved slice data set", {"arguments": [tmp_path, REPO]}),
        (
            "expected slices in every split, found a split without any",
            {"arguments": [tmp_path / "empty", REPO]},
        ),
        ("split 'my-test': expected a name", {"arguments": [tmp_path / "misnamed", REPO]}),
        ("found one of other slices", audited("other.json")),
        ("broken.json: expected the audit.json", audited("broken.json")),
        ("nowhere.json: expected the audit.json", audited("nowhere.json")),
    ]
    said = pushes(hub.environment(tmp_path), *(others | case for _, case in cases))
    for (expected, _), answer in zip(cases, said, strict=True):
        assert expected in sentence(answer)
    assert not hub.repos


def test_without_a_network_a_push_is_refused_in_words(hub, phantom_slices, tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        closed_port = probe.getsockname()[1]
    nowhere = {"HF_ENDPOINT": f"http://127.0.0.1:{closed_port}"}
    (said,) = pushes(hub.environment(tmp_path) | nowhere, {"arguments": [phantom_slices, REPO]})
    assert f"expected an answer from {nowhere['HF_ENDPOINT']}, found none" in sentence(said)


def test_after_a_failure_the_repository_is_as_it_was_and_the_next_push_completes_it(
    hub, phantom_slices, tmp_path
):
    environment, case = hub.environment(tmp_path), {"arguments": [phantom_slices, REPO]}
    hub.fail_next("POST", "/repos/create")
    hub.fail_next("POST", "/commit/")
    uncreated, uncommitted = pushes(environment, case, case)
    for said in (uncreated, uncommitted):
        assert "expected the Hub to take the push, found status 503; push again" in sentence(said)
    assert set(hub.files("dataset", REPO)) == {".gitattributes"} and hub.is_private("dataset", REPO)
    hub.drop_next("POST", "/commit/", in_answer=True)
    lost, complete = pushes(environment, case, case)
    assert "expected an answer" in sentence(lost)
    assert complete["status"] == 0, complete["err"]
    assert set(hub.files("dataset", REPO)) == FILES
    assert len(hub.commits("dataset", REPO)) == 2
    hub.fail_next("PUT", "/lfs-objects/", status=403)
    (unstored,) = pushes(environment, {"arguments": [phantom_slices, "tester/other"]})
    assert "tester/other: expected" in sentence(unstored)
    assert set(hub.files("dataset", "tester/other")) == {".gitattributes"}


def test_a_push_takes_away_what_an_earlier_one_left_and_nothing_else(hub, phantom_slices, tmp_path):
    code = """
import sys
from huggingface_hub import HfApi
from ladnn_hf import parquet_shards
from ladnn_hf.cli import main
parquet_shards._SHARD_BYTES = parquet_shards._GROUP_BYTES = 1
main(["data", "push", sys.argv[1], sys.argv[2]])
HfApi().upload_file(
    repo_id=sys.argv[2], repo_type="dataset", path_in_repo="notes.txt", path_or_fileobj=b"mine"
)
"""
    finished = run_python(code, phantom_slices, REPO, env=hub.environment(tmp_path))
    assert finished.returncode == 0, finished.stderr
    assert "data/train-00001-of-00002.parquet" in hub.files("dataset", REPO)
    assert push(hub, tmp_path, phantom_slices, REPO).returncode == 0
    assert set(hub.files("dataset", REPO)) == FILES | {"notes.txt"}


def test_shards_hold_the_rows_in_order_in_row_groups_of_their_own(phantom_slices, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_shards, "_SHARD_BYTES", 1)
    monkeypatch.setattr(parquet_shards, "_GROUP_BYTES", 1)
    monkeypatch.setattr(parquet_shards, "_READ_ROWS", 10)
    rows = load_slices(phantom_slices)["train"]
    shards = parquet_shards.write_shards("train", rows, tmp_path)
    assert [path.name for path in shards.paths] == [f"train-0000{i}-of-00003.parquet" for i in range(3)]
    names = [
        name for path in shards.paths for name in pyarrow.parquet.read_table(path)["file_name"].to_pylist()
    ]
    assert names == list(rows["file_name"]) and shards.rows == len(rows)


def test_images_in_files_go_in_under_their_names_alone(phantom, tmp_path):
    phantom.save(tmp_path / "mine.png")
    rows = datasets.Dataset.from_dict({"image": [str(tmp_path / "mine.png")], "label": [1]})
    rows = rows.cast_column("image", datasets.Image())
    (path,) = parquet_shards.write_shards("train", rows, tmp_path).paths
    (image,) = pyarrow.parquet.read_table(path)["image"].to_pylist()
    assert image == {"bytes": (tmp_path / "mine.png").read_bytes(), "path": "mine.png"}


@pytest.mark.real_data
def test_the_card_of_covid_ct_tells_its_provenance_and_holds_no_file_name(covid_ct, tmp_path):
    slices = load_slices(covid_ct)
    splits = {split: split_facts(rows) for split, rows in slices.items()}
    shards = {split: parquet_shards.write_shards(split, rows, tmp_path) for split, rows in slices.items()}
    text = dataset_card(REPO, slices, splits, shards)
    for said in (
        "arXiv 2003.13865",
        "UCSD-AI4H/COVID-CT",
        "2020.05.11.20097907",
        "publishers",
        "@article{zhao",
    ):
        assert said in text
    data = yaml.safe_load(io.StringIO(text.split("---")[1]))
    assert data["license"] == "other" and data["license_name"] and data["license_link"].startswith("https://")
    for rows in slices.values():
        for column in ("file_name", "caption"):
            assert not [value for value in rows[column] if value and value in text]


def test_push_is_in_the_help_of_data():
    assert "push" in run_ladnn("data", "--help").stdout
