"""Data for examples: scikit-learn's handwritten digits and files in MNIST's format."""

from __future__ import annotations

import gzip
import math
from os import PathLike
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from amcore import _checks, _files

__all__ = ["Split", "load_digits_split", "load_idx", "load_mnist_folder"]

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class Split(NamedTuple):
    """Samples in rows and their integer labels, for training and held out."""

    X_train: NDArray[Any]
    y_train: NDArray[np.int64]
    X_test: NDArray[Any]
    y_test: NDArray[np.int64]


def load_digits_split(
    test_fraction: float = 0.2, *, seed: int = 0, dtype: DTypeLike = np.float64
) -> Split:
    """Load scikit-learn's 1797 handwritten digits, with a stratified part held out.

    Parameters
    ----------
    test_fraction : float
        Share of the samples to hold out, between 0 and 1; every digit keeps its share.
    seed : int
        Seed of the choice, below 2³².
    dtype : float type
        Floating-point type of the samples.

    Returns
    -------
    Split
        X of shape (n, 64) with entries in [0, 1] and y of shape (n,), for training and held out.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.
    TypeError, ValueError
        If `test_fraction` is not between 0 and 1, or `seed` is no such integer.
    """
    if not 0.0 < test_fraction < 1.0:
        raise ValueError(f"test_fraction must be between 0 and 1, got {test_fraction}")
    seed = _checks.integer("seed", seed, 0, 2**32 - 1)
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the digits come with scikit-learn: pip install 'amcore[demo]'", name=error.name
        ) from error

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        np.asarray(X / 16.0, dtype=dtype),
        np.asarray(y, dtype=np.int64),
        test_size=test_fraction,
        stratify=y,
        random_state=seed,
    )
    return Split(X_train, y_train, X_test, y_test)


def load_idx(path: str | PathLike[str]) -> NDArray[Any]:
    """Load an array from a file in the IDX format of MNIST, plain or compressed with gzip.

    The format is two zero bytes, a byte for the type, a byte for the number of dimensions, the
    dimensions as 32-bit integers, then the entries; all of it big-endian.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    ndarray
        The entries in the machine's own byte order.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is truncated, damaged or not an IDX file.
    """
    with _files.reading(path, "an IDX file") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        return _read_idx(cast(IO[bytes], gzip.GzipFile(fileobj=file)) if compressed else file)


def _read_idx(stream: IO[bytes]) -> NDArray[Any]:
    """Read an array from a stream, and no more of it than its header declares."""
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _IDX_TYPES:
        raise ValueError(f"it begins with {start.hex(' ')}")
    dtype, ndim = np.dtype(_IDX_TYPES[start[2]]), start[3]
    header = stream.read(4 * ndim)
    if len(header) < 4 * ndim:
        raise ValueError(f"it is truncated: its header needs {4 + 4 * ndim} bytes")
    shape = tuple(int(size) for size in np.frombuffer(header, dtype=">u4"))
    expected = math.prod(shape) * dtype.itemsize
    entries = bytearray()
    for chunk in _files.chunks(stream, expected + 1):
        entries += chunk
    if len(entries) != expected:
        got = f"{len(entries)} bytes" if len(entries) < expected else "more"
        raise ValueError(f"an array of shape {shape} needs {expected} bytes, it has {got}")
    array = np.frombuffer(entries, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def load_mnist_folder(path: str | PathLike[str]) -> Split:
    """Load MNIST, or a data set of the same format, from a folder with its four files.

    Parameters
    ----------
    path : path
        Folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
        t10k-labels-idx1-ubyte, in itself or in a folder ``raw`` in it, each plain or as .gz, with
        a dash or, as in some archives, a dot before ``idx``.

    Returns
    -------
    Split
        X float32 of shape (n, height · width) with entries in [0, 1] and y of shape (n,), for
        training and held out.

    Raises
    ------
    OSError
        If a file is missing or cannot be read.
    ValueError
        If a file is damaged, or images and labels do not belong together.
    """
    folder = _checks.path("path", path)

    def load(stem: str, dimensions: int) -> NDArray[Any]:
        file = _find(folder, stem)
        array = load_idx(file)
        if array.dtype != np.uint8 or array.ndim != dimensions:
            raise ValueError(
                f"{file} holds {array.dtype} of shape {array.shape},"
                f" expected uint8 with {dimensions} dimension{'s' if dimensions > 1 else ''}"
            )
        return array

    def part(name: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        images = load(f"{name}-images-idx3-ubyte", 3)
        labels = load(f"{name}-labels-idx1-ubyte", 1)
        if len(images) != len(labels):
            raise ValueError(
                f"{folder} has {len(images)} {name} images but {len(labels)} {name} labels"
            )
        X = images.reshape(len(images), math.prod(images.shape[1:])).astype(
            np.float32
        ) / np.float32(255)
        return X, labels.astype(np.int64)

    return Split(*part("train"), *part("t10k"))


def _find(folder: Path, stem: str) -> Path:
    """Return the file of MNIST under one of the names that archives and mirrors give it."""
    names = [f"{name}{end}" for name in (stem, stem.replace("-idx", ".idx")) for end in ("", ".gz")]
    for place in (folder, folder / "raw"):
        for name in names:
            # some archives unpack to a folder of this name
            if (place / name).is_file():
                return place / name
    there = sorted(entry.name for entry in folder.iterdir())
    shown = ", ".join(there[:10]) + (", …" if len(there) > 10 else "") if there else "nothing"
    raise FileNotFoundError(f"{folder} holds neither {' nor '.join(names)}, but {shown}")
