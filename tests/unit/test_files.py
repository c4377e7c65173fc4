"""amcore._files: files are whole, links and permissions stay, nothing foreign is trusted."""

import errno
import os
import resource
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from amcore._files import atomic_write, check_writable, save_arrays, saved_arrays

as_a_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


def write(path, content=b"new"):
    with atomic_write(path) as file:
        file.write(content)


class TestAtomicWrite:
    def test_a_failure_leaves_the_old_file_and_no_other(self, tmp_path):
        path = tmp_path / "a"
        path.write_text("old")
        with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt
        assert path.read_text() == "old" and os.listdir(tmp_path) == ["a"]

    def test_nothing_is_seen_before_the_end(self, tmp_path):
        with atomic_write(tmp_path / "a") as file:
            file.write(b"new")
            file.flush()
            assert not (tmp_path / "a").exists()
        assert (tmp_path / "a").read_bytes() == b"new"

    def test_permissions(self, tmp_path):
        (tmp_path / "ordinary").touch()
        write(tmp_path / "new")
        assert (tmp_path / "new").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
        (tmp_path / "new").chmod(0o640)
        write(tmp_path / "new")
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640

    @pytest.mark.parametrize("exists", [True, False])
    def test_a_link_stays_and_its_target_is_written(self, tmp_path, exists):
        (tmp_path / "there").mkdir()
        target, link = tmp_path / "there" / "target", tmp_path / "link"
        if exists:
            target.write_text("old")
        link.symlink_to(os.path.join("there", "target"))
        write(link)
        assert link.is_symlink() and target.read_bytes() == b"new"
        assert sorted(os.listdir(tmp_path)) == ["link", "there"]
        assert os.listdir(target.parent) == ["target"]

    def test_pipes_and_devices_are_written_to(self, tmp_path):
        write(os.devnull)
        assert not os.path.isfile(os.devnull)
        os.mkfifo(tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        save_arrays(tmp_path / "pipe", {"a": np.ones(3)})
        assert os.read(reader, 4) == b"PK\x03\x04"
        os.close(reader)

    def test_leftovers_of_killed_writers_are_removed(self, tmp_path):
        path, other = tmp_path / "a.npz", tmp_path / "b.npz"
        killed = (
            "import os, signal, sys; from amcore._files import atomic_write\n"
            "with atomic_write(sys.argv[1]) as file:\n"
            "    file.write(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
        )
        for each in (path, path, other):
            subprocess.run([sys.executable, "-c", killed, str(each)], timeout=60)
        left = os.listdir(tmp_path)
        assert len(left) == 2, "the second writer has removed what the first one left"
        with atomic_write(path) as first:  # two writers of this process
            first.write(b"first")
            write(path, b"second")
            assert path.read_bytes() == b"second"
        assert path.read_bytes() == b"first"
        assert len(os.listdir(tmp_path)) == 2, "what the writer of another file left stays"
        write(other)
        assert sorted(os.listdir(tmp_path)) == ["a.npz", "b.npz"]

    def test_a_living_writer_is_left_alone(self, tmp_path):
        path = tmp_path / "a"
        slow = (
            "import sys; from amcore._files import atomic_write\n"
            "with atomic_write(sys.argv[1]) as file:\n"
            "    print(flush=True); sys.stdin.readline(); file.write(b'slow')"
        )
        command = [sys.executable, "-c", slow, str(path)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as writer:
            writer.stdout.readline()
            write(path)
            assert path.read_bytes() == b"new"
            writer.communicate("\n", timeout=60)
        assert writer.returncode == 0 and path.read_bytes() == b"slow"


class TestErrors:
    """The file that was named is the one that the error names, early or late."""

    @pytest.mark.parametrize("refuse", [write, check_writable])
    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("folder", IsADirectoryError),
            ("no/a", FileNotFoundError),
            ("file/a", NotADirectoryError),
            ("x" * 300, OSError),
            ("dangling", FileNotFoundError),
            ("loop", OSError),
        ],
    )
    def test_wrong_places(self, tmp_path, refuse, name, error):
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").touch()
        (tmp_path / "dangling").symlink_to(tmp_path / "no" / "target")
        (tmp_path / "loop").symlink_to("loop")
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(error) as caught:
            refuse(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name) and caught.value.errno
        assert ".amcore" not in str(caught.value) and sorted(os.listdir(tmp_path)) == before

    @as_a_user
    @pytest.mark.parametrize("refuse", [write, check_writable])
    def test_what_is_protected(self, tmp_path, refuse):
        file, folder = tmp_path / "file", tmp_path / "folder"
        file.touch(0o444)
        folder.mkdir(0o555)
        for path in (file, folder / "a"):
            with pytest.raises(PermissionError) as caught:
                refuse(path)
            assert caught.value.filename == str(path)

    @pytest.mark.parametrize(
        ("path", "error"),
        [(3, TypeError), (b"a", TypeError), (None, TypeError), ("a\0", ValueError)],
    )
    @pytest.mark.parametrize("refuse", [write, check_writable])
    def test_what_is_no_path(self, refuse, path, error):
        with pytest.raises(error, match="path: expected a path, got"):
            refuse(path)

    def test_a_full_disk(self, tmp_path):
        path = tmp_path / "a.npz"
        save_arrays(path, {"a": np.zeros(10)})
        _, hard = limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(OSError) as caught:
                save_arrays(path, {"a": np.zeros(10), "b": np.zeros(10_000)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
        assert os.listdir(tmp_path) == ["a.npz"]
        with saved_arrays(path, "what") as arrays:
            assert set(arrays) == {"a"}

    def test_checking_changes_nothing(self, tmp_path):
        path = tmp_path / "a"
        check_writable(path)
        assert os.listdir(tmp_path) == []
        path.write_text("old")
        check_writable(path)
        assert path.read_text() == "old" and os.listdir(tmp_path) == ["a"]

    def test_an_error_of_the_block_about_another_file_stays(self, tmp_path):
        with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "a"):
            (tmp_path / "absent").read_bytes()
        assert caught.value.filename == str(tmp_path / "absent")


def npy_header(shape, descr="<f8"):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (117 - len(text)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


class TestHostileArchives:
    """Nothing is allocated that the file is not long enough for."""

    def load(self, path):
        with saved_arrays(path, "it") as arrays:
            return dict(arrays)

    def refused(self, path, message):
        tracemalloc.start()
        try:
            with pytest.raises(
                ValueError, match=f"is not it saved by amcore: .*{message}"
            ) as caught:
                self.load(path)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "header",
        [
            npy_header("(1000000000,)"),
            npy_header("(0,)"),
            npy_header("(-1, -8)"),
            npy_header("(1000000000000,)", "<U0"),
            npy_header("(4294967296, 4294967296, 0)"),
            npy_header("(1,)", "|O"),
            b"\x93NUMPY\x02\x00" + bytes(8),
            b"\x93NUMPY\x01\x00\xff\xff" + b"-" * 65535,
            b"",
        ],
    )
    def test_members_that_declare_another_size(self, tmp_path, header):
        path = tmp_path / "a.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", header + bytes(64))
        self.refused(path, "")

    def test_what_has_no_end(self):
        with pytest.raises(ValueError, match="not a regular file"):
            self.load("/dev/zero")

    def test_compressed_members(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez_compressed(path, version=1, zeros=np.zeros(10_000_000))
        self.refused(path, "version.npy is compressed")

    def test_members_that_share_bytes_or_names(self, tmp_path):
        path = tmp_path / "a.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", npy_header("(100,)") + bytes(800))
            archive.filelist *= 100
        self.refused(path, "share")

    def test_arrays_come_back(self, tmp_path):
        arrays = {
            "version": np.array(1),
            "é/ü": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            "empty": np.empty((0, 3), np.float32),
            "text": np.array(["ε", "long " * 99]),
        }
        save_arrays(tmp_path / "a.npz", arrays)
        with np.load(tmp_path / "a.npz") as file:
            numpy = dict(file)
        for loaded in (self.load(tmp_path / "a.npz"), numpy):
            assert list(loaded) == list(arrays)
            for name, array in arrays.items():
                np.testing.assert_array_equal(loaded[name], array, strict=True)
