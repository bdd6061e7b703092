"""Files are whole or as they were; where they cannot be written, that is said at once."""

import errno
import hashlib
import os
import tempfile

import pytest

from cgt_tf import files
from cgt_tf.errors import InputError


class BreakError(Exception):
    """What goes wrong while something is written."""


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_file_is_replaced_when_the_block_succeeds(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("old")
    with files.replaced(path) as temporary:
        assert temporary.suffix == ".npz" and temporary.name.startswith(files.TEMPORARY)
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and names(tmp_path) == ["a.npz"]


def test_a_file_is_as_it_was_when_the_block_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(BreakError), files.replaced(path) as temporary:
        temporary.write_text("half")
        raise BreakError
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_two_writers_of_a_file_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with files.replaced(path) as first, files.replaced(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"


def test_files_can_be_read_by_others_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        files.write_atomically(tmp_path / "a.txt", "é")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "a.txt").read_bytes() == "é".encode()


def test_a_directory_is_replaced_or_as_it_was(tmp_path):
    target = tmp_path / "new" / "place"
    with pytest.raises(BreakError), files.staged_directory(target) as staging:
        (staging / "a").touch()
        raise BreakError
    assert names(tmp_path) == []
    for name in ("a", "b"):
        with files.staged_directory(target) as staging:
            (staging / name).touch()
    with pytest.raises(BreakError), files.staged_directory(target):
        raise BreakError
    assert names(target) == ["b"] and names(target.parent) == ["place"]


def test_a_place_that_cannot_be_written_is_tried_where_it_is(tmp_path, monkeypatch):
    tried = []

    def refused(dir):
        tried.append(dir)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    for path, place in (
        (tmp_path, tmp_path),
        (tmp_path / "a.png", tmp_path),
        (tmp_path / "no" / "nor" / "a.png", tmp_path),
    ):
        with pytest.raises(InputError, match=r"--output in a place that can be written, got /.*: "):
            files.check_writable(path, "--output in a place")
        assert tried.pop() == place


def test_digests(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2" * (1 << 20))
    expected = hashlib.sha256(b"1" + b"2" * (1 << 20)).hexdigest()
    assert files.sha256(tmp_path / "a", tmp_path / "b") == expected
    assert files.sha256_of("é") == hashlib.sha256("é".encode()).hexdigest()


def test_the_cache_is_where_it_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("CGT_TF_CACHE", str(tmp_path / "b"))
    assert files.cache_root(tmp_path / "a") == tmp_path / "a"
    assert files.cache_root() == tmp_path / "b"
