import csv
import errno
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import datetime

import numpy as np
import pytest
from conftest import run_ladnn, run_ladnn_alone, run_python
from PIL import Image, PngImagePlugin

from ladnn_hf import LESIONS
from ladnn_hf.contributions import ContributionStore, StoreUnavailable

REPO = "tester/contributions"
KILLS = int(os.environ.get("LADNN_KILLS", "20"))
GROUND_GLASS = dict.fromkeys(LESIONS, False) | {"GGO": True}

# What children share: slices of noise, no two alike.
SLICES = """
import json, os, sys, time
from pathlib import Path
import numpy as np
from PIL import Image
from ladnn_hf.contributions import ContributionStore, StoreUnavailable
def grey(seed, side=64):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8))
"""
# Each line acknowledges; of three slices one stays waiting, one is accepted and one withdrawn.
ADD_UNTIL_KILLED = f"""{SLICES}
store = ContributionStore(Path(sys.argv[1]))
for seed in range(int(sys.argv[2]), sys.maxsize):
    receipt = store.add(grey(seed), label="COVID", report=f"slice {{seed}}")
    print(seed, receipt.id, receipt.code, 0, flush=True)
    if seed % 3 == 1:
        store.accept(receipt.id)
        print(seed, receipt.id, receipt.code, 1, flush=True)
    if seed % 3 == 2:
        store.withdraw(receipt.code)
        print(seed, receipt.id, receipt.code, 3, flush=True)
"""
ADD_TWENTY = f"""{SLICES}
store, added = ContributionStore(Path(sys.argv[1])), 0
for seed in range(20):
    try:
        store.add(grey(seed), label="COVID")
        added += 1
    except ValueError as error:
        assert "contributed already" in str(error)
print(added)
"""
# A file can be of so many bytes and no more: the journal's next line then goes in by a part.
ADD_UNTIL_FULL = f"""{SLICES}
import resource
store = ContributionStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
added = []
try:
    for seed in range(100):
        added.append(store.add(grey(seed, 32), label="COVID").id)
except StoreUnavailable as error:
    print(json.dumps([added, str(error)]))
"""
ADD_TO_READ_ONLY = f"""{SLICES}
import tempfile
folder = Path(tempfile.mkdtemp())
ContributionStore(folder).add(grey(1), label="COVID")
store, paths = ContributionStore(folder), [folder, *folder.rglob("*")]
for path in paths:
    path.chmod(0o555)
if os.getuid() == 0:
    os.seteuid(65534)
for change in (lambda: store.add(grey(2), label="COVID"), lambda: ContributionStore(folder / "new")):
    try:
        change()
    except StoreUnavailable as error:
        print(error)
assert len(store.entries()) == 1
"""
# A page with contributions: what each step returns or raises.
PAGE = f"""{SLICES}
from ladnn_hf import contribution_sync, hub
from ladnn_hf.contribution_sync import HubSync
contribution_sync._PAUSE = contribution_sync._LONGEST_PAUSE = 0.05
hub._PATIENCE = float(os.environ.get("PATIENCE", hub._PATIENCE))
store = ContributionStore(Path(sys.argv[1]))
sync = HubSync(store, {REPO!r})
said = []
for step, *arguments in json.loads(sys.argv[2]):
    try:
        if step == "add":
            receipt = store.add(grey(arguments[0]), label="COVID", report=f"slice {{arguments[0]}}")
            said.append([receipt.id, receipt.code])
        elif step == "confirm":
            receipt = sync.confirm(store.add(grey(arguments[0]), label="COVID"))
            said.append([receipt.id, receipt.code, receipt.stored])
        elif step == "withdraw from the Hub":
            sync.withdraw(arguments[0])
        elif step == "sync":
            said.append(sync.sync_once())
        elif step == "start":
            sync.start()
        elif step == "wait":
            while sync.pending:
                time.sleep(0.02)
        else:
            said.append(getattr(store, step)(*arguments))
    except (ValueError, StoreUnavailable) as error:
        said.append(str(error))
sync.stop()
print(json.dumps([said, sync.pending]))
"""


