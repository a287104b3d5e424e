"""Publishing a model, and using what was published, with the real clients in processes of their own."""

import json
import shutil
import socket
import time
from contextlib import closing
from types import SimpleNamespace

import pytest
from conftest import ROOT, run_ladnn_alone, run_python
from hub_server import Hub
from huggingface_hub import ModelCard

from ladnn_hf import Predictor, draw_phantom
from ladnn_hf.evaluation_figures import FIGURES
from ladnn_hf.model_folder import BUNDLED

REPO = "tester/ladnn"
CORE = {path.name for path in (ROOT / "ladnn_hf").glob("*_ladnn.py")}
CORE |= {"attention.py", "labels.py", "picture_checks.py"}
WRITTEN = CORE | {
    ".gitattributes",
    "README.md",
    "config.json",
    "fine_tune.ipynb",
    "fine_tune.py",
    "handler.py",
    "model.safetensors",
    "preprocessor_config.json",
    "requirements.txt",
}
FIGURE_FILES = {f"{name}.png" for name in FIGURES}

# Runs several commands in one process, since importing the libraries takes the most time.
COMMANDS = """
import contextlib, io, json, os, sys
cases, without = json.loads(sys.argv[1]), json.loads(sys.argv[2])
sys.modules.update(dict.fromkeys(without))  # so that they are not found
from ladnn_hf.cli import main
said = []
for case in cases:
    os.environ["HF_TOKEN"] = case.get("token", os.environ["HF_TOKEN"])
    streams = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            status = main(case["arguments"])
        except SystemExit as end:
            status = end.code
    said.append({"status": status, "out": streams[0].getvalue(), "err": streams[1].getvalue()})
print(json.dumps(said))
"""
REMOTE = """
import json, sys
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline
repo, revision, picture = sys.argv[1:]
where = {"revision": revision, "trust_remote_code": True}
classify = pipeline("image-classification", model=repo, **where)
scores = {answer["label"]: answer["score"] for answer in classify(picture)}
model = AutoModelForImageClassification.from_pretrained(repo, **where).eval()
pixels = AutoImageProcessor.from_pretrained(repo, **where)(Image.open(picture), return_tensors="pt")
covid = model(**pixels).logits.softmax(dim=1)[0, 1].item()
whole = pipeline("chest-ct-classification", model=repo, **where)(picture, gate=False)
print(json.dumps([scores, covid, whole]))
"""
ENDPOINT = """
import base64, importlib.util, json, sys
from pathlib import Path
from huggingface_hub import snapshot_download
from PIL import Image
folder = snapshot_download(sys.argv[1], revision=sys.argv[2])
spec = importlib.util.spec_from_file_location("handler", f"{folder}/handler.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
handler = module.EndpointHandler(folder)
content = Path(sys.argv[3]).read_bytes()
said = [
    handler({"inputs": inputs})
    for inputs in (
        content,
        base64.b64encode(content).decode(),
        Image.open(sys.argv[3]),
        Image.effect_noise((300, 300), 90),
    )
]
try:
    handler({"inputs": "no picture"})
except ValueError as error:
    said.append(str(error))
print(json.dumps(said))
"""
ANSWER = """
import json, sys
from ladnn_hf import Predictor
print(json.dumps([Predictor(model)(sys.argv[1]).to_dict() for model in sys.argv[2:]]))
assert "torch" not in sys.modules
"""


def commands(environment, *cases, without=()):
    """What each command says; a case is its arguments, or a dict of `arguments` and `token`."""
    cases = [case if isinstance(case, dict) else {"arguments": case} for case in cases]
    cases = [case | {"arguments": list(map(str, case["arguments"]))} for case in cases]
    finished = run_python(COMMANDS, json.dumps(cases), json.dumps(without), env=environment)
    assert finished.returncode == 0, finished.stderr
    return [SimpleNamespace(**said) for said in json.loads(finished.stdout.splitlines()[-1])]


def states(said):
    """What became of each file, by its name."""
    assert said.status == 0, said.err
    return {line.split()[-1]: line.split()[0] for line in said.out.splitlines()[:-1]}


