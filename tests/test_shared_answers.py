"""Many slices answered by several processes: nothing is lost or said twice, whatever dies in between."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import phantom_rows, run_ladnn, run_ladnn_alone, run_python
from datasets import Dataset, DatasetDict

from ladnn_hf import LESIONS, Predictor
from ladnn_hf.export import export_onnx
from ladnn_hf.metrics import probability_metrics, with_intervals
from ladnn_hf.shared_answers import Process, SharedAnswers, launched
from ladnn_hf.slice_dataset import FEATURES, patient_numbers
from ladnn_hf.slice_scores import score_slices
from ladnn_hf.slice_shards import shards_of

COUNT = 40


@pytest.fixture(scope="module")
def rows():
    slices = enumerate(phantom_rows(COUNT, 300))
    return Dataset.from_list(
        [row | {"patient_id": f"patient {number // 3}"} for number, row in slices], features=FEATURES
    )


@pytest.fixture
def tables(rows, tmp_path, monkeypatch):
    """A working folder with the same slices as a saved data set and as two Parquet files."""
    monkeypatch.chdir(tmp_path)
    DatasetDict(train=rows.select(range(30)), test=rows.select(range(30, COUNT))).save_to_disk("saved")
    for number in range(2):
        part = rows.select(range(20 * number, 20 * number + 20))
        part.to_parquet(f"part-{number}.parquet", batch_size=4)
    return tmp_path


@pytest.fixture
def folder(rows, tmp_path, monkeypatch):
    """A working folder with the slices as files, and one that is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slices").mkdir()
    for number, row in enumerate(rows):
        row["image"].save(f"slices/{number:02d}.png")
    (tmp_path / "slices" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path


@pytest.fixture
def launched_as(monkeypatch):
    """Makes this process one of several, as a launcher does."""

    def set_environment(rank, count):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(count))

    return set_environment


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards_of, "__defaults__", (4,))


def answered(*arguments):
    result = run_ladnn("predict", *arguments, "--format", "json")
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_rows_of_a_data_set_are_answered_as_their_pictures_are_and_named_by_their_number(
    micro_folder, tables, rows
):
    for number, row in enumerate(rows):
        row["image"].save(f"{number:02d}.png")
    expected = answered(*(f"{number:02d}.png" for number in range(COUNT)), "--model", micro_folder)
    saved = answered("saved", "--model", micro_folder)
    parquet = answered("part-0.parquet", "part-1.parquet", "--model", micro_folder)
    names = [answer.pop("image") for answer in saved]
    assert names == [f"saved/train#{row}" for row in range(30)] + [f"saved/test#{row}" for row in range(10)]
    assert [answer.pop("image") for answer in parquet[:21]] == [
        *(f"part-0.parquet#{row}" for row in range(20)),
        "part-1.parquet#0",
    ]
    for one in (*expected, *parquet[21:]):
        del one["image"]
    assert saved == parquet == expected
    assert len(answered("saved/test", "--model", micro_folder)) == 10


def test_a_data_set_on_the_hub_is_streamed(micro_folder, tables, hub):
    send = (
        "import sys; from huggingface_hub import HfApi; api = HfApi(); "
        "api.create_repo('tester/slices', repo_type='dataset'); "
        "[api.upload_file(path_or_fileobj=f'part-{n}.parquet', path_in_repo=f'data/part-{n}.parquet', "
        "repo_id='tester/slices', repo_type='dataset') for n in range(2)]"
    )
    environment = hub.environment(tables)
    sent = run_python(send, cwd=tables, env=environment)
    assert sent.returncode == 0, sent.stderr
    for name, count in (("/data/part-1*", 20), ("", COUNT)):
        arguments = ("predict", f"hf://datasets/tester/slices@main{name}", "--model", micro_folder)
        result = run_ladnn_alone(*arguments, "--format", "json", cwd=tables, env=environment)
        assert (result.returncode, len(result.stdout.splitlines())) == (0, count), result.stderr
        assert json.loads(result.stdout.splitlines()[-1])["image"] == (
            "hf://datasets/tester/slices@main/data/part-1.parquet#19"
        )
    (tables / "answers.jsonl").write_text(result.stdout)
    arguments = ("--answers", "answers.jsonl", "--model", micro_folder, "--output", "report")
    dataset = ("--dataset", "hf://datasets/tester/slices@main", "--split", "all")
    result = run_ladnn_alone("evaluate", *dataset, *arguments, cwd=tables, env=environment)
    assert result.returncode == 0, result.stderr
    report = json.loads((tables / "report" / "report.json").read_text())
    assert (report["dataset"], report["split"]) == ("datasets/tester/slices@main", "all")
    nowhere = run_ladnn_alone("predict", "hf://datasets/tester/none", env=environment)
    assert nowhere.returncode == 2 and "expected" in nowhere.stderr and "Traceback" not in nowhere.stderr