def grey(seed=0, side=64):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8))


@pytest.fixture
def store(tmp_path):
    return ContributionStore(tmp_path / "store")


def check_sound(folder):
    """Every contribution that has an image has it whole, once, and nothing else lies there."""
    store = ContributionStore(folder)
    entries = store.entries()
    images = [folder / entry.image for entry in entries if entry.image]
    for path in images:
        with Image.open(path) as picture:
            picture.load()
    assert sorted(images) == sorted(folder.rglob("*.png"))
    assert {path.name for path in folder.iterdir()} == {"accepted", "journal.jsonl", "lock", "waiting"}
    pixels = [entry.pixels for entry in entries if entry.pixels]
    assert len(set(pixels)) == len(pixels)
    return {entry.id: entry for entry in entries}


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


# What is kept


def test_a_contribution_waits_with_its_label_lesions_report_and_day(store):
    receipt = store.add(grey(), label="COVID", lesions=GROUND_GLASS, report=" one\r\ntwo ", source="10.1/x")
    (entry,) = store.entries()
    assert (entry.id, receipt.stored) == (receipt.id, "disk")
    assert (entry.status, entry.label, entry.lesions) == ("waiting", "COVID", GROUND_GLASS)
    assert (entry.report, entry.source, entry.synced) == ("one\ntwo", "10.1/x", False)
    assert time.strptime(entry.day, "%Y-%m-%d")
    with Image.open(store.folder / entry.image) as kept:
        assert kept.mode == "L" and np.array_equal(kept, grey())


def test_nothing_that_came_with_the_picture_is_kept(store, tmp_path):
    text, exif = PngImagePlugin.PngInfo(), Image.Exif()
    text.add_text("Comment", "Patient Doe")
    exif[0x010E] = "Patient Doe"
    grey().save(tmp_path / "slice.png", pnginfo=text, exif=exif, icc_profile=b"Patient Doe")
    with Image.open(tmp_path / "slice.png") as picture:
        store.add(picture, label="COVID")
    (path,) = (store.folder / "waiting").iterdir()
    chunks, content, position = set(), path.read_bytes(), 8
    while position < len(content):
        chunks.add(content[position + 4 : position + 8])
        position += 12 + int.from_bytes(content[position : position + 4], "big")
    assert chunks == {b"IHDR", b"IDAT", b"IEND"}
    with Image.open(path) as kept:
        assert not kept.info and not kept.getexif()


def test_the_receipt_is_known_to_the_contributor_alone(store):
    receipt = store.add(grey(), label="COVID")
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if receipt.code.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"label": "Covid"}, "expected the label NonCOVID or COVID, found 'Covid'"),
        ({"lesions": {"GGO": True}}, "answer all five"),
        ({"lesions": GROUND_GLASS | {"Nodule": True}}, "Nodule; answer all five"),
        ({"label": "NonCOVID", "lesions": GROUND_GLASS}, "expected lesions in a COVID slice alone"),
        ({"report": "x" * 2001}, "a report of at most 2,000 characters, found 2,001"),
        ({"report": "\x1b[31mred"}, "a report in plain text"),
        ({"source": "x" * 301}, "a source of at most 300 characters"),
        ({"grey": Image.new("RGB", (64, 64))}, "mode L, found mode RGB"),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence_and_leaves_nothing(store, given, said):
    given = {"grey": grey(), "label": "COVID"} | given
    with pytest.raises(ValueError, match=r"^expected .*, found .*; .*\.$") as error:
        store.add(given.pop("grey"), **given)
    assert said in str(error.value)
    assert not store.entries() and not list(store.folder.rglob("*.png"))


def test_lesions_that_are_all_absent_say_nothing_of_a_slice_that_is_not_covid(store):
    store.add(grey(), label="NonCOVID", lesions=dict.fromkeys(LESIONS, False))
    assert store.entries()[0].lesions is None


