"""Breaks whole files: bytes turned, cut, inserted, doubled, spliced, and the sizes that headers claim."""

import re
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random

_CLAIMS = (0, 1, 2, 7, 8, 16, 32, 127, 128, 255, 256, 4_096, 32_767, 32_768, 65_535, 65_536, 4_000,
           2**31 - 1, 2**31, 2**32 - 1, -1)  # fmt: skip
"""What a size in a header is made to claim."""
_HEAD = 256
"""Bytes in which most headers lie."""
_PNG_FIELDS = rb"(?:IHDR|acTL|fcTL|PLTE|tRNS|iCCP|eXIf|tEXt|zTXt)"
_FIELDS = {
    "PNG": (_PNG_FIELDS, range(-4, 13), ">"),
    "JPEG": (rb"\xff[\xc0-\xc4\xda-\xe1\xee\xfe]", range(2, 14), ">"),
    "WebP": (rb"(?:RIFF|VP8[ LX]|ANIM|ANMF|ALPH|EXIF|XMP )", range(4, 20), "<"),
    "TIFF": (rb"[\0-\xff][\x01\x02\x80][\x01-\x0d]\0", range(2, 12), "<"),
    "BMP": (rb"^BM", range(2, 54), "<"),
    "DICOM": (rb"[\x02\x08\x20\x28\xe0\xfe][\0\x7f\xff].[\0\x10\xe0]", range(4, 16), "<"),
    "CSV": (rb"[,\n]", range(0, 3), ">"),
    "Arrow": (rb"[\0-\x40]\0\0\0", range(0, 4), "<"),
    "Parquet": (rb"[\x15\x16\x19\x1c][\0-\xff]|PAR1$", range(-4, 6), "<"),
    "zip": (rb"PK(?:\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x06\x07)", range(4, 56), "<"),
}
"""Where sizes lie in each format: bytes after a mark, and the order of the bytes."""


def mutated(kind: str, seeds: Sequence[bytes], number: int) -> bytes:
    """A broken file, the same for the same number.

    Args:
        kind: Its format, a key of `fuzz_seeds.SEEDS`.
        seeds: Whole files of the format.
        number: Which.
    """
    random = Random(f"{kind} {number}")
    content = bytearray(random.choice(seeds))
    for _ in range(random.choice((1, 1, 1, 1, 2, 4))):
        random.choice(_MUTATIONS)(content, random, kind, seeds)
    # Without its sums the file would be refused before what is broken in it is seen.
    return _with_sums(bytes(content)) if kind == "PNG" and random.random() < 0.8 else bytes(content)


def _place(content: bytearray, random: Random) -> int:
    end = len(content) if random.random() < 0.5 else min(_HEAD, len(content))
    return random.randrange(end) if end else 0


def _turn_bytes(content: bytearray, random: Random, *_) -> None:
    for _ in range(min(random.choice((1, 1, 2, 4, 16)), len(content))):
        content[_place(content, random)] = random.choice((random.randrange(256), 0, 255))


def _turn_bit(content: bytearray, random: Random, *_) -> None:
    if content:
        content[_place(content, random)] ^= 1 << random.randrange(8)


def _cut_off(content: bytearray, random: Random, *_) -> None:
    del content[_place(content, random) :]


def _cut_out(content: bytearray, random: Random, *_) -> None:
    at = _place(content, random)
    del content[at : at + random.choice((1, 2, 4, 12, 100))]


def _insert(content: bytearray, random: Random, *_) -> None:
    at, length = _place(content, random), random.choice((1, 2, 4, 12, 100, 5_000))
    content[at:at] = random.choice((random.randbytes(length), bytes(length), b"\xff" * length))


def _double(content: bytearray, random: Random, *_) -> None:
    at, length = _place(content, random), random.choice((4, 12, 20, 100, 1_000))
    content[at:at] = bytes(content[at : at + length]) * random.choice((1, 2, 50))


def _splice(content: bytearray, random: Random, _, seeds: Sequence[bytes]) -> None:
    other = random.choice(seeds)
    content[_place(content, random) :] = other[random.randrange(len(other)) :]


def _claim(content: bytearray, random: Random, *_) -> None:
    _write(content, _place(content, random), random.choice("<>"), random)


def _claim_in_field(content: bytearray, random: Random, kind: str, _) -> None:
    mark, after, order = _FIELDS[kind]
    if places := [found.start() for found in re.finditer(mark, content, re.S)]:
        _write(content, random.choice(places) + random.choice(after), order, random)


def _write(content: bytearray, at: int, order: str, random: Random) -> None:
    size = random.choice((1, 2, 2, 4, 4, 4))
    claim = random.choice(_CLAIMS) % 256**size
    if 0 <= at and at + size <= len(content):
        content[at : at + size] = claim.to_bytes(size, "little" if order == "<" else "big")


_MUTATIONS: tuple[Callable[..., None], ...] = (
    _turn_bytes, _turn_bit, _cut_off, _cut_out, _insert, _double, _splice, _claim,
    _claim_in_field, _claim_in_field, _claim_in_field, _claim_in_field,
)  # fmt: skip


def _with_sums(content: bytes) -> bytes:
    """A PNG file whose chunks have the sums that belong to them, as far as there are chunks."""
    whole, at = bytearray(content), 8
    while at + 12 <= len(whole):
        (length,) = struct.unpack_from(">I", whole, at)
        if at + 12 + length > len(whole):
            break
        struct.pack_into(">I", whole, at + 8 + length, zlib.crc32(whole[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(whole)
