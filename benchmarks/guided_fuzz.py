"""Broken files of one format, bred by which lines of Python they reach; `pip install atheris`, Linux alone.

python benchmarks/guided_fuzz.py DICOM --seconds 600

`fuzz.py` breaks files without looking. Here pydicom, Pillow, zipfile and ladnn_hf are instrumented, so that a
file which gets further than those before is broken further; decoders in C are not. It begins with the same
whole files, and ends at the first fault, as `fuzz.py` counts them, leaving the file that made it.
"""

import argparse
import importlib.metadata
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

with atheris.instrument_imports(include=["pydicom", "PIL", "zipfile", "ladnn_hf", "fuzz_readers"]):
    import fuzz_readers

from fuzz_seeds import SEEDS
from fuzzing import SECONDS, read_one


def main() -> None:
    """Hand over to libFuzzer, which prints what it finds and ends the process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", metavar="FORMAT", choices=SEEDS, help=", ".join(SEEDS))
    parser.add_argument("--seconds", type=int, default=600)
    arguments = parser.parse_args()
    print(f"atheris {importlib.metadata.version('atheris')}, {arguments.kind}", flush=True)
    # libFuzzer ends the process by itself: the folders are left to the system's temporary ones.
    home, corpus = (Path(tempfile.mkdtemp()) for _ in range(2))
    seeds = SEEDS[arguments.kind]()
    for number, content in enumerate(seeds):
        (corpus / str(number)).write_bytes(content)
    read = fuzz_readers.reader(arguments.kind, home)

    def read_broken(content: bytes) -> None:
        _, fault = read_one(arguments.kind, read, home, content)
        if fault:
            raise AssertionError(fault)

    for content in seeds:  # a whole file is no fault, and loads what is loaded late
        read_broken(content)
    limits = [
        f"-max_total_time={arguments.seconds}",
        f"-timeout={10 * SECONDS:.0f}",  # instrumented Python is slower, and the clock is the wall's
        "-rss_limit_mb=0",  # libFuzzer's own tables grow with each file; `fuzz.py` measures memory
        f"-max_len={2 * max(map(len, seeds))}",
    ]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], read_broken)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