def sentence(said):
    """The one sentence with which a command is refused."""
    assert said.status == 1 and not said.out, said
    line = said.err.strip().splitlines()[-1]
    assert line.startswith("ladnn: ") and line.endswith(".") and "; " in line and "expected" in line
    assert "Traceback" not in said.err and "hf_" not in said.err
    return line


@pytest.fixture(scope="module")
def phantom_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("phantom") / "phantom.png"
    draw_phantom(["GGO"], level=0.45, seed=1).save(path)
    return path


@pytest.fixture(scope="module")
def in_package(phantom_file):
    """What the package itself answers; test_bundled holds it to the golden numbers."""
    return Predictor()(phantom_file)


@pytest.fixture(scope="module")
def published(tmp_path_factory, phantom_file):
    """The bundled checkpoint: listed, pushed, pushed again, and answered with."""
    folder = tmp_path_factory.mktemp("published")
    with Hub() as hub:
        environment = hub.environment(folder)
        listed, pushed, again, predicted = commands(
            environment,
            ["push", REPO, "--dry-run"],
            ["push", REPO, "--tag", "v1"],
            ["push", REPO, "--tag", "v1"],
            ["predict", phantom_file, "--model", f"{REPO}@v1", "--format", "json"],
        )
        yield SimpleNamespace(
            hub=hub,
            environment=environment,
            folder=folder,
            listed=listed,
            pushed=pushed,
            again=again,
            predicted=predicted,
        )


def test_a_dry_run_lists_what_the_push_sends(published):
    assert states(published.listed) == states(published.pushed)
    assert set(states(published.pushed).values()) == {"new"}
    assert published.listed.out.splitlines()[-1] == f"{REPO}: nothing sent."


def test_a_push_is_one_private_commit_with_all_that_others_need(published):
    hub = published.hub
    assert hub.is_private("model", REPO) and len(hub.commits("model", REPO)) == 2
    files = hub.files("model", REPO, "v1")
    assert set(files) == WRITTEN | {"model.onnx", "report.json", *FIGURE_FILES}
    assert files["model.safetensors"] == (BUNDLED / "model.safetensors").read_bytes()
    assert "auto_map" in json.loads(files["config.json"])
    card = ModelCard(files["README.md"].decode())
    auc = json.loads(files["report.json"])["test"]["probabilities"]["auc"][0]
    assert auc == pytest.approx(card.data.eval_results[0].metric_value, abs=1e-4)
    assert published.pushed.out.splitlines()[-1].endswith(hub.commits("model", REPO)[0].oid)


def test_the_same_push_again_sends_nothing_and_keeps_the_tag(published):
    assert set(states(published.again).values()) == {"same"}
    sent = [path for method, path in published.hub.requests if method == "PUT"]
    assert len(sent) == len({"model.safetensors", "model.onnx", *FIGURE_FILES})
    assert published.again.out.splitlines()[-1] == published.pushed.out.splitlines()[-1]


def test_each_way_of_transformers_gives_the_same_numbers_without_the_package_and_then_offline(
    published, without_package, phantom_file, in_package, tmp_path
):
    environment = published.hub.environment(tmp_path)
    for offline in ("0", "1"):
        asked = len(published.hub.requests)
        environment |= {"HF_HUB_OFFLINE": offline}
        said = without_package(REMOTE, REPO, "v1", phantom_file, cwd=tmp_path, env=environment)
        assert said.returncode == 0, said.stderr
        scores, covid, whole = json.loads(said.stdout.splitlines()[-1])
        for found in (scores["COVID"], covid, whole["covid_probability"]):
            assert found == pytest.approx(in_package.covid_probability, abs=1e-4)
        assert scores["COVID"] + scores["NonCOVID"] == pytest.approx(1, abs=1e-5)
        assert whole["lesions"] == pytest.approx(in_package.lesions, abs=1e-4)
        assert (whole["decision"], whole["label"]) == (in_package.decision, in_package.label)
        assert (len(published.hub.requests) == asked) == (offline == "1")


