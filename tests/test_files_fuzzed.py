"""Broken files of every format: an answer or a refusal in one sentence, whatever is broken."""

import struct
import sys
import zipfile

import pytest
from fuzz_seeds import SEEDS, saved_slices
from fuzzing import fuzz

from ladnn_hf.archives import MAX_MEMBERS, list_zip
from ladnn_hf.slice_dataset import load_slices, stream_rows

FILES = 300
"""Of each format; `benchmarks/fuzz.py` reads more."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory and time are measured as Linux does")
@pytest.mark.parametrize("kind", SEEDS)
def test_a_broken_file_is_answered_or_refused_quickly_and_in_little_memory(kind):
    tally = fuzz(kind, range(FILES))
    assert tally.faults == {}
    assert tally.answered + tally.refused == FILES
    assert tally.answered and tally.refused


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_of_one_path_the_last_is_read_as_unzipping_leaves_it(tmp_path):
    images = list_zip(zipped(tmp_path / "two.zip", [("a.png", b"old"), ("a.png", b"new")]))
    assert {name: read() for name, read in images.items()} == {"a.png": b"new"}


def test_a_member_without_a_name_is_no_image(tmp_path):
    path = zipped(tmp_path / "slices.zip", [("b.txt", b""), ("a.png", b"slice")])
    content = bytearray(path.read_bytes())
    struct.pack_into(
        "<3H", content, content.index(b"PK\1\2") + 28, 0, 0, 5
    )  # its name is said to be a comment
    path.write_bytes(content)
    assert list(list_zip(path)) == ["a.png"]


def test_a_zip_of_endless_files_is_refused_before_its_directory_is_read(tmp_path):
    line = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 6, *[0] * 3, 1, *[0] * 4, 0, 0) + b"a"
    directory = line * (MAX_MEMBERS + 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65_535, 65_535, len(directory), 0, 0)
    (tmp_path / "many.zip").write_bytes(directory + end)
    with pytest.raises(ValueError, match="expected at most 50,000 files in the zip, found 50,001; "):
        list_zip(tmp_path / "many.zip")


def test_a_data_set_that_was_cut_off_is_named(tmp_path):
    rows = saved_slices(tmp_path / "slices")
    content = rows.read_bytes()
    for share in (0.2, 0.9):
        rows.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r"found a broken one; make one|found broken ones; build them"):
            list(stream_rows(load_slices(tmp_path / "slices")["train"]))


@pytest.mark.parametrize("wrong", [2**31 - 1, -5])
def test_a_data_set_whose_offsets_lead_out_of_it_is_named_and_ends_no_process(tmp_path, wrong):
    rows = saved_slices(tmp_path / "slices")
    names = struct.pack("<3i", 0, len("NonCOVID.png"), len("NonCOVID.pngCOVID.png"))
    content = rows.read_bytes()
    assert names in content
    rows.write_bytes(content.replace(names, names[:4] + struct.pack("<i", wrong) + names[8:]))
    with pytest.raises(ValueError, match="expected a saved slice data set, found a broken one; make one"):
        load_slices(tmp_path / "slices")