def test_a_table_that_is_broken_or_without_pictures_is_refused_in_a_sentence(micro_folder, tables):
    (tables / "broken.parquet").write_bytes(b"PAR1 and no more")
    pq.write_table(pq.read_table("part-0.parquet").select(["label"]), "labels.parquet")
    write_images("text.parquet", pa.string(), "not bytes", "a.png")
    image = pa.StructArray.from_arrays([pa.array([b"one"]), pa.array([b"two"])], ["bytes", "bytes"])
    pq.write_table(pa.table({"image": image}), "twice.parquet")
    (tables / "saved" / "test" / "state.json").write_text("{")
    (tables / "saved" / "train" / "state.json").write_text('{"_data_files": []}')
    bad = ("broken.parquet", "labels.parquet", "text.parquet", "twice.parquet", "saved/train", "saved")
    result = run_ladnn("predict", *bad, "part-0.parquet", "--model", micro_folder, "--format", "json")
    assert (result.returncode, result.stderr) == (1, "")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["image"] for answer in answers[:6]] == list(bad)
    assert all(answer["reason"].startswith("expected ") for answer in answers[:5])
    assert answers[5]["reason"].startswith("saved/train: expected ")  # which of its splits it is
    assert [answer["image"] for answer in answers[6:]] == [f"part-0.parquet#{row}" for row in range(20)]


def test_rows_after_a_broken_place_of_a_table_are_refused_and_the_others_answered(micro_folder, tables):
    group = pq.read_metadata("part-0.parquet").row_group(3).column(0)  # of five, of four rows each
    content = bytearray((tables / "part-0.parquet").read_bytes())
    place = group.dictionary_page_offset or group.data_page_offset
    content[place : place + group.total_compressed_size] = bytes(group.total_compressed_size)
    (tables / "part-0.parquet").write_bytes(content)
    answers = answered("part-0.parquet", "part-1.parquet", "--model", micro_folder)
    assert [answer["image"] for answer in answers] == [
        *(f"part-0.parquet#{row}" for row in range(20)),
        *(f"part-1.parquet#{row}" for row in range(20)),
    ]
    broken = ["rows of slices that can be read" in (answer["reason"] or "") for answer in answers]
    assert broken == [False] * 12 + [True] * 8 + [False] * 20


def write_images(path, kind, content, name):
    image = pa.array([{"bytes": content, "path": name}], pa.struct({"bytes": kind, "path": pa.string()}))
    pq.write_table(pa.table({"image": image}), path, compression="none", use_dictionary=False)


def test_a_table_whose_text_is_no_text_is_refused_in_a_sentence(tables):
    write_images("rows.parquet", pa.binary(), b"a picture", "COVID.png")
    content = (tables / "rows.parquet").read_bytes()
    (tables / "rows.parquet").write_bytes(content.replace(b"COVID.png", b"COVID\xffpng"))
    (shard,) = shards_of(["rows.parquet"])
    ((name, refusal),) = shard.slices()
    assert name == "rows.parquet#0" and str(refusal).startswith("expected rows of slices that can be read")


def test_a_data_set_whose_columns_have_no_readable_names_is_refused_in_a_sentence(tables):
    (path,) = (tables / "saved" / "test").glob("*.arrow")
    path.write_bytes(path.read_bytes().replace(b"caption", b"capti\xffn"))
    (shard,) = shards_of(["saved/test"])
    ((name, refusal),) = shard.slices()
    assert name == "saved/test" and str(refusal).startswith("expected rows of slices that can be read")


def test_a_row_without_a_picture_is_refused_and_names_no_file_of_this_machine(
    micro_folder, phantom, tmp_path
):
    phantom.save(tmp_path / "secret.png")
    pictures = [{"bytes": None, "path": str(tmp_path / "secret.png")}, None]
    rows = Dataset.from_dict({"image": pictures}, features=FEATURES.__class__(image=FEATURES["image"]))
    rows.to_parquet(tmp_path / "rows.parquet")
    for answer in answered(tmp_path / "rows.parquet", "--model", micro_folder):
        assert answer["decision"] == "refused" and "bytes" in answer["reason"]