def test_a_slice_is_taken_once_unless_it_was_withdrawn(store):
    receipt = store.add(grey(), label="COVID")
    with pytest.raises(ValueError, match="contributed already"):
        store.add(grey(), label="NonCOVID")
    store.withdraw(receipt.code)
    again = store.add(grey(), label="NonCOVID")
    store.reject(again.id, reason="a phantom")
    with pytest.raises(ValueError, match="contributed already"):
        store.add(grey(), label="COVID")


# Withdrawing and curating


@pytest.mark.parametrize("accepted", [False, True])
def test_a_withdrawn_slice_is_gone_from_the_disk_with_its_text(store, accepted):
    receipt = store.add(grey(), label="COVID", report="a secret text")
    other = store.add(grey(1), label="COVID", report="another text")
    if accepted:
        store.accept(receipt.id, other.id)
    store.withdraw(f" {receipt.code}\n")
    assert list(check_sound(store.folder)) == [receipt.id, other.id]
    files = [path.read_bytes() for path in store.folder.rglob("*") if path.is_file()]
    assert not [content for content in files if b"a secret text" in content]
    assert [content for content in files if b"another text" in content]
    store.withdraw(receipt.code)  # an answer that was lost


def test_only_the_receipt_itself_withdraws(store):
    receipt = store.add(grey(), label="COVID")
    (entry,) = store.entries()
    for other in (receipt.id, entry.receipt, "", "\ud800", receipt.code[:-1]):
        with pytest.raises(ValueError, match="expected the receipt of a contribution"):
            store.withdraw(other)
    assert store.entries() == [entry]


def test_a_killed_withdrawal_is_completed_by_the_next_process(store, monkeypatch):
    receipt = store.add(grey(), label="COVID")
    monkeypatch.setattr("ladnn_hf.contribution_folder.ContributionFolder._settle", lambda *_: None)
    store.withdraw(receipt.code)
    monkeypatch.undo()
    assert list(store.folder.rglob("*.png"))
    check_sound(store.folder)
    assert not list(store.folder.rglob("*.png"))


def test_a_rejected_slice_is_deleted_and_the_reason_kept(store):
    receipt = store.add(grey(), label="COVID", report="a name")
    store.reject(receipt.id, reason="burnt-in name")
    entry = check_sound(store.folder)[receipt.id]
    assert (entry.status, entry.reason, entry.report, entry.image) == ("rejected", "burnt-in name", "", None)
    store.withdraw(receipt.code)
    assert store.entries()[0].status == "withdrawn"


def test_a_curator_decides_for_all_that_are_named_or_for_none(store):
    waiting, gone = store.add(grey(0), label="COVID"), store.add(grey(1), label="COVID")
    store.withdraw(gone.code)
    for ids, said in (((waiting.id, "x" * 16), "expected the id"), ((waiting.id, gone.id), "it withdrawn")):
        with pytest.raises(ValueError, match=said):
            store.accept(*ids)
    with pytest.raises(ValueError, match="expected a reason"):
        store.reject(waiting.id, reason=" ")
    assert check_sound(store.folder)[waiting.id].status == "waiting"


def test_from_folder_reads_the_accepted_ones_with_lesions_and_texts_as_they_were(store, tmp_path):
    texts = ["=1+1", '-2, "quoted"\nand more', "@home\tand away", "+", "plain; é 肺", ""]
    receipts = [
        store.add(grey(seed), label="COVID", lesions=GROUND_GLASS, report=text, source="=HYPERLINK(1)")
        for seed, text in enumerate(texts)
    ]
    healthy, waiting = (store.add(grey(seed), label="NonCOVID") for seed in (10, 11))
    store.accept(*(receipt.id for receipt in receipts), healthy.id)
    built = run_ladnn("data", "from-folder", store.folder / "accepted", "--output", tmp_path / "slices")
    assert built.returncode == 0 and not built.stderr, built.stderr
    from ladnn_hf.slice_dataset import load_slices

    rows = {row["file_name"]: row for row in load_slices(tmp_path / "slices")["train"]}
    assert f"images/{waiting.id}.png" not in rows and len(rows) == len(texts) + 1
    for receipt, text in zip(receipts, texts, strict=True):
        row = rows[f"images/{receipt.id}.png"]
        assert (row["caption"], row["source"], row["label"]) == (text or None, "=HYPERLINK(1)", 1)
        assert row["lesions"] == [1, 0, 0, 0, 0]
    assert np.isnan(rows[f"images/{healthy.id}.png"]["lesions"]).all()
    with (store.folder / "accepted" / "metadata.csv").open(newline="") as table:
        firsts = {cell[:1] for row in csv.reader(table) for cell in row}
    assert not firsts & set("=+-@"), "by which a spreadsheet knows a formula"