def test_an_endpoint_answers_whole_as_its_service_calls_it(
    published, without_package, phantom_file, in_package, tmp_path
):
    environment = published.hub.environment(tmp_path)
    said = without_package(ENDPOINT, REPO, "v1", phantom_file, cwd=tmp_path, env=environment)
    assert said.returncode == 0, said.stderr
    *answers, noise, fault = json.loads(said.stdout.splitlines()[-1])
    for answer in answers:
        assert answer["covid_probability"] == pytest.approx(in_package.covid_probability, abs=1e-4)
        assert answer["lesions"] == pytest.approx(in_package.lesions, abs=1e-4)
        assert (answer["decision"], answer["label"]) == (in_package.decision, in_package.label)
    assert noise["decision"] == "refused" and noise["covid_probability"] is None
    assert "expected a picture as `inputs`, found none; send" in fault


def test_predict_answers_from_the_hub_and_later_from_the_cache(published, phantom_file, in_package):
    answer = json.loads(published.predicted.out)
    assert answer["covid_probability"] == pytest.approx(in_package.covid_probability, abs=1e-4)
    assert answer["lesions"] == pytest.approx(in_package.lesions, abs=1e-4)
    assert answer["model"] == f"{REPO}@v1"
    sent = len(published.hub.requests)
    offline = published.environment | {"HF_HUB_OFFLINE": "1"}
    said = run_python(ANSWER, phantom_file, f"{REPO}@v1", cwd=published.folder, env=offline)
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout) == [answer]
    assert len(published.hub.requests) == sent


def test_only_what_answers_is_fetched_even_if_a_download_breaks_off(published, phantom_file, tmp_path):
    published.hub.drop_next("GET", "/resolve/.*/model.onnx")
    said = run_python(ANSWER, phantom_file, REPO, cwd=tmp_path, env=published.hub.environment(tmp_path))
    assert said.returncode == 0, said.stderr
    fetched = {path.name for path in tmp_path.rglob("snapshots/*/*")}
    assert fetched == {"config.json", "preprocessor_config.json", "report.json", "model.onnx"}


def test_weights_are_fetched_for_the_engine_that_runs_them(published, phantom_file, in_package, tmp_path):
    case = ["predict", phantom_file, "--model", REPO, "--engine", "torch", "--format", "json"]
    (said,) = commands(published.hub.environment(tmp_path), case)
    assert json.loads(said.out)["covid_probability"] == pytest.approx(in_package.covid_probability, abs=1e-4)


def test_a_download_broken_off_for_good_is_said_and_completed_by_the_next(published, phantom_file, tmp_path):
    environment = published.hub.environment(tmp_path)
    case = ["predict", phantom_file, "--model", REPO, "--format", "json"]
    published.hub.drop_next("GET", "/resolve/.*/model.onnx", times=99)
    (broken,) = commands(environment, case)
    published.hub.forgive()
    (offline,) = commands(environment | {"HF_HUB_OFFLINE": "1"}, case)  # what is half there is not whole
    for said in (broken, offline):
        assert said.status and not said.out and "Traceback" not in said.err
        words = f"{REPO}: expected a folder, or a model from {published.hub.url}, found neither"
        assert words in said.err.splitlines()[-1]
    (complete,) = commands(environment, case)
    assert complete.status == 0 and complete.out == published.predicted.out.replace("@v1", "")