@pytest.mark.parametrize("form", ["json", "csv", "table"])
@pytest.mark.usefixtures("small_shards")
def test_processes_end_in_the_file_that_one_writes(micro_folder, folder, launched_as, form):
    arguments = ("predict", "slices", "--model", micro_folder, "--format", form, "--output")
    assert run_ladnn(*arguments, "alone").returncode == 1  # one is refused
    for rank in (2, 0, 1):
        assert not (folder / "shared").exists()
        launched_as(rank, 3)
        assert run_ladnn(*arguments, "shared").returncode == 0  # a launcher would stop the others
    assert (folder / "shared").read_bytes() == (folder / "alone").read_bytes()
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["alone", "shared"]
    assert not list(folder.glob("*shared.parts*")) and not list(folder.glob(".*"))


@pytest.mark.usefixtures("small_shards")
def test_a_process_that_starts_when_all_is_done_leaves_it(micro_folder, folder, launched_as):
    arguments = ("predict", "slices", "--model", micro_folder, "--output", "answers")
    launched_as(0, 1)
    run_ladnn(*arguments)
    before = (folder / "answers").stat()
    result = run_ladnn(*arguments)
    assert result.returncode == 0 and "is there already" in result.stderr
    assert (folder / "answers").stat() == before and not (folder / "answers.parts").exists()


@pytest.mark.usefixtures("small_shards")
def test_parts_of_other_slices_or_another_model_are_never_mixed_in(micro_folder, folder, launched_as):
    arguments = ("--model", micro_folder, "--output", "answers")
    launched_as(0, 2)
    assert run_ladnn("predict", "slices", *arguments).returncode == 0
    for change in (("slices/00.png",), ("slices", "--no-gate"), ("slices", "--format", "csv")):
        result = run_ladnn("predict", *change, *arguments)
        assert result.returncode == 2 and "found parts of others" in result.stderr
    config = json.loads((micro_folder / "config.json").read_text())
    (micro_folder / "config.json").write_text(json.dumps(config | {"threshold": 0.4}))
    assert "found parts of others" in run_ladnn("predict", "slices", *arguments).stderr


def test_processes_need_a_file_that_all_see(micro_folder, folder, launched_as):
    launched_as(0, 2)
    result = run_ladnn("predict", "slices", "--model", micro_folder)
    assert result.returncode == 2 and "expected --output" in result.stderr
    launched_as(2, 2)
    result = run_ladnn("predict", "slices", "--model", micro_folder, "--output", "answers")
    assert result.returncode == 2 and "RANK and WORLD_SIZE" in result.stderr


def test_any_number_of_processes_share_all_parts_without_a_repeat(tmp_path, launched_as):
    for count in (1, 2, 3, 7):
        shared = SharedAnswers(tmp_path / "answers", map(str, range(5)), [])
        shares = [list(shared.missing(Process(rank, count))) for rank in range(count)]
        assert sorted(number for share in shares for number in share) == list(range(5))
    launched_as(1, 3)
    assert launched() == Process(1, 3)


def test_a_run_killed_in_the_middle_goes_on_with_another_number_of_processes(micro_folder, folder, tmp_path):
    export_onnx(micro_folder, tmp_path / "exported")
    # Small shards, a pause before each is written, and no torch in any process.
    script = tmp_path / "ladnn.py"
    script.write_text(
        "import sys, time\n"
        "from ladnn_hf import cli, shared_answers, slice_shards\n"
        "slice_shards.shards_of.__defaults__ = (2,)\n"
        "write = shared_answers.SharedAnswers.write\n"
        "def slowly(*given):\n"
        "    time.sleep(0.2)\n"
        "    write(*given)\n"
        "    assert 'torch' not in sys.modules\n"
        "shared_answers.SharedAnswers.write = slowly\n"
        "sys.exit(cli.main())\n"
    )
    arguments = [sys.executable, script, "predict", "slices", "--model", "exported", "--format", "json"]

    def started(rank, count):
        environment = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*arguments, "--output", "answers"], env=environment)

    first, second = started(0, 2), started(1, 2)
    parts = folder / "answers.parts"
    deadline = time.monotonic() + 60
    while len(list(parts.glob("0*"))) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second.send_signal(signal.SIGKILL)
    assert (first.wait(), second.wait()) == (0, -signal.SIGKILL)
    assert not (folder / "answers").exists()
    kept = {part.name: part.stat().st_mtime_ns for part in parts.glob("0*")}
    assert 5 <= len(kept) < 21
    again = [started(rank, 3) for rank in range(2)]
    assert [process.wait() for process in again] == [0, 0]
    assert {name: (parts / name).stat().st_mtime_ns for name in kept} == kept
    assert started(2, 3).wait() == 0
    expected = run_ladnn("predict", "slices", "--model", "exported", "--format", "json", "--output", "alone")
    assert expected.returncode == 1
    assert (folder / "answers").read_bytes() == (folder / "alone").read_bytes()
    assert not parts.exists()


