"""What becomes of broken files of each format that can be uploaded, as a table; Linux alone.

python benchmarks/fuzz.py [--files 10000] [--formats PNG DICOM ...]

Each file is read in a process of its own, which may take 2 s and 500 MB. The tests read the first 300 of the
same files. What goes wrong is listed by the file's number, of which `fuzz_mutations.mutated` makes the file.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from fuzz_seeds import SEEDS
from fuzzing import fuzz


def main() -> int:
    """Print the table, then the faults; 1 if there are any."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000, help="of each format")
    parser.add_argument("--formats", nargs="+", choices=SEEDS, default=list(SEEDS), help="default: all")
    arguments = parser.parse_args()
    faults = []
    print(
        "| format | files | answered | refused | slowest | most memory | faults |", "|---" * 7 + "|", sep="\n"
    )
    for kind in arguments.formats:
        tally = fuzz(kind, tqdm(range(arguments.files), desc=kind, unit="file", disable=None))
        counts = f"{arguments.files:,} | {tally.answered:,} | {tally.refused:,}"
        most = f"{tally.slowest:.2f} s | {tally.peak / 1e6:.0f} MB"
        print(f"| {kind} | {counts} | {most} | {len(tally.faults)} |", flush=True)
        faults += [f"{kind} {number}: {fault}" for number, fault in tally.faults.items()]
    print("\n".join(["", *faults]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
