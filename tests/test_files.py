"""Outputs on all kinds of folders: whole or not at all, with the mode they had, through links, on disks without modes."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from draw_onnx.errors import DrawError
from draw_onnx.files import (
    atomic_write,
    check_not_read,
    check_ordinary,
    check_writable,
    scratch_beside,
    write_text,
)

posix = pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, content: bytes = b"new") -> None:
    check_writable(path)
    with atomic_write(path) as file:
        file.write(content)
    assert path.read_bytes() == content
    leftovers = [name for name in os.listdir(os.path.realpath(path.parent)) if name.endswith(".part")]
    assert leftovers == []


@posix
@pytest.mark.parametrize("old", [0o600, 0o644, 0o640, 0o666, 0o755])
def test_a_file_keeps_its_mode(tmp_path: Path, old: int) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"old and longer")
    path.chmod(old)
    before = os.umask(0o077)
    try:
        write(path)
    finally:
        os.umask(before)
    assert mode(path) == old


@posix
@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0, 0o666)])
def test_a_new_file_has_what_open_would_give(tmp_path: Path, umask: int, expected: int) -> None:
    before = os.umask(umask)
    try:
        write(tmp_path / "out.png")
    finally:
        os.umask(before)
    assert mode(tmp_path / "out.png") == expected


@posix
def test_the_umask_of_the_process_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """os.umask sets while it reads: a file that another thread makes in that moment is open to all."""
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask was touched"))
    write(tmp_path / "out.png")
    write(tmp_path / "out.png")


@posix
def test_a_private_file_is_never_readable_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"")
    path.chmod(0o600)
    with atomic_write(path):
        assert [mode(part) for part in tmp_path.glob(".*")] == [0o600]


@pytest.mark.parametrize("name", ["a" * 246, "a" * 255, "ä" * 127, "絵" * 85, "😀" * 63, "x" * 251 + ".png"])
def test_names_as_long_as_the_file_system_allows(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    write(tmp_path / name)


@posix
@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    write(tmp_path / os.fsdecode(b"caf\xe9.png"))


def test_names_that_cannot_be_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DrawError, match="the name of the file to write is empty"), atomic_write(""):
        pass
    for name in ("a" * 256, "nul\0", "none/x", "file/x", "."):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(DrawError, match=r"^cannot write .*: ") as caught:
            check_writable(tmp_path / name)
        assert "\n" not in str(caught.value)
        with pytest.raises(DrawError, match=r"^cannot write "), atomic_write(tmp_path / name):
            pass


@posix
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    real = folder / "real.png"
    real.write_bytes(b"old")
    real.chmod(0o600)
    (tmp_path / "one.png").symlink_to("elsewhere/real.png")
    (tmp_path / "two.png").symlink_to("one.png")
    write(tmp_path / "two.png")
    assert (tmp_path / "two.png").is_symlink()
    assert (tmp_path / "one.png").is_symlink()
    assert real.read_bytes() == b"new"
    assert mode(real) == 0o600
    assert not real.is_symlink()


@posix
def test_links_that_lead_nowhere_yet(tmp_path: Path) -> None:
    (tmp_path / "out.png").symlink_to("made.png")
    write(tmp_path / "out.png")
    assert (tmp_path / "made.png").read_bytes() == b"new"
    (tmp_path / "gone").symlink_to("no/folder/x.png")
    with pytest.raises(DrawError, match="no/folder does not exist"):
        check_writable(tmp_path / "gone")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(DrawError, match="cannot write"):
        check_writable(tmp_path / "circle")
    (tmp_path / "null").symlink_to("/dev/null")
    with pytest.raises(DrawError, match="not an ordinary file"):
        check_writable(tmp_path / "null")


@posix
@pytest.mark.parametrize("refusal", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL])
def test_disks_without_modes_and_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    """exFAT, CIFS and FUSE refuse to change modes and owners, and some to sync; a plain open works there."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    for name in ("chmod", "fchmod", "chown", "fchown", *(["fsync"] if refusal != errno.EPERM else [])):
        monkeypatch.setattr(os, name, refuse)
    write(tmp_path / "out.png")
    write(tmp_path / "out.png", b"newer")