@pytest.mark.parametrize("dataset", ["saved", "rows.parquet"])
def test_answers_are_scored_as_the_model_is(micro_folder, tables, rows, dataset):
    rows.select(range(30, COUNT)).to_parquet("rows.parquet")
    asked = "saved/test" if dataset == "saved" else dataset
    run_ladnn("predict", asked, "--model", micro_folder, "--format", "json", "--output", "answers.jsonl")
    arguments = (
        "--model",
        micro_folder,
        "--split",
        "test",
        "--dataset",
        dataset,
        "--answers",
        "answers.jsonl",
    )
    result = run_ladnn("evaluate", *arguments, "--output", "report")
    assert result.returncode == 0, result.stderr
    report = json.loads((tables / "report" / "report.json").read_text())
    asked_again = score_slices(Predictor(micro_folder), rows.select(range(30, COUNT)), "test")
    labels = np.array(rows["label"][30:])
    expected = with_intervals(
        probability_metrics, labels, asked_again.covid, patients=patient_numbers(rows["patient_id"][30:])
    )
    assert report["probabilities"].keys() == expected.keys()
    for name, numbers in expected.items():
        assert report["probabilities"][name] == pytest.approx(numbers), name
    assert report["slices"] == 10 and report["refused"] == sum(asked_again.decisions == "refused")
    labelled = [numbers["labelled"] for numbers in report["lesions"].values()]
    assert labelled == [int(sum(not np.isnan(one[0]) for one in rows["lesions"][30:]))] * len(LESIONS)
    assert [row["name"] for row in report["rows"]] == ["official"]


def test_rows_are_not_replaced_by_the_answers_to_them(micro_folder, tables):
    before = (tables / "part-0.parquet").read_bytes()
    ask = ("predict", "part-1.parquet", "part-0.parquet", "--model", micro_folder)
    result = run_ladnn(*ask, "--output", "part-0.parquet")
    assert result.returncode == 2 and "found one of the slices; name another." in result.stderr
    assert (tables / "part-0.parquet").read_bytes() == before


def test_answers_to_other_rows_or_of_another_model_are_not_scored(micro_folder, tables):
    predict = ("predict", "--model", micro_folder, "--format", "json", "--output", "answers.jsonl")
    evaluate = ("evaluate", "--dataset", "saved", "--answers", "answers.jsonl", "--output", "report")
    for asked, model, said in (
        ("saved/train", micro_folder, "expected the answer to test#0, found one to saved/train#0"),
        ("saved/test", "", "expected an answer of bundled"),
    ):
        run_ladnn(*predict, asked)
        result = run_ladnn(*evaluate, *(("--model", model) if model else ()))
        assert result.returncode == 1 and said in result.stderr
    lines = (tables / "answers.jsonl").read_text().splitlines(keepends=True)
    answer = json.loads(lines[0])
    for kept, said in (
        (lines[:-1], "expected an answer to test#9 too"),
        (["{}"], "line 1: expected an answer"),
        ([json.dumps(answer | {"image": 5})], "line 1: expected an answer"),
        ([json.dumps(answer | {"decision": "positive", "covid_probability": None})], "expected an answer"),
        ([json.dumps(answer | {"decision": "positive", "lesions": {"GGO": 0.5}})], "expected an answer"),
    ):
        (tables / "answers.jsonl").write_text("".join(kept))
        result = run_ladnn(*evaluate, "--model", micro_folder)
        assert result.returncode == 1 and said in result.stderr
    (tables / "answers.jsonl").unlink()
    assert "answers.jsonl: expected the answers" in run_ladnn(*evaluate).stderr
    assert not (tables / "report").exists()
