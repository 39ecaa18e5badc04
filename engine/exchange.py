"""Two directory entries change places in one step, where the system can do that.

POSIX has no such call; Linux has `renameat2` with RENAME_EXCHANGE (man 2 rename), macOS
`renamex_np` with RENAME_SWAP. Python offers neither, so the C library is called. Some file systems
(NFS, some FUSE) refuse: the caller has to have another way.
"""

import ctypes
import errno
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["exchange"]

_AT_FDCWD = -100  # fcntl.h of Linux: paths are relative to the working directory
_RENAME_EXCHANGE = 2  # linux/fs.h
_RENAME_SWAP = 2  # sys/stdio.h of macOS
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


def exchange(one: Path, other: Path) -> bool:
    """Swap two entries of one file system; readers see either both old or both new.

    Args:
        one: a file or folder.
        other: likewise.

    Returns:
        False if the system or the file system cannot; nothing has changed then.

    Raises:
        OSError: one of them is not there, or may not be changed.
    """
    call = _library_call()
    if call is None:
        return False
    paths = (os.fsencode(one), os.fsencode(other))
    if sys.platform == "darwin":
        failed = call(*paths, _RENAME_SWAP)
    else:
        failed = call(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


@lru_cache(maxsize=1)
def _library_call() -> Any:
    """The C library's function; None where it has none."""
    library = ctypes.CDLL(None, use_errno=True)
    name = "renamex_np" if sys.platform == "darwin" else "renameat2"
    call = getattr(library, name, None)
    if call is not None:
        call.restype = ctypes.c_int
        own = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint]
        places = [ctypes.c_int, ctypes.c_char_p] * 2
        call.argtypes = own if sys.platform == "darwin" else [*places, ctypes.c_uint]
    return call
