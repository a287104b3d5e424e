"""`push_to_hub` in a training run: our card and no pickle, and checkpoints as `hub_strategy` says."""

import json

import pytest
from huggingface_hub import ModelCard
from test_model_push import commands, sentence
from test_training import MICRO
from transformers import TrainingArguments

from ladnn_hf.hub_training import HubTrainer

PICKLES = (".bin", ".pt", ".pth", ".pkl")
KEPT = {"config.json", "model.safetensors", "preprocessor_config.json", "trainer_state.json"}


def run(dataset, output, name, *flags):
    """The arguments of a run of two epochs, each of which ends with a checkpoint."""
    return [
        *("train", "--dataset", dataset, "--output_dir", output / name, *MICRO, "--num_train_epochs", "2"),
        *("--push_to_hub", "True", "--hub_model_id", f"tester/{name}", *flags),
    ]


@pytest.fixture(scope="module")
def small_slices(phantom_slices, tmp_path_factory):
    """Eight slices to train on and eight to validate with."""
    from datasets import DatasetDict, load_from_disk

    slices = load_from_disk(phantom_slices)
    folder = tmp_path_factory.mktemp("small") / "phantoms"
    DatasetDict(train=slices["train"].select(range(8)), validation=slices["validation"]).save_to_disk(folder)
    return folder


def test_a_run_pushes_our_card_and_checkpoints_as_asked_and_no_pickle(hub, small_slices, tmp_path):
    names = ("end", "every_save", "checkpoint", "all_checkpoints")
    hub.fail_next("POST", "tester/checkpoint/commit/", times=1)
    cases = [run(small_slices, tmp_path, name, "--hub_strategy", name) for name in names]
    for name, said in zip(names, commands(hub.environment(tmp_path), *cases, without=["onnx"]), strict=True):
        assert said.status == 0, said.err
        assert ("found status 503; push again" in said.err) == (name == "checkpoint"), "and the run went on"
        assert hub.is_private("model", f"tester/{name}")
    pushes = {name: len(hub.commits("model", f"tester/{name}")) - 1 for name in names}
    assert pushes == {"end": 1, "every_save": 3, "checkpoint": 2, "all_checkpoints": 3}
    kept = {"checkpoint": {"last-checkpoint"}, "all_checkpoints": {"checkpoint-2", "checkpoint-4"}}
    for name in names:
        files = hub.files("model", f"tester/{name}")
        assert not [path for path in files if path.endswith(PICKLES)]
        folders = {path.split("/")[0] for path in files if "/" in path}
        assert folders == kept.get(name, set())
        for folder in folders:
            assert {path.split("/")[1] for path in files if path.startswith(f"{folder}/")} == KEPT
        card = ModelCard(files["README.md"].decode())
        assert "never for diagnosing a patient" in card.text and f'model="tester/{name}"' in card.text
        assert json.loads(files["metrics.json"])["command"] in card.text


def test_a_run_that_cannot_be_pushed_is_refused_before_it_begins(hub, small_slices, tmp_path):
    def case(*flags, **token):
        return {"arguments": run(small_slices, tmp_path, "mine", *flags), **token}

    nameless = case()
    nameless["arguments"] = nameless["arguments"][: nameless["arguments"].index("--hub_model_id")]
    cases = [
        ("expected a repository as OWNER/NAME", nameless),
        ("found one that only reads", case(token=hub.read_token)),
        ("branch or tag of letters", case("--hub_revision", "a b", token=hub.write_token)),
    ]
    for (words, _), said in zip(
        cases, commands(hub.environment(tmp_path), *(c for _, c in cases)), strict=True
    ):
        assert words in sentence(said)
    assert not (tmp_path / "mine" / "model.safetensors").exists() and not hub.repos


def test_a_token_among_the_arguments_is_refused_and_not_repeated(micro_model, tmp_path):
    arguments = TrainingArguments(
        str(tmp_path), push_to_hub=True, hub_model_id="tester/mine", hub_token="hf_secret", use_cpu=True
    )
    with pytest.raises(ValueError, match="leave it out") as refusal:
        HubTrainer(micro_model, arguments)
    assert "hf_secret" not in str(refusal.value)