def test_a_model_that_cannot_be_had_is_refused_in_words(published, phantom_file, tmp_path):
    def predict(model, **token):
        return {"arguments": ["predict", phantom_file, "--model", model], **token}

    published.hub.create("model", "someone/other", private=False)
    cases = [
        ("expected a branch, tag or commit", predict(f"{REPO}@v9")),
        ("expected a LA-DNN model, found a repository without config.json", predict("someone/other")),
        ("a token of letters and digits", predict(REPO, token="hf_\u00e9")),
        (
            "tester/nowhere: expected a folder, or a model on the Hub",
            predict("tester/nowhere", token=published.hub.write_token),
        ),
        ("expected a folder, or a model on the Hub that you may read", predict(REPO, token="")),
        ("expected a model folder with config.json", predict("nowhere")),
    ]
    said = commands(published.hub.environment(tmp_path), *(case for _, case in cases))
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        nowhere = {"HF_ENDPOINT": f"http://127.0.0.1:{probe.getsockname()[1]}"}
    said += commands(published.hub.environment(tmp_path / "other") | nowhere, predict(REPO))
    expected = [words for words, _ in cases] + [f"a model from {nowhere['HF_ENDPOINT']}, found neither"]
    for words, answer in zip(expected, said, strict=True):
        assert answer.status == (2 if "model folder" in words else 1) and not answer.out
        (line,) = answer.err.strip().splitlines()
        assert words in line and line.endswith(".") and "hf_" not in line


def test_without_a_network_each_command_says_so_at_once_and_does_not_try_again(
    published, phantom_file, tmp_path
):
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    began = time.monotonic()
    for command in (
        ["push", published.folder, REPO],
        ["push", "--space", "tester/page", "--model", REPO],
        ["data", "push", tmp_path, "tester/slices"],
        ["predict", phantom_file, "--model", REPO],
        ["export", "--format", "hf", "--model", REPO, "--output", tmp_path / "model"],
    ):
        said = run_ladnn_alone(*command, env=published.hub.environment(tmp_path) | nowhere)
        assert said.returncode == 1 and not said.stdout
        (line,) = said.stderr.strip().splitlines()
        assert "127.0.0.1:9, found " in line and line.endswith(".")
    assert time.monotonic() - began < 60  # transformers would try for half a minute, torch take seconds


def test_a_model_of_the_hub_is_exported_and_pushed_on_by_its_name(published, tmp_path):
    exported, pushed = commands(
        published.hub.environment(tmp_path),
        ["export", "--format", "hf", "--model", f"{REPO}@v1", "--output", tmp_path / "model"],
        ["push", f"{REPO}@v1", "tester/second"],
    )
    assert exported.status == 0, exported.err
    assert pushed.status == 0 and not pushed.err
    first = published.hub.files("model", REPO, "v1")
    for name, content in published.hub.files("model", "tester/second").items():
        if name not in ("README.md", "fine_tune.py", "fine_tune.ipynb"):  # they name the repository
            assert content == first[name], name
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == first["model.safetensors"]


def test_a_model_without_report_or_export_goes_and_says_so(hub, micro_folder, tmp_path):
    for name in ("training_args.bin", "optimizer.pt", "rng_state.pth", "notes.txt"):
        (micro_folder / name).write_bytes(b"\x80\x04pickle")
    (said,) = commands(hub.environment(tmp_path), ["push", micro_folder, REPO], without=["onnx"])
    files = hub.files("model", REPO)
    assert set(files) == WRITTEN and set(states(said)) == WRITTEN - {".gitattributes"}
    assert "**Not evaluated.**" in files["README.md"].decode()
    export, report, training = said.err.strip().splitlines()
    assert "the package onnx for an ONNX export" in export
    assert "expected a report of the weights, found none" in report and "metrics.json" in training


def test_an_export_is_made_where_there_is_none(hub, micro_folder, tmp_path):
    (said,) = commands(hub.environment(tmp_path), ["push", micro_folder, REPO])
    assert states(said)["model.onnx"] == "new" and "ONNX" not in said.err
    assert not (micro_folder / "model.onnx").exists()


