"""Reads broken files in a process of its own, which may neither die nor take long nor fill the memory."""

import multiprocessing
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dicom_files import SECRET
from fuzz_mutations import mutated
from fuzz_readers import NAMED, Reader, reader
from fuzz_seeds import SEEDS

SECONDS = 2.0
"""Processor time for one file."""
BYTES = 500_000_000
"""Memory above what the process held before its first file."""
_PATIENCE = 60
"""Seconds after which a process that does nothing is given up; a busy machine must raise no alarm."""
_SENTENCE = re.compile(r"[^\n\r]{10,600}[.)]")


@dataclass
class Tally:
    """What became of the files of one format."""

    kind: str
    answered: int = 0
    refused: int = 0
    slowest: float = 0.0
    """Seconds of processor time."""
    peak: int = 0
    """Bytes above the start."""
    faults: dict[int, str] = field(default_factory=dict)
    """What went wrong, by the file's number."""


def fuzz(kind: str, numbers: Iterable[int]) -> Tally:
    """Read mutated files of a format, each within `SECONDS` and `BYTES`. Linux alone.

    Args:
        kind: A key of `SEEDS`.
        numbers: Which files, see `fuzz_mutations.mutated`.
    """
    tally, seeds = Tally(kind), SEEDS[kind]()
    with tempfile.TemporaryDirectory() as folder:
        reader = _Reader(kind, Path(folder))
        for number in numbers:
            reader.read(mutated(kind, seeds, number), number, tally)
        reader.close()
        if SECRET.encode() in reader.log.read_bytes():
            tally.faults[-1] = "names on stdout or stderr"
    return tally


class _Reader:
    """A process that reads files, started anew when one has ended it."""

    def __init__(self, kind: str, folder: Path):
        self.log = folder / "log"
        self._arguments = (kind, folder)
        self._start()

    def _start(self) -> None:
        # Not forked: what this process holds would count as the reader's.
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end, *self._arguments), daemon=True)
        self._process.start()
        end.close()
        self._pipe.recv()

    def read(self, content: bytes, number: int, tally: Tally) -> None:
        """Read one file and note what becomes of it."""
        self._pipe.send_bytes(content)
        try:
            if not self._pipe.poll(_PATIENCE):
                raise EOFError
            refusal, fault, seconds, peak = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            tally.faults[number] = self._ended()
            self._start()
            return
        tally.slowest, tally.peak = max(tally.slowest, seconds), max(tally.peak, peak)
        if peak > BYTES:
            fault = f"{peak / 1e6:.0f} MB"
        if fault:
            tally.faults[number] = fault
        elif refusal:
            tally.refused += 1
        else:
            tally.answered += 1

    def _ended(self) -> str:
        self._process.join(1)
        if (status := self._process.exitcode) is None:
            self._process.kill()
            return f"hung for {_PATIENCE} s"
        return f"over {SECONDS:g} s" if status == -signal.SIGPROF else f"ended with status {status}"

    def close(self) -> None:
        """Stop the process."""
        self._pipe.close()
        self._process.join()


def _serve(pipe, kind: str, folder: Path) -> None:
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    home = Path(tempfile.mkdtemp(dir=folder))
    read = reader(kind, home)
    for content in SEEDS[kind]():  # what is imported at the first file is no part of a file's memory
        read_one(kind, read, home, content)
    start = _memory("VmRSS")
    pipe.send("ready")
    while True:
        try:
            content = pipe.recv_bytes()
        except EOFError:
            return
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        # The kernel ends the process when the time is up, in the midst of a decoder, too.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        began = time.process_time()
        refusal, fault = read_one(kind, read, home, content)
        seconds = time.process_time() - began
        signal.setitimer(signal.ITIMER_PROF, 0)
        pipe.send((refusal, fault, seconds, _memory("VmHWM") - start))


def read_one(kind: str, read: Reader, home: Path, content: bytes) -> tuple[str | None, str | None]:
    """Read one file of a format: the refusal, and what is wrong about it or instead of it."""
    try:
        read(content)
    except ValueError as error:
        if type(error).__name__ not in ("ValueError", "UnreadableSlice"):
            return None, repr(error)[:200]
        refusal = str(error)
        if kind in NAMED:  # the user's own names, which may hold anything
            refusal = " ".join(refusal.replace(str(home), "").split())[-500:]
        if not _SENTENCE.fullmatch(refusal) or str(home) in refusal or SECRET in refusal:
            return None, f"no sentence for a stranger: {refusal[:200]!r}"
        return refusal, None
    except Exception as error:  # whatever it is, it is a fault
        return None, repr(error)[:200]
    return None, None


def _memory(name: str) -> int:
    """Bytes that the process holds (`VmRSS`), or held at most (`VmHWM`)."""
    found = re.search(rf"^{name}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(found[1]) * 1024