def test_the_test_of_a_folder_is_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """os.access knows nothing of what a server allows (NFS, CIFS, ACLs)."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    write(tmp_path / "out.png")


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"old")

    def fail(error: BaseException) -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise error

    for error in (KeyError("bug"), KeyboardInterrupt(), MemoryError(), ValueError("bug")):
        with pytest.raises(type(error)):
            fail(error)
    with pytest.raises(DrawError, match="No space left"):
        fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


def test_readers_see_the_old_or_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    contents = [bytes([k]) * 100_000 for k in range(20)]
    write(path, contents[0])
    stop = threading.Event()

    def read() -> set[bytes]:
        seen = {path.read_bytes()}
        while not stop.is_set():
            seen.add(path.read_bytes())
        return seen

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        try:
            before = contents[0]
            for content in contents:
                with atomic_write(path) as file:
                    for begin in range(0, len(content), 10_000):
                        file.write(content[begin : begin + 10_000])
                        assert path.read_bytes() == before
                assert path.read_bytes() == content
                before = content
        finally:
            stop.set()
        assert reader.result() <= set(contents)


_POWERLESS = """
import os, sys
sys.path[:0] = {path!r}
from pathlib import Path
from draw_onnx.files import atomic_write, check_folder_writable, check_writable, scratch_beside
for name in sys.argv[1:]:
    try:
        check_writable(name)
        with scratch_beside(name) as scratch:
            scratch.write(b"x")
        with atomic_write(name) as file:
            file.write(b"new")
        print("written", Path(name).read_bytes().decode())
    except Exception as error:
        print(type(error).__name__, error)
try:
    check_folder_writable(Path(sys.argv[1]).parent / "a/b")
except Exception as error:
    print(type(error).__name__, error)
"""


@posix
def test_folders_and_files_that_may_not_be_written(tmp_path: Path) -> None:
    """In a folder that is closed a file that is open can be written, as open would; one that is not is refused."""
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "open.png").write_bytes(b"old and longer")
    (tmp_path / "protected.png").write_bytes(b"old")
    (tmp_path / "protected.png").chmod(0o444)
    closed.chmod(0o555)
    command = [sys.executable, "-c", _POWERLESS.format(path=sys.path)]
    if os.geteuid() == 0:
        drop = shutil.which("setpriv")
        if drop is None:
            pytest.skip("root may write everywhere, and setpriv is not here to take that away")
        command[:0] = [drop, "--inh-caps=-all", "--bounding-set=-all"]
    names = [closed / "open.png", closed / "new.png", tmp_path / "protected.png"]
    try:
        ran = subprocess.run([*command, *map(str, names)], capture_output=True, text=True, check=True)
    finally:
        closed.chmod(0o755)
    assert ran.stdout.splitlines() == [
        "written new",
        f"DrawError cannot write {closed}/new.png: the folder {closed} is not writable",
        f"DrawError cannot write {tmp_path}/protected.png: Permission denied",
        f"DrawError cannot write {closed}/a/b: the folder {closed} is not writable",
    ]
    assert [p.name for p in closed.iterdir()] == ["open.png"]


@posix
def test_a_file_that_cannot_be_replaced_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is mounted on its own, as containers do."""

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    path = tmp_path / "out.png"
    path.write_bytes(b"old and longer than the new")
    monkeypatch.setattr(os, "replace", busy)
    write(path)
    write(path, b"n" * 1000)
    with pytest.raises(DrawError, match="busy"):
        write(tmp_path / "new.png")
    synced, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_ino) or sync(number))
    write(path, b"n" * 900)
    assert path.stat().st_ino in synced

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(DrawError, match="No space left"):
        write(path, b"m" * 2000)
    assert path.read_bytes() == b"n" * 900  # the room is asked for before a byte is lost


def test_disks_that_give_files_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network shares: every file there would be every other one."""
    inode = 1  # its place in what stat gives
    whole = os.stat

    def numberless(path, **more: bool) -> os.stat_result:
        status = list(whole(path, **more))
        status[inode] = 0
        return os.stat_result(status)

    for name in ("in.png", "out.png"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(os, "stat", numberless)
    check_not_read([tmp_path / "out.png"], [tmp_path / "in.png"])
    (tmp_path / "folder").mkdir()
    for same in (tmp_path / "in.png", tmp_path / "folder" / ".." / "in.png"):
        with pytest.raises(DrawError, match=r"in\.png: it is one of the files that are read"):
            check_not_read([tmp_path / "in.png"], [same])


def test_what_is_no_ordinary_file(tmp_path: Path) -> None:
    with pytest.raises(DrawError, match="is a folder: give an ordinary file"):
        check_ordinary(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DrawError, match="is a pipe or a device: give an ordinary file"):
            check_ordinary(tmp_path / "pipe")


def test_text_and_scratch(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "ä \udce9\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa4 \xe9\n"
    with scratch_beside(tmp_path / "out.npz") as scratch:
        scratch.write(b"x")
    with pytest.raises(DrawError, match="does not exist"):
        scratch_beside(tmp_path / "none" / "out.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
