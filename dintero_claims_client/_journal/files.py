"""Where a journal's files are, and that nobody else can read them.

The database itself is never opened here: closing any descriptor of a file drops all locks of the process on
it, also those of SQLite.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import JournalError
from .wal import find_damage

_PRIVATE = 0o600


def locate(path: Path) -> Path:
    """Return the path without links, so that one journal has one lock; raise where no file can be."""
    try:
        path = path.resolve()
        found = path.stat()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise JournalError(f"the journal {path} cannot be made: there is no such directory") from None
        return path
    except (OSError, ValueError, RuntimeError) as error:
        raise JournalError(f"the journal {path} cannot be opened: {error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise JournalError(f"{path} is not a journal: it is not a file")
    if found.st_nlink > 1:
        # Each name would have a lock and a log of its own.
        raise JournalError(f"the journal {path} has another name too (a hard link): remove one of them")
    return path


def require(path: Path) -> None:
    """Raise where there is no journal."""
    if not _size(path):
        _refuse_orphaned_wal(path)
        raise JournalError(f"there is no journal at {path}")


def make(path: Path) -> None:
    """Make an empty file that only its owner can read, if there is none yet."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except FileExistsError:
        return
    except OSError as error:
        raise JournalError(f"{path} cannot be made: {error.strerror}") from error
    try:
        # The umask may have taken away even the owner's rights.
        os.fchmod(descriptor, _PRIVATE)
    finally:
        os.close(descriptor)


def prepare(path: Path) -> None:
    """Make the file private, and if need be new. SQLite gives its other files the same mode."""
    if not _size(path):
        _refuse_orphaned_wal(path)
    make(path)
    for name in (path, wal_path(path), _beside(path, "-shm"), lock_path(path)):
        try:
            if stat.S_IMODE(name.stat().st_mode) & ~_PRIVATE:
                name.chmod(_PRIVATE)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise JournalError(f"{name} cannot be kept from others: {error.strerror}") from error


def check_wal(path: Path) -> str | None:
    """Say what is wrong with the write-ahead log; only while no process writes it."""
    try:
        with wal_path(path).open("rb") as file:
            return find_damage(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"{wal_path(path)} cannot be read: {error.strerror}") from error


def lock_path(path: Path) -> Path:
    """Return the path of the file that is locked while a process works with the journal."""
    return _beside(path, ".lock")


def wal_path(path: Path) -> Path:
    """Return the path of the write-ahead log."""
    return _beside(path, "-wal")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _refuse_orphaned_wal(path: Path) -> None:
    # SQLite would delete it, with all the commits in it.
    if _size(wal_path(path)):
        raise JournalError(f"the journal {path} is damaged: it is gone or empty, but {wal_path(path)} is not")
