"""Waiting for the disk: what is called, and that its failure is told."""

import os

import pytest

from engine import disk_sync


def test_a_file_and_a_folder_are_synced_themselves(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(disk_sync.os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    path = tmp_path / "a"
    path.write_bytes(b"x")
    disk_sync.sync_path(path)
    disk_sync.sync_path(tmp_path)
    assert synced == [path.stat().st_ino, tmp_path.stat().st_ino]


class Library:
    """A C library whose `syncfs` fails, or is not there."""

    def __init__(self, _name, use_errno):
        assert use_errno

    @staticmethod
    def syncfs(_descriptor):
        disk_sync.ctypes.set_errno(5)
        return -1


def test_a_file_system_is_synced(tmp_path):
    disk_sync.sync_filesystem(tmp_path)
    with pytest.raises(FileNotFoundError):
        disk_sync.sync_filesystem(tmp_path / "missing")


def test_a_disk_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_sync.ctypes, "CDLL", Library)
    with pytest.raises(OSError, match="Input/output") as raised:
        disk_sync.sync_filesystem(tmp_path)
    assert raised.value.filename == str(tmp_path)


def test_without_syncfs_everything_is_synced(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(disk_sync.ctypes, "CDLL", lambda *_args, **_options: object())
    monkeypatch.setattr(disk_sync.os, "sync", lambda: called.append(True))
    disk_sync.sync_filesystem(tmp_path)
    assert called == [True]