def test_a_clock_that_goes_back_changes_neither_order_nor_anything_kept(store, monkeypatch):
    class Clock(datetime):
        years = iter((2026, 2025, 2024))

        @classmethod
        def now(cls, tz=None):
            return datetime(next(cls.years), 1, 1, tzinfo=tz)

    monkeypatch.setattr("ladnn_hf.contribution_form.datetime", Clock)
    added = [store.add(grey(seed), label="COVID").id for seed in range(3)]
    assert [entry.id for entry in store.entries()] == added
    assert [entry.day for entry in store.entries()] == ["2026-01-01", "2025-01-01", "2024-01-01"]


# Durable


def test_whatever_kills_the_process_what_was_acknowledged_is_there_whole_and_once(tmp_path):
    folder, acknowledged = tmp_path / "store", {}
    for kill in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", ADD_UNTIL_KILLED, str(folder), str(1_000_000 * kill)],
            stdout=subprocess.PIPE,
            text=True,
        )
        said = [child.stdout.readline()]
        time.sleep(random.Random(kill).uniform(0, 0.1))
        child.kill()
        said += child.communicate()[0].splitlines(keepends=True)
        for seed, number, code, rank in (line.split() for line in said if line.endswith("\n")):
            acknowledged[number] = int(seed), code, int(rank)
    entries = check_sound(folder)
    assert len(acknowledged) >= KILLS
    for number, (seed, _, rank) in acknowledged.items():
        entry = entries[number]
        assert entry.rank >= rank
        if entry.image:
            assert entry.report == f"slice {seed}"
            with Image.open(folder / entry.image) as kept:
                assert np.array_equal(kept, grey(seed))
    ContributionStore(folder).withdraw(acknowledged[number][1])
    assert check_sound(folder)[number].status == "withdrawn"


@pytest.mark.parametrize("torn", [b'{"id": "0123', b"\0\0\0\0", b'{"id": "01\n'])
def test_a_torn_last_line_was_never_acknowledged_and_is_cut_off(store, torn):
    first = store.add(grey(0), label="COVID")
    with (store.folder / "journal.jsonl").open("ab") as journal:
        journal.write(torn)
    assert [entry.id for entry in store.entries()] == [first.id]
    second = store.add(grey(1), label="COVID")
    assert list(check_sound(store.folder)) == [first.id, second.id]


def test_a_journal_that_is_damaged_or_lost_is_said_and_nothing_is_deleted(store):
    for seed in range(3):
        store.add(grey(seed), label="COVID")
    journal = store.folder / "journal.jsonl"
    content = journal.read_bytes()
    journal.write_bytes(content.replace(b"id", b"di", 1))
    with pytest.raises(ValueError, match=r"journal\.jsonl, line 1: expected a contribution"):
        ContributionStore(store.folder)
    journal.unlink()
    with pytest.raises(ValueError, match=r"expected journal\.jsonl beside the images"):
        ContributionStore(store.folder)
    journal.write_bytes(content)
    assert len(check_sound(store.folder)) == 3


