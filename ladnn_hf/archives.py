"""The slices in a folder, or in the zip beside it: read where they lie, nothing is ever extracted."""

import lzma
import mmap
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath

from .dicom import PREAMBLE, is_dicom
from .reading import MAX_BYTES, has_bare_name, has_suffix, is_slice

Reader = Callable[[], bytes]
"""Reads one image file's bytes; raises `ValueError` where that fails."""

MAX_TOTAL_BYTES = 100 * MAX_BYTES
"""Most bytes that a zip's images may unpack to."""
MAX_RATIO = 200
"""Most times that an image may be larger unpacked than packed; slices, even raw ones, stay far below."""

MAX_MEMBERS = 50_000
"""Most files in a zip: a line of its directory takes 46 bytes there and a kilobyte of memory here."""
_MEMBER = re.compile(rb"PK\x01\x02")
"""What each line of a zip's directory begins with."""
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError)
"""What zipfile raises on bytes that are not what their header says."""


def list_images(folder: Path) -> dict[str, Reader]:
    """The image files below a folder, or in the zip beside it where there is no such folder.

    Returns:
        A reader for each path inside the folder or zip, with forward slashes, sorted.

    Raises:
        ValueError: There is neither, or the zip is broken, leads out of itself or is a bomb.
    """
    archive = folder.with_name(f"{folder.name}.zip")
    if folder.is_dir():
        return dict(sorted(_in_folder(folder)))
    if not archive.is_file():
        raise ValueError(
            f"{archive}: expected this zip, or a plain folder {folder.name} beside it, found neither; check "
            "the folder or download it again."
        )
    return list_zip(archive)


def list_zip(archive: Path) -> dict[str, Reader]:
    """The image files in a zip; nothing is unpacked before it is read. Of two with one path it is the last.

    Returns:
        A reader for each path inside the zip, sorted.

    Raises:
        ValueError: The zip is broken, leads out of itself or is a bomb.
    """
    images = dict(_in_zip(archive))
    return {name: images[name] for name in sorted(images)}


def by_file_name(images: dict[str, Reader], where: Path) -> dict[str, Reader]:
    """The same readers by file name alone, for tables that leave the folders out.

    Raises:
        ValueError: Two images have one file name.
    """
    paths: dict[str, str] = {}
    for path in images:
        name = path.rsplit("/", 1)[-1]
        if name in paths:
            raise ValueError(
                f"{where}: expected one image of each name, found {paths[name]} and {path}; remove one of "
                "the two."
            )
        paths[name] = path
    return {name: images[path] for name, path in paths.items()}


def read_file(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        ValueError: It is larger than a slice can be.
    """
    _check_size(path, path.stat().st_size)
    return path.read_bytes()


def _in_folder(folder: Path) -> Iterator[tuple[str, Reader]]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if not _is_twin(name) and path.is_file() and is_slice(str(path)):
            yield name, partial(read_file, path)


def _in_zip(path: Path) -> Iterator[tuple[str, Reader]]:
    _check_count(path)
    try:
        archive = zipfile.ZipFile(path)
    except (*_BROKEN, ValueError, NotImplementedError) as error:
        raise ValueError(f"{path}: expected a zip, found a broken one; download it again.") from error
    total = 0
    for member in archive.infolist():
        _check_path(path, member)
        if not _is_twin(member.filename) and _is_slice(archive, member):
            _check_member(path, member)
            total += member.file_size
            yield member.filename, partial(_read_member, archive, member)
    if total > MAX_TOTAL_BYTES:
        raise ValueError(
            f"{path}: expected images of at most {MAX_TOTAL_BYTES:,} bytes together, found {total:,}; give "
            "several zips or plain folders."
        )


def _check_count(path: Path) -> None:
    """Before zipfile reads the directory, all of it at once."""
    if not path.stat().st_size:
        return
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        members = sum(1 for _ in _MEMBER.finditer(content))
    if members > MAX_MEMBERS:
        raise ValueError(
            f"{path}: expected at most {MAX_MEMBERS:,} files in the zip, found {members:,}; give several "
            "zips or plain folders."
        )


def _is_twin(name: str) -> bool:
    """A Mac adds a twin "._name" of no picture to each file that it zips or copies."""
    return any(part == "__MACOSX" or part.startswith("._") for part in name.split("/"))


def _is_slice(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """As `reading.is_slice` says of files."""
    if has_suffix(member.filename):
        return True
    if not has_bare_name(member.filename):
        return False
    try:
        with archive.open(member) as stream:
            return is_dicom(stream.read(PREAMBLE), "")
    except (*_BROKEN, ValueError, RuntimeError):  # of what cannot be read nobody can say that it is a slice
        return False


def _check_path(archive: Path, member: zipfile.ZipInfo) -> None:
    """Nothing is extracted, so such a path does no harm, but a zip that holds one is not to be trusted."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(member.filename).drive:
        found = "a path that leads out of it"
    elif stat.S_ISLNK(member.external_attr >> 16):
        found = "a link"
    else:
        return
    raise ValueError(
        f"{archive}: expected plain files inside the zip, found {member.filename!r}, {found}; get the zip "
        "from its authors."
    )


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    # zipfile never unpacks more than the declared size, so what is declared can be relied on.
    _check_size(f"{archive}, {member.filename}", member.file_size)
    if member.file_size > MAX_RATIO * max(member.compress_size, 1):
        raise ValueError(
            f"{archive}, {member.filename}: expected an image at most {MAX_RATIO} times as large unpacked, "
            f"found {member.file_size:,} bytes from {member.compress_size:,}; get the zip from its authors."
        )


def _check_size(where: Path | str, size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(
            f"{where}: expected an image file of at most {MAX_BYTES:,} bytes, found {size:,}; give one slice "
            "at its original size."
        )


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(member)
    except (*_BROKEN, ValueError) as error:
        found, remedy = "a broken part of the zip", "download it again"
        raise _unreadable(archive, member, found, remedy) from error
    except RuntimeError as error:  # a password or a method of packing that Python lacks
        found, remedy = "a locked part of the zip", "unpack it to a plain folder"
        raise _unreadable(archive, member, found, remedy) from error


def _unreadable(archive: zipfile.ZipFile, member: zipfile.ZipInfo, found: str, remedy: str) -> ValueError:
    return ValueError(f"{archive.filename}, {member.filename}: expected an image, found {found}; {remedy}.")
