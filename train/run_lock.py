"""One ``draw-train`` a run folder."""

from __future__ import annotations

import errno
import os
import platform
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..console import note
from ..errors import DrawError
from ..files import make_folder, remove_parts
from .settings import RunFolder

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)  # what file systems without them say


class RunLock:
    """Holds a run folder for this process. The system lets go of it when the process ends, however it ends.

    The lock is ``flock`` of ``FOLDER/.lock`` (``LockFile`` on Windows), which NFS passes on to its server, so that
    other machines see it. The file stays behind and holds nothing by itself; it says who took the lock last.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / ".lock"
        self._lock: FileLock | None = None
        self._without = False  # on a disk that has no locks

    def take(self) -> None:
        """Take the lock, once; clears away what a killed predecessor left half written.

        Raises:
            DrawError: another process has it (says which), or the folder cannot be written.
        """
        if self._lock is not None or self._without:
            return
        # Without flock a lock is a file that outlives a killed run: then rather none, and a word.
        lock = FileLock(self._file, timeout=0, fallback_to_soft=False)
        try:
            make_folder(self._folder)
            lock.acquire()
        except Timeout:
            who = ""
            with suppress(OSError, UnicodeDecodeError):
                who = self._file.read_text(encoding="utf-8").strip()[:200]
            raise DrawError(
                f"{self._folder} is in use by another draw-train{f' ({who})' if who else ''}: wait for its end,"
                " or choose another --out"
            ) from None
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise DrawError(f"cannot write {self._file}: {reason}") from error
            note(
                f"{self._folder}: no locks here ({reason}): see to it that no other draw-train uses this folder"
            )
            self._without = True
            return
        self._lock = lock
        with suppress(OSError):  # Windows lets nobody write a locked file
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            self._file.write_text(
                f"process {os.getpid()} on {platform.node()}, since {since}\n", encoding="utf-8"
            )
        run = RunFolder(self._folder)
        remove_parts(self._folder, (file.name for file in run.files))
        remove_parts(run.samples, ["*.png"])

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()
