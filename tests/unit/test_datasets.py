import gzip
import struct
import sys
import tracemalloc

import numpy as np
import pytest

from amcore.datasets import load_digits_split, load_idx, load_mnist_folder

TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array):
    code = TYPES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def gz(content):
    """Packed without the time of day: tests are named after what they read."""
    return gzip.compress(content, mtime=0)


def mnist_folder(path, n=6, held_out=3):
    rng = np.random.default_rng(0)
    for name, count in (("train", n), ("t10k", held_out)):
        images = rng.integers(0, 256, (count, 4, 5), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        (path / f"{name}-images-idx3-ubyte.gz").write_bytes(gz(idx(images)))
        (path / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return images, labels


class TestDigits:
    def test_the_split_is_stratified_and_scaled(self):
        pytest.importorskip("sklearn")
        X_train, y_train, X_test, y_test = load_digits_split(0.25, seed=3)
        assert X_train.shape == (1347, 64) and X_test.shape == (450, 64)
        assert X_train.dtype == np.float64 and y_train.dtype == np.int64
        for X in (X_train, X_test):
            assert X.min() == 0.0 and X.max() == 1.0
        share = np.bincount(y_test, minlength=10) / np.bincount(y_train, minlength=10)
        np.testing.assert_allclose(share, 450 / 1347, rtol=0.05)

    def test_the_seed_decides(self):
        pytest.importorskip("sklearn")
        one, two, other = (load_digits_split(seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one.X_test, two.X_test)
        assert not np.array_equal(one.X_test, other.X_test)
        assert load_digits_split(dtype=np.float32).X_train.dtype == np.float32

    @pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
    def test_the_fraction_is_checked(self, fraction):
        with pytest.raises(ValueError, match="test_fraction must be between 0 and 1"):
            load_digits_split(fraction)

    @pytest.mark.parametrize("seed", [-1, 2**32])
    def test_the_seed_is_checked(self, seed):
        with pytest.raises(ValueError, match="seed: expected an integer"):
            load_digits_split(seed=seed)

    def test_without_scikit_learn_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
        with pytest.raises(ModuleNotFoundError, match=r"amcore\[demo\]"):
            load_digits_split()


class TestIdx:
    @pytest.mark.parametrize("dtype", TYPES)
    @pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (0, 28, 28), ()])
    def test_round_trip(self, tmp_path, dtype, shape):
        array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
        for content in (idx(array), gz(idx(array))):
            (tmp_path / "a").write_bytes(content)
            loaded = load_idx(tmp_path / "a")
            assert loaded.dtype == array.dtype and loaded.dtype.isnative
            np.testing.assert_array_equal(loaded, array)
            assert loaded.flags.writeable

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "it begins with"),
            (b"\0\0\x08", "it begins with 00 00 08"),
            (b"\x89PNG\r\n", "it begins with 89 50 4e 47"),
            (b"\0\0\x07\x01\0\0\0\0", "it begins with"),
            (b"\0\0\x08\x03\0\0\0\x02", "it is truncated: its header needs 16 bytes"),
            (idx(np.ones((2, 3), np.uint8))[:-1], r"shape \(2, 3\) needs 6 bytes, it has 5 bytes"),
            (idx(np.ones((2, 3), np.uint8)) + b"\0", r"shape \(2, 3\) needs 6 bytes, it has more"),
            (b"\0\0\x08\x03" + b"\xff" * 12, "it has 0 bytes"),
            (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\0", "dimension"),
            (gz(b"\0\0\x0e\x03" + b"\xff" * 12 + bytes(99)), "it has 99 bytes"),
            (gz(idx(np.ones(1000, np.uint8)))[:-12], "ended before"),
            (gz(idx(np.ones(9, np.uint8)))[:-4] + b"abcd", "length"),
            (b"\x1f\x8bnothing", ""),
        ],
    )
    def test_damaged_files_are_refused(self, tmp_path, content, message):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(ValueError, match=f"a is not an IDX file: .*{message}") as caught:
            load_idx(tmp_path / "a")
        assert "\n" not in str(caught.value) and str(tmp_path / "a") in str(caught.value)

    def test_no_more_is_unpacked_than_declared(self, tmp_path):
        (tmp_path / "a").write_bytes(gz(idx(np.ones(9, np.uint8)) + bytes(10**8)))
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match="needs 9 bytes, it has more"):
                load_idx(tmp_path / "a")
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()

    def test_a_missing_file_is_an_os_error(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            load_idx(tmp_path / "absent.gz")


class TestMnistFolder:
    def test_images_become_rows(self, tmp_path):
        images, labels = mnist_folder(tmp_path)
        X_train, y_train, X_test, y_test = load_mnist_folder(tmp_path)
        assert X_train.shape == (6, 20) and y_train.shape == (6,)
        assert X_test.dtype == np.float32 and y_test.dtype == np.int64
        np.testing.assert_array_equal(X_test, images.reshape(3, 20).astype(np.float32) / 255)
        np.testing.assert_array_equal(y_test, labels)

    @pytest.mark.parametrize("place", [".", "raw"])
    @pytest.mark.parametrize("archive", ["", "{}.d", "{}"])
    def test_names_of_archives(self, tmp_path, place, archive):
        """With a dot for the dash; beside, or inside of, folders named like the files."""
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        mnist_folder(folder)
        for path in list(folder.iterdir()):
            path.rename(path.with_name(path.name.replace("-idx", ".idx")))
            if archive:
                (folder / archive.format(path.name.removesuffix(".gz"))).mkdir(exist_ok=True)
        assert load_mnist_folder(tmp_path).X_train.shape == (6, 20)

    def test_a_missing_file_is_named(self, tmp_path):
        mnist_folder(tmp_path)
        (tmp_path / "t10k-labels-idx1-ubyte").rename(tmp_path / "test-labels")
        message = (
            r"neither t10k-labels-idx1-ubyte nor .*t10k-labels\.idx1-ubyte.*, but .*test-labels"
        )
        with pytest.raises(FileNotFoundError, match=message):
            load_mnist_folder(tmp_path)
        with pytest.raises(FileNotFoundError, match="absent"):
            load_mnist_folder(tmp_path / "absent")

    def test_images_and_labels_must_belong_together(self, tmp_path):
        mnist_folder(tmp_path)
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(5, np.uint8)))
        with pytest.raises(ValueError, match="6 train images but 5 train labels"):
            load_mnist_folder(tmp_path)

    def test_labels_in_place_of_images_are_refused(self, tmp_path):
        mnist_folder(tmp_path)
        (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros(6, np.uint8)))
        with pytest.raises(ValueError, match="expected uint8 with 3 dimensions"):
            load_mnist_folder(tmp_path)
