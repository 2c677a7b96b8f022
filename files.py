"""Writing files so that an interruption leaves either the old file or the whole new one."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, cast

from .errors import DrawError

_WINDOWS = os.name == "nt"
_PART = ".part"  # ends the name of what is being written
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)  # a folder that takes no new file


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a binary handle whose content becomes ``path`` when the block ends without an error.

    The bytes go to a temporary file in the same folder, are flushed and fsynced, and replace ``path`` in one step.
    After an error nothing is left behind and an existing file is untouched. A symbolic link stays one: the file it
    leads to is written. An existing file keeps its mode and owner, a new one has what ``open`` would give it.

    Where only the file may be written and not its folder (another's folder, a file mounted on its own) the bytes
    go to the system's temporary folder first, and into the file when they are complete.

    Raises:
        DrawError: the folder is missing or cannot be written, or the disk is full.
    """
    temporary: Path | None = None
    try:
        with writing(path):
            target = _behind_links(Path(path))
            file, temporary = _create(target)
            with file:
                yield cast(BinaryIO, file)
                file.flush()
                _sync(file)
                if temporary is None:
                    file.seek(0)
                    _overwrite(file, target)
                    return
            try:
                _replace(temporary, target)
            except OSError as error:
                if error.errno not in (*_REFUSED, errno.EBUSY, errno.EXDEV) or not target.is_file():
                    raise
                with temporary.open("rb") as complete:
                    _overwrite(complete, target)
            else:
                temporary = None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _replace(source: Path, target: Path) -> None:
    """``os.replace``. On Windows it fails while a scanner or a viewer holds one of the files: mostly for a moment."""
    for pause in (0.05, 0.1, 0.2, 0.4, 0.8):
        try:
            return os.replace(source, target)
        except PermissionError:
            if not _WINDOWS:
                raise
            time.sleep(pause)
    return os.replace(source, target)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise DrawError unless :func:`atomic_write` can begin at ``path``: said before the work, not after it."""
    with writing(path):
        _try(_behind_links(Path(path)))


def _try(target: Path) -> None:
    file, temporary = _create(target)
    file.close()
    if temporary is not None:
        temporary.unlink()


def check_not_read(outputs: Iterable[Path | None], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Raise DrawError where an output would replace a file that is read, by whatever name."""
    written: dict[tuple[int, int] | str, Path] = {}
    for output in outputs:
        with suppress(OSError, ValueError):
            if output is not None:
                written[_identity(output)] = output
    for path in inputs if written else ():
        with suppress(OSError, ValueError):
            if (output := written.get(_identity(path))) is not None:
                raise DrawError(f"cannot write {output}: it is one of the files that are read")


