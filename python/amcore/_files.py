"""Files: written whole or not at all, arrays sealed by a digest, read without trust in them."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import math
import os
import re
import secrets
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np

from amcore import _checks
from amcore._checks import Array

CHECKPOINT, TRACE = "amcore.checkpoint", "amcore.trace"
# 1: an .npz file. 2: its comment is the digest of everything before the comment.
VERSION = 2

_CHUNK = 1 << 20
_DIGEST = b"blake2b "
_DIGEST_SIZE = len(_DIGEST) + 2 * 32
# An array of our files has a header of about 120 bytes.
_MAX_HEADER = 2000
_ZIP64 = b"\x01\x00"

# A temporary file bears its process in its name, and this too, as a pid comes again.
_PROCESS = secrets.token_hex(4)
_counter = itertools.count()


@contextmanager
def atomic_write(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a binary file that takes its place at `path` only once it is complete on the disk.

    The bytes go to a temporary file in the same directory, which is flushed, synchronised and then
    renamed. When the block raises, the temporary file is removed and what was at `path` stays.
    A symbolic link stays one and its target is written; a file that is replaced keeps its
    permissions; a device or a pipe is written to. Temporary files of processes that were killed
    while they wrote to this path are removed.

    Parameters
    ----------
    path : path
        Where the finished file is to be.

    Yields
    ------
    file : binary file
        The file to write to; closed by the context manager.

    Raises
    ------
    TypeError
        If `path` is none.
    OSError
        If it cannot be written; `filename` is `path`.
    """
    path = _checks.path("path", path)
    temporary: Path | None = None
    try:
        old = _replaceable(path)
        if old is not None and not stat.S_ISREG(old.st_mode):
            yield (content := io.BytesIO())
            with open(path, "wb") as file:
                file.write(content.getbuffer())
            return
        target = _target(path)
        # not tempfile: its files are private to the user, this one becomes an ordinary file
        stem = f".amcore-{zlib.crc32(os.fsencode(target.name)):08x}"
        _remove_leftovers(target.parent, stem)
        temporary = target.with_name(f"{stem}-{os.getpid()}-{_PROCESS}-{next(_counter)}")
        with open(temporary, "x+b") as file:
            if old is not None:
                os.chmod(temporary, stat.S_IMODE(old.st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            raise _about(path, error) from error
        raise


def check_writable(path: str | PathLike[str]) -> None:
    """Refuse a path that `atomic_write` cannot write to, before the work that is to end there.

    Raises
    ------
    TypeError, OSError
        As `atomic_write`.
    """
    with suppress(_GivenUpError), atomic_write(path):
        raise _GivenUpError


class _GivenUpError(Exception):
    """Ends a write that was only begun to see whether it can be."""


def _target(path: Path) -> Path:
    """Return what a symbolic link points to, what is no link itself."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _replaceable(path: Path) -> os.stat_result | None:
    """Return the status of the file to be replaced, None if there is none yet."""
    try:
        old = os.stat(path)
    except FileNotFoundError:
        folder = _target(path).parent
        if not folder.is_dir():
            reason = f"there is no directory {folder}"
            raise FileNotFoundError(errno.ENOENT, reason, str(path)) from None
        return None
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return old


def _remove_leftovers(folder: Path, stem: str) -> None:
    """Remove the temporary files of this stem whose writers live no more."""
    with suppress(OSError):  # such as a folder that one may write to but not list
        for name in os.listdir(folder):
            if match := re.fullmatch(rf"{re.escape(stem)}-(\d{{1,9}})-([0-9a-f]{{8}})-\d+", name):
                pid, process = int(match[1]), match[2]
                dead = process != _PROCESS if pid == os.getpid() else not _lives(pid)
                if dead:
                    os.unlink(folder / name)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return True


def _about(path: Path, error: OSError) -> OSError:
    """Return the error with the name of the file that the user named."""
    if error.errno is None:
        return OSError(f"{path}: {error}")
    return OSError(error.errno, error.strerror, str(path))


def save_arrays(path: str | PathLike[str], arrays: Mapping[str, Any]) -> None:
    """Write arrays to `path`, atomically, as an .npz file whose comment is its digest.

    Raises
    ------
    TypeError, ValueError
        If an array holds Python objects.
    OSError
        If the file cannot be written; what was at `path` stays.
    """
    with atomic_write(path) as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.comment = bytes(_DIGEST_SIZE)
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        end = file.seek(-_DIGEST_SIZE, os.SEEK_END)
        digest = _digest(file, end)
        file.seek(end)
        file.write(digest)


@contextmanager
def saved_arrays(path: str | PathLike[str], content: str) -> Iterator[Archive]:
    """Open what `save_arrays` wrote; all that shows it is not that is one ValueError naming it.

    Parameters
    ----------
    path : path
        The file.
    content : str
        What it ought to hold, such as ``"a trace"``.

    Yields
    ------
    Archive

    Raises
    ------
    OSError
        If the file cannot be opened or read.
    ValueError
        If it is truncated, damaged or something else.
    """
    with reading(path, f"{content} saved by amcore") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        has_digest = _check_digest(file)
        if not zipfile.is_zipfile(file):
            raise ValueError("not a complete .npz file")
        with zipfile.ZipFile(file) as archive:
            arrays = Archive(archive, status.st_size)
            yield arrays
            # last, as what is missing or of another version says more
            if not has_digest and int(arrays["version"]) > 1:
                raise ValueError("it is damaged, its digest is gone")


class Archive(Mapping[str, Array]):
    """The arrays of an open .npz file, each read when it is asked for, once its size is checked."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        members = archive.infolist()
        self._archive = archive
        self._members = {member.filename.removesuffix(".npy"): member for member in members}
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename} is compressed")
            # a damaged length makes one entry of the directory swallow the next
            if member.comment or member.extra[:2] not in (b"", _ZIP64):
                raise ValueError(f"{member.filename} has a damaged entry in the directory")
        if len(self._members) != len(members) or sum(m.file_size for m in members) > size:
            raise ValueError("members share names or bytes")

    def __getitem__(self, name: str) -> Array:
        info = self._members[name]
        with self._archive.open(info) as member:
            if np.lib.format.read_magic(member) != (1, 0):
                raise ValueError(f"{name} has another version of the .npy format")
            header = np.lib.format.read_array_header_1_0(member, max_header_size=_MAX_HEADER)
            shape, _, dtype = header
            if dtype.hasobject:
                raise ValueError("Object arrays cannot be loaded, they need pickle")
            size = math.prod(shape) * dtype.itemsize
            if dtype.itemsize == 0 or size != info.file_size - member.tell():
                raise ValueError(f"{name} is not as long as {dtype} of shape {shape}")
            member.seek(0)
            array: Array = np.lib.format.read_array(member, allow_pickle=False)
            return array

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def part(self, prefix: str) -> dict[str, Array]:
        """Read the arrays whose names begin with `prefix`, by the rest of their names."""
        return {name.removeprefix(prefix): self[name] for name in self if name.startswith(prefix)}


def check_format(arrays: Mapping[str, Array], expected: str) -> None:
    """Refuse arrays of another format, or of a version that this amcore does not know."""
    if not {"format", "version"} <= set(arrays) or str(arrays["format"]) != expected:
        raise ValueError("it holds other arrays")
    version = int(arrays["version"])
    if not 1 <= version <= VERSION:
        raise ValueError(f"format version {version}, this amcore reads 1 to {VERSION}")


@contextmanager
def reading(path: str | PathLike[str], content: str) -> Iterator[IO[bytes]]:
    """Open a file to read; whatever its content makes go wrong is one ValueError naming it.

    Parameters
    ----------
    path : path
        The file.
    content : str
        What it ought to be.

    Yields
    ------
    file : binary file

    Raises
    ------
    OSError
        If the system cannot open or read the file.
    ValueError
        For any other exception in the block.
    """
    path = _checks.path("path", path)
    try:
        with open(path, "rb") as file:
            yield file
    except MemoryError:
        raise
    except Exception as error:
        # zipfile seeks where a damaged directory points to: EINVAL
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise _about(path, error) from error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is not {content}: {reason}") from error


def chunks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    """Read up to `size` bytes piece by piece: memory is taken for what is there, not declared."""
    while size > 0 and (chunk := stream.read(min(size, _CHUNK))):
        size -= len(chunk)
        yield chunk


def _digest(file: IO[bytes], size: int) -> bytes:
    """Return the digest of the first `size` bytes."""
    file.seek(0)
    digest = hashlib.blake2b(digest_size=32)
    for chunk in chunks(file, size):
        digest.update(chunk)
    return _DIGEST + digest.hexdigest().encode()


def _check_digest(file: IO[bytes]) -> bool:
    """Return whether the file ends in a digest; a wrong one is refused."""
    end = max(0, file.seek(0, os.SEEK_END) - _DIGEST_SIZE)
    file.seek(end)
    digest = file.read(_DIGEST_SIZE)
    if not digest.startswith(_DIGEST):
        return False
    if digest != _digest(file, end):
        raise ValueError("it is damaged, its digest is another")
    return True