def test_a_push_tells_what_differs_and_goes_to_a_branch_or_a_pull_request(hub, micro_folder, tmp_path):
    metrics = {"command": "ladnn train --dataset phantoms", "seed": 1, "versions": {"torch": "2.11"}}
    (micro_folder / "metrics.json").write_text(json.dumps(metrics))
    other = tmp_path / "other"
    shutil.copytree(micro_folder, other)
    (other / "metrics.json").unlink()
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"threshold": 0.75}))
    first, branch, requested, moved, both = commands(
        hub.environment(tmp_path),
        ["push", micro_folder, REPO, "--tag", "v1"],
        ["push", other, REPO, "--branch", "trial", "--tag", "v2"],
        ["push", other, REPO, "--pull-request"],
        ["push", other, REPO, "--tag", "v1"],
        ["push", other, REPO, "--tag", "v3", "--pull-request"],
        without=["onnx"],
    )
    assert set(states(first).values()) == {"new"}
    changed = {name: state for name, state in states(branch).items() if state != "same"}
    assert changed == {"README.md": "changed", "config.json": "changed", "metrics.json": "removed"}
    assert states(requested) == states(branch) and "/discussions/1" in requested.out.splitlines()[-1]
    assert "found v1 of another commit; name another" in sentence(moved)
    assert "expected a pull request, or a branch and a tag" in sentence(both)
    for revision in ("trial", "v2", "refs/pr/1"):
        files = hub.files("model", REPO, revision)
        assert json.loads(files["config.json"])["threshold"] == 0.75 and "metrics.json" not in files
    assert len(hub.commits("model", REPO)) == 2 and "metrics.json" in hub.files("model", REPO, "v1")


def test_each_bad_input_gets_its_sentence(hub, micro_folder, tmp_path):
    stale, pickled = tmp_path / "stale", tmp_path / "pickled"
    shutil.copytree(micro_folder, stale)
    (stale / "report.json").write_text(json.dumps({"split": "test", "weights_sha256": 64 * "0"}))
    shutil.copytree(micro_folder, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    partial, untold = tmp_path / "partial", tmp_path / "untold"
    shutil.copytree(micro_folder, partial)
    (partial / "report.json").write_text(json.dumps({"test": "well"}))
    shutil.copytree(micro_folder, untold)
    (untold / "metrics.json").write_text(json.dumps({"seed": 1}))
    hub.create("model", "someone/open", private=False)
    hub.create("model", "someone/closed", private=True)
    there = dict(hub.repos)
    others = {"token": hub.write_token, "arguments": ["push", micro_folder, REPO]}
    cases = [
        ("found none; run `hf auth login`, or set HF_TOKEN", {"token": ""}),
        ("a token that writes, found one that only reads", {"token": hub.read_token}),
        ("a token that the Hub knows", {"token": "hf_wrong"}),
        ("as OWNER/NAME", {"arguments": ["push", micro_folder, "ladnn"]}),
        ("someone/ladnn: expected a token that may", {"arguments": ["push", micro_folder, "someone/ladnn"]}),
        ("a private repository, found a public", {"arguments": ["push", micro_folder, "someone/open"]}),
        (
            "someone/open: expected a token that may write there",
            {"arguments": ["push", micro_folder, "someone/open", "--public"]},
        ),
        ("someone/closed: expected a token that", {"arguments": ["push", micro_folder, "someone/closed"]}),
        ("expected a report of the weights beside it", {"arguments": ["push", stale, REPO]}),
        ("what `ladnn evaluate` writes, found something", {"arguments": ["push", partial, REPO]}),
        ("without all that a card says", {"arguments": ["push", untold, REPO]}),
        (
            "only pickled weights (pytorch_model.bin), which are never loaded",
            {"arguments": ["push", pickled, REPO]},
        ),
        ("expected a model folder with config.json", {"arguments": ["push", tmp_path, REPO]}),
        *(
            ("branch or tag of letters", {"arguments": ["push", micro_folder, REPO, "--tag", name]})
            for name in ("a b", "a..b", "a/", "a.lock", "refs/heads/a")
        ),
        ("without '--', '..' and a '.git'", {"arguments": ["push", micro_folder, "tester/a--b"]}),
    ]
    said = commands(hub.environment(tmp_path), *(others | case for _, case in cases), without=["onnx"])
    for (words, _), answer in zip(cases, said, strict=True):
        assert words in sentence(answer)
    assert hub.repos == there and all(len(repo.by_oid) == 1 for repo in there.values())