def test_two_processes_may_add_the_same_slices_at_once(tmp_path):
    folder = tmp_path / "store"
    children = [
        subprocess.Popen([sys.executable, "-c", ADD_TWENTY, str(folder)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    added = [int(child.communicate(timeout=60)[0]) for child in children]
    assert sum(added) == 20 and len(check_sound(folder)) == 20


def test_threads_may_add_and_withdraw_at_once(store):
    failed = []

    def contribute(start):
        try:
            for seed in range(start, start + 10):
                receipt = store.add(grey(seed), label="COVID")
                if seed % 2:
                    store.withdraw(receipt.code)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=contribute, args=(10 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    statuses = Counter(entry.status for entry in check_sound(store.folder).values())
    assert statuses == {"waiting": 20, "withdrawn": 20}


@pytest.mark.parametrize(("room", "some"), [(4000, True), (700, False)])
def test_a_full_disk_is_said_and_the_store_goes_on_when_there_is_room_again(tmp_path, room, some):
    finished = run_python(ADD_UNTIL_FULL, tmp_path / "store", room)
    added, said = json.loads(finished.stdout)
    assert said.startswith("expected a folder of contributions that can be read and changed, found: ")
    assert list(check_sound(tmp_path / "store")) == added and bool(added) == some
    ContributionStore(tmp_path / "store").add(grey(200), label="COVID")
    assert len(check_sound(tmp_path / "store")) == len(added) + 1


@pytest.mark.parametrize("call", range(3))
def test_a_disk_that_fails_at_any_step_leaves_what_was_there(store, monkeypatch, call):
    kept = store.add(grey(0), label="COVID")
    calls, fsync = iter(range(100)), os.fsync

    def full(descriptor):
        if next(calls) == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    for change in (lambda: store.add(grey(1), label="COVID"), lambda: store.reject(kept.id, reason="no")):
        calls = iter(range(100))
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreUnavailable, match="found: No space left on device"):
            change()
        monkeypatch.undo()
        assert list(check_sound(store.folder)) == [kept.id]
    store.add(grey(1), label="COVID")


def test_a_folder_that_is_read_only_is_said():
    finished = run_python(ADD_TO_READ_ONLY)
    assert finished.returncode == 0, finished.stderr
    said = finished.stdout.splitlines()
    assert len(said) == 2 and all("found: Permission denied; " in line for line in said)


# The Hub


def page(environment, folder, *steps):
    """What the steps of a page with the store `folder` say, and how many contributions are pending after."""
    finished = run_python(PAGE, folder, json.dumps(steps), env=environment)
    assert finished.returncode == 0, finished.stderr
    assert "hf_" not in finished.stderr, "no token"
    return json.loads(finished.stdout)


@pytest.fixture
def reachable(hub, tmp_path):
    return hub.environment(tmp_path)


@pytest.fixture
def unreachable(reachable):
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        closed_port = probe.getsockname()[1]
    return reachable | {"HF_ENDPOINT": f"http://127.0.0.1:{closed_port}"}


def uploads(hub):
    return sum(method == "PUT" for method, _ in hub.requests)


def images(hub):
    return {path for path in hub.files("dataset", REPO) if path.endswith(".png")}


def test_a_private_repository_gets_the_same_files_once_and_loses_what_is_withdrawn(hub, reachable, tmp_path):
    folder = tmp_path / "store"
    (first, second, *rest), pending = page(reachable, folder, ["add", 1], ["add", 2], ["sync"], ["sync"])
    assert (rest, pending) == ([2, 0], 0)
    assert hub.is_private("dataset", REPO) and len(hub.commits("dataset", REPO)) == 2
    assert images(hub) == {f"waiting/{number}.png" for number, _ in (first, second)}
    said, pending = page(reachable, folder, ["accept", first[0]], ["withdraw", second[1]], ["sync"])
    assert (said[-1], pending) == (2, 0)
    assert images(hub) == {f"accepted/images/{first[0]}.png"}
    assert uploads(hub) == 2, "an accepted image is not sent again"
    there = hub.files("dataset", REPO)
    here = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del there[".gitattributes"], here["lock"]
    assert there == here
    content = b"".join(there.values())
    assert b"slice 1" in content and b"slice 2" not in content
    assert first[1].encode() not in content, "no receipt is known to the Hub"


def test_an_unreachable_hub_stops_nothing_and_gets_everything_once_it_is_back(
    hub, reachable, unreachable, tmp_path
):
    folder = tmp_path / "store"
    (first, second, said), pending = page(unreachable, folder, ["start"], ["add", 1], ["add", 2], ["sync"])
    assert pending == 2 and said.startswith("expected an answer from")
    hub.fail_next("POST", "/repos/create")
    hub.fail_next("PUT", "/lfs-objects/", status=403)
    hub.fail_next("POST", "/commit/")
    hub.drop_next("POST", "/commit/", in_answer=True)
    (third,), pending = page(reachable, folder, ["add", 3], ["start"], ["wait"])
    assert pending == 0
    journal = lines(hub.files("dataset", REPO)["journal.jsonl"].decode())
    assert [line["id"] for line in journal] == [first[0], second[0], third[0]]
    assert len(images(hub)) == 3
    assert len(hub.commits("dataset", REPO)) == 2, "a commit whose answer was lost is not made again"


def test_a_hub_that_takes_the_call_and_never_answers_is_not_waited_for(reachable, tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        nowhere = {"HF_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}", "PATIENCE": "0.2"}
        (_, said), pending = page(reachable | nowhere, tmp_path / "store", ["add", 1], ["sync"])
    assert said.startswith("expected an answer from") and "(ReadTimeout)" in said and pending == 1


def test_a_curator_elsewhere_and_the_page_come_to_agree_and_a_withdrawal_wins(hub, reachable, tmp_path):
    space, curator = tmp_path / "space", tmp_path / "curator"
    (one, two, three, _), _ = page(reachable, space, ["add", 1], ["add", 2], ["add", 3], ["sync"])

    def curate(*arguments):
        finished = run_ladnn_alone("data", "contributions", curator, *arguments, env=reachable)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    assert curate("sync", REPO) == f"{REPO}: 0 sent, 0 pending\n"
    curate("accept", one[0], two[0])
    curate("reject", three[0], "--reason", "no CT")
    _, pending = page(reachable, space, ["withdraw", one[1]])
    assert pending == 1
    curate("sync", REPO)
    said, pending = page(reachable, space, ["sync"], ["add", 3])
    assert pending == 0 and "contributed already" in said[1]
    curate("sync", REPO)
    for folder in (space, curator):
        statuses = [entry.status for entry in check_sound(folder).values()]
        assert statuses == ["withdrawn", "accepted", "rejected"]
    assert images(hub) == {f"accepted/images/{two[0]}.png"}


def test_without_a_lasting_disk_a_contribution_counts_once_the_hub_has_it(
    hub, reachable, unreachable, tmp_path
):
    (kept,), pending = page(reachable, tmp_path / "first", ["confirm", 1])
    assert kept[2] == "hub" and pending == 0
    (refused,), _ = page(unreachable, tmp_path / "first", ["confirm", 2])
    assert refused == "expected the Hub to take the change, found that it does not; try again later."
    statuses = [entry.status for entry in check_sound(tmp_path / "first").values()]
    assert statuses == ["waiting", "withdrawn"]
    # The Space starts anew, with an empty disk.
    (_, again), _ = page(reachable, tmp_path / "second", ["sync"], ["add", 1])
    assert "contributed already" in again
    page(reachable, tmp_path / "third", ["withdraw from the Hub", kept[1]])
    assert not images(hub)


def test_two_stores_that_send_at_once_lose_nothing(hub, reachable, tmp_path):
    said = {}

    def contribute(name, seeds):
        environment = reachable | hub.environment(tmp_path / name)
        said[name] = page(
            environment, tmp_path / name, ["start"], *(["add", seed] for seed in seeds), ["wait"]
        )

    stores = {"one": range(5), "other": range(5, 10)}
    threads = [threading.Thread(target=contribute, args=store) for store in stores.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [said[name][1] for name in stores] == [0, 0]
    assert len(lines(hub.files("dataset", REPO)["journal.jsonl"].decode())) == len(images(hub)) == 10


def test_more_than_a_commit_holds_goes_in_several(hub, reachable, tmp_path):
    store = ContributionStore(tmp_path / "store")
    for seed in range(103):
        store.add(grey(seed, 32), label="COVID")
    said, pending = page(reachable, tmp_path / "store", ["sync"])
    assert (said, pending) == ([103], 0)
    assert len(images(hub)) == 103 and len(hub.commits("dataset", REPO)) == 3


def test_nothing_goes_to_a_public_repository(hub, reachable, tmp_path):
    make = "import sys, huggingface_hub as hf; hf.create_repo(sys.argv[1], repo_type='dataset')"
    assert run_python(make, REPO, env=reachable).returncode == 0
    (_, said), pending = page(reachable, tmp_path / "store", ["add", 1], ["sync"])
    assert "expected a private repository, found a public one" in said and pending == 1
    assert set(hub.files("dataset", REPO)) == {".gitattributes"}


def test_a_journal_on_the_hub_names_no_file_outside_the_store(hub, reachable, tmp_path):
    page(reachable, tmp_path / "first", ["add", 1], ["sync"])
    change = """
import sys, huggingface_hub as hf
path = hf.hf_hub_download(sys.argv[1], "journal.jsonl", repo_type="dataset")
line = open(path).read().replace(sys.argv[2], "../../../outside")
hf.upload_file(
    path_or_fileobj=line.encode(), path_in_repo="journal.jsonl", repo_id=sys.argv[1], repo_type="dataset"
)
"""
    number = ContributionStore(tmp_path / "first").entries()[0].id
    assert run_python(change, REPO, number, env=reachable).returncode == 0
    (said,), _ = page(reachable, tmp_path / "second", ["sync"])
    assert "journal.jsonl, line 1: expected a contribution" in said


# The command


def test_a_curator_lists_accepts_rejects_and_withdraws(store):
    first, second, third = (
        store.add(grey(seed), label="COVID", lesions=GROUND_GLASS, report=f"line {seed}\nmore")
        for seed in range(3)
    )

    def curate(*arguments):
        return run_ladnn("data", "contributions", store.folder, *arguments)

    table = curate("list").stdout.splitlines()
    assert [line.split()[0] for line in table] == [first.id, second.id, third.id]
    assert "waiting" in table[0] and "GGO" in table[0] and table[0].endswith("line 0 more")
    assert curate("accept", first.id).returncode == 0
    assert curate("reject", second.id, "--reason", "blurred").returncode == 0
    assert curate("withdraw", third.code).returncode == 0
    listed = lines(curate("list", "--format", "json").stdout)
    assert [row["status"] for row in listed] == ["accepted", "rejected", "withdrawn"]
    assert listed[0]["image"] == f"accepted/images/{first.id}.png" and listed[1]["reason"] == "blurred"
    assert not {"receipt", "pixels"} & set(listed[0])
    again = curate("accept", first.id)
    assert again.returncode == 1 and "found it accepted; leave it out." in again.stderr


def test_a_folder_that_is_not_there_is_said_and_not_made(tmp_path):
    said = run_ladnn("data", "contributions", tmp_path / "typo", "list")
    assert said.returncode == 1 and "expected a folder of contributions, found none" in said.stderr
    assert not (tmp_path / "typo").exists()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "notes.txt").write_text("mine")
    said = run_ladnn("data", "contributions", tmp_path / "docs", "list")
    assert said.returncode == 1 and "expected a folder of contributions, found none" in said.stderr
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["notes.txt"]


def test_sync_without_a_token_is_refused_in_words(hub, tmp_path):
    environment = hub.environment(tmp_path, token="")
    said = run_ladnn_alone("data", "contributions", tmp_path / "store", "sync", REPO, env=environment)
    assert said.returncode == 1 and "run `hf auth login`, or set HF_TOKEN" in said.stderr
    assert not hub.repos
