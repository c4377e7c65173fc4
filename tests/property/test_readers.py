"""Whatever bytes a file holds, readers return or raise one line that names it, never else."""

import gzip
import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import amcore
from amcore import _files, checkpoint
from amcore.datasets import load_idx

GOLDEN = Path(__file__).parents[1] / "golden"
# What a small file may make a reader allocate.
MEMORY = 20_000_000


@st.composite
def damages(draw):
    """Return a function that damages bytes: flips, overwrites, cuts and repeats."""
    edits = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["flip", "overwrite", "cut", "repeat"]),
                st.floats(0, 1, exclude_max=True),
                st.integers(0, 7),
                st.binary(min_size=1, max_size=8),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def damaged(content):
        content = bytearray(content)
        for kind, share, bit, new in edits:
            k = int(share * len(content))
            if kind == "flip" and content:
                content[k] ^= 1 << bit
            elif kind == "overwrite":
                content[k : k + len(new)] = new
            elif kind == "cut":
                del content[k : k + 1 + 4**bit]
            else:
                content[k:k] = content[k : k + 1 + 4**bit]
        return bytes(content)

    return damaged


def sealed(content):
    """Return the bytes with the digest that belongs to them, as a forger would."""
    size = len(_files._digest(io.BytesIO(), 0))
    body = content[:-size]
    return body + _files._digest(io.BytesIO(body), len(body))


def check(read, path, content):
    path.write_bytes(content)
    tracemalloc.start()
    try:
        read(path)
    except (ValueError, OSError) as error:
        assert str(path) in str(error) and "\n" not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readers")


def newest(folder):
    """Return the bytes of a checkpoint of the newest version."""
    path = folder / "newest.npz"
    checkpoint.save(path, *checkpoint.load(GOLDEN / "checkpoint_v1.npz"))
    return path.read_bytes()


@pytest.mark.parametrize("read", [checkpoint.load, amcore.Trace.load])
@pytest.mark.parametrize("version", [1, 2])
@given(damaged=damages())
def test_archives(folder, read, version, damaged):
    """Version 2 with a digest that fits, so that what lies behind it is tried."""
    if version == 1:
        content = damaged((GOLDEN / "checkpoint_v1.npz").read_bytes())
    else:
        content = sealed(damaged(newest(folder)))
    check(read, folder / "damaged.npz", content)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@given(damaged=damages(), shape=st.lists(st.integers(0, 2**32 - 1), max_size=4))
def test_idx(folder, pack, damaged, shape):
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 0x0E, len(shape), *shape)
    entries = np.arange(64.0).astype(">f8").tobytes()
    for content in (damaged(pack(header + entries)), pack(damaged(header + entries))):
        check(load_idx, folder / "damaged.idx", content)