def _identity(path: str | os.PathLike[str]) -> tuple[int, int] | str:
    """Of a file that is there. Some disks give files no numbers: there its name behind all links has to do."""
    status = os.stat(path)
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.normcase(os.path.realpath(path))


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """:func:`atomic_write` of a content that is there as a whole."""
    with atomic_write(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """The same for text, as UTF-8; names that are not UTF-8 keep their bytes."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def check_folder_writable(folder: Path) -> None:
    """:func:`check_writable` for a folder that may not be there yet, nor those above it."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise DrawError(f"cannot create {folder}: {existing} is a file")
    with writing(folder):
        _try(existing / "new")


def make_folder(folder: Path) -> None:
    """A folder with those above it, where it is not there. Raises DrawError where it cannot be made."""
    with _in_one_line(f"create {folder}"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            reason = "a file or a link that leads nowhere has this name"
            raise DrawError(f"cannot create {folder}: {reason}") from error


def check_ordinary(path: str | os.PathLike[str]) -> None:
    """Raise DrawError for a folder, a pipe or a device, where a file is read in more than one pass or as a whole."""
    with reading(path):
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise DrawError(f"{path} is a folder: give an ordinary file")
        if not stat.S_ISREG(mode):
            raise DrawError(f"{path} is a pipe or a device: give an ordinary file")


def reading(path: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """What the system says while ``path`` is read becomes the one line of a DrawError."""
    return _in_one_line(f"read {path}")


def writing(path: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """The same while it is written. Raises DrawError for an empty name, which as a path is the current folder."""
    if not os.fspath(path):
        raise DrawError("the name of the file to write is empty")
    return _in_one_line(f"write {Path(path)}")


@contextmanager
def _in_one_line(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DrawError(f"cannot {what}: {error.strerror or error}") from error


def scratch_beside(path: str | os.PathLike[str]) -> IO[bytes]:
    """A nameless temporary file on the disk that ``path`` will be on, where its folder may be written.

    Raises:
        DrawError: no folder for temporary files can be written.
    """
    with writing(path):
        try:
            return tempfile.TemporaryFile(dir=_behind_links(Path(path)).parent)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            return tempfile.TemporaryFile()


def move_into(part: Path, path: Path) -> None:
    """Put a finished file in ``path``'s place in one step; as :func:`atomic_write` a link stays one, and a mode.

    Raises:
        DrawError: the folder is missing or cannot be written.
    """
    with writing(path):
        target = _behind_links(path)
        if target.exists():
            with suppress(OSError):
                shutil.copymode(target, part)
        if part.stat().st_dev == target.parent.stat().st_dev:
            _replace(part, target)
            return
    with atomic_write(path) as file, part.open("rb") as content:
        shutil.copyfileobj(content, file)


def remove_parts(folder: Path, names: Iterable[str]) -> None:
    """Remove what a killed process left of these files. The caller knows that nobody is writing them now."""
    for name in names:
        for part in folder.glob(f".{name}.*{_PART}"):
            with suppress(OSError):
                part.unlink()


def _behind_links(path: Path) -> Path:
    """The file that ``path`` leads to, there or not.

    Raises:
        DrawError: a folder, or no ordinary file.
        OSError: a folder that does not exist, a name that is too long, links in a circle.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    target = Path(os.path.realpath(path)) if os.path.islink(path) else path
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise DrawError(f"cannot write {path}: the folder {target.parent} does not exist") from None
        return target
    if stat.S_ISDIR(mode):
        raise DrawError(f"cannot write {path}: it is a folder")
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not stat.S_ISREG(mode):
        # os.replace would put a file in the place of /dev/null.
        raise DrawError(f"cannot write {path}: it is not an ordinary file")
    return target


def _create(target: Path) -> tuple[IO[bytes], Path | None]:
    """A temporary file of ``target``'s mode beside it, and its name; without one where only the file may be written."""
    old = target.stat() if target.exists() else None
    if old is not None:
        target.open("r+b").close()  # what is there must let itself be written, as for open
    # The kernel applies the umask; what was private is never more than that, not even for a moment.
    mode = 0o666 if old is None else stat.S_IMODE(old.st_mode) & 0o777
    # Thirty characters take at most 120 bytes of the 255 (143 on some encrypted disks) that a name may have.
    part = target.with_name(f".{target.name[:30]}.{os.urandom(4).hex()}{_PART}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        file = os.fdopen(os.open(part, flags, mode), "w+b")
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        if old is not None:
            return tempfile.TemporaryFile(), None
        raise OSError(error.errno, f"the folder {target.parent} is not writable") from error
    if old is not None:
        # Refused on disks that have no owners and modes (FAT, network shares): there is nothing to keep.
        with suppress(OSError):
            if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(part, old.st_uid, old.st_gid)
        with suppress(OSError):
            os.chmod(part, mode)
    return file, part


def _sync(file: IO[bytes]) -> None:
    """Bring the bytes to the disk, where the file system knows such a thing."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise


def _overwrite(content: IO[bytes], target: Path) -> None:
    """Put ``content``, from where it stands, into the existing file; the room is asked for before a byte is lost."""
    with target.open("r+b") as file:
        before = os.fstat(file.fileno()).st_size
        size = os.fstat(content.fileno()).st_size
        if hasattr(os, "posix_fallocate") and size > before:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                file.truncate(before)
                if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not every file system can
                    raise
        shutil.copyfileobj(content, file)
        file.truncate()
        file.flush()
        _sync(file)
