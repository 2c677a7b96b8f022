"""Downloads, from a server on this machine: nothing here needs the network."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from draw_onnx.errors import DrawError
from draw_onnx.train.data import downloads
from draw_onnx.train.data.archives import unpack_folder
from draw_onnx.train.data.downloads import SOURCES, Source, find_file, find_folder

FILE = "mnist/t10k-labels-idx1-ubyte.gz"


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.headers["Accept-Encoding"] != "identity":  # else a server may compress on the way
            self.send_error(406)
            return
        if "slow" in self.path:
            time.sleep(1)
        with suppress(BrokenPipeError, ConnectionResetError):  # the client did not wait
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder and the address it is served at."""
    monkeypatch.setenv("NO_PROXY", "*")
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def use(monkeypatch: pytest.MonkeyPatch, digest: str, *urls: str) -> None:
    monkeypatch.setitem(SOURCES, FILE, Source(urls, digest))


def test_fetched_once_from_the_first_address_that_answers(served, root: Path, monkeypatch) -> None:
    folder, url = served
    (folder / "labels.gz").write_bytes(b"\x1f\x8bcontent" * 30_000)
    content = (folder / "labels.gz").read_bytes()
    use(monkeypatch, sha256(content), "http://127.0.0.1:9/labels.gz", f"{url}/none.gz", f"{url}/labels.gz")
    path = find_file(root, FILE)
    assert path == root / FILE
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file
    (folder / "labels.gz").unlink()
    assert find_file(root, FILE) == path  # it is there now


def test_failures_are_one_line_that_says_where_the_file_belongs(served, root: Path, monkeypatch) -> None:
    folder, url = served
    (folder / "labels.gz").write_bytes(b"an error page")
    (folder / "slow.gz").write_bytes(b"too late")
    monkeypatch.setattr(downloads, "TIMEOUT", 0.1)
    cases = {
        "http://127.0.0.1:9/labels.gz": "no connection",
        "http://no-such-host.invalid/labels.gz": "no connection",
        f"{url}/none.gz": "the server answered 404 File not found",
        f"{url}/slow.gz": "no answer",
        f"{url}/labels.gz": "what came is not the official file: its checksum differs",
    }
    for address, reason in cases.items():
        use(monkeypatch, sha256(b"the official one"), address)
        with pytest.raises(DrawError) as caught:
            find_file(root, FILE)
        message = str(caught.value)
        assert f"({reason}): it belongs in {root / FILE}; " in message
        assert "--data-dir or DRAW_DATA" in message
        assert "\n" not in message
        assert not list(root.iterdir())  # nothing left behind


def test_what_is_there_is_never_downloaded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "", "http://127.0.0.1:9/never")
    with pytest.raises(
        DrawError, match=f"looked for {root / FILE} and {root / Path(FILE).name}; if you have"
    ):
        find_file(root, FILE)
    inside = root / Path(FILE).name  # the folder named is the data set's own
    inside.write_bytes(b"")
    assert find_file(root, FILE) == inside
    plain = root / FILE.removesuffix(".gz")
    plain.parent.mkdir()
    plain.write_bytes(b"unpacked by the user")
    assert find_file(root, FILE) == plain


def test_a_folder_that_cannot_be_written_is_said(served, root: Path, monkeypatch) -> None:
    folder, url = served
    (folder / "labels.gz").write_bytes(b"x")
    use(monkeypatch, sha256(b"x"), f"{url}/labels.gz")
    (root / "mnist").write_text("a file where the folder belongs")
    with pytest.raises(DrawError, match=r"cannot write .*labels-idx1-ubyte\.gz: "):
        find_file(root, FILE)


def test_official_checksums_are_well_formed() -> None:
    sources = [*SOURCES.values(), downloads.CIFAR10, downloads.SVHN_TRAIN, downloads.SVHN_TEST]
    for source in sources:
        kind, digest = source.digest.split(":")
        assert len(bytes.fromhex(digest)) == {"sha256": 32, "md5": 16}[kind]
        assert source.urls


def test_checksums_are_those_of_the_files_here(data_dir: Path) -> None:
    for relative, source in SOURCES.items():
        path = data_dir / relative
        if path.exists():  # the binarised files are gzipped there, plain at their source
            assert sha256(path.read_bytes()) == source.digest


Entry = tuple[str, bytes] | tarfile.TarInfo


def tar_gz(path: Path, *entries: Entry) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                tar.addfile(info, io.BytesIO(entry[1]))


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_archive_is_fetched_unpacked_and_removed(served, root: Path) -> None:
    folder, url = served
    tar_gz(folder / "set.tar.gz", ("inner/mark", b"1"), ("inner/deep/a", b"2"), ("readme", b"3"))
    source = Source((f"{url}/set.tar.gz",), sha256((folder / "set.tar.gz").read_bytes()), unpacked=1000)
    found = find_folder(root, "group/inner", "mark", source)
    assert found == root / "group" / "inner"
    assert (found / "deep" / "a").read_bytes() == b"2"
    assert [path.name for path in (root / "group").iterdir()] == ["inner"]
    (folder / "set.tar.gz").unlink()
    assert find_folder(root, "group/inner", "mark", source) == found


def test_an_archive_laid_there_by_hand_is_used_and_kept(root: Path) -> None:
    source = Source(("http://127.0.0.1:9/set.tar.gz",), "", unpacked=1000)
    with pytest.raises(
        DrawError, match=r"could not download set\.tar\.gz .* looked for mark in .*/group/inner, "
    ):
        find_folder(root, "group/inner", "mark", source)
    (root / "group").mkdir()
    tar_gz(root / "group" / "set.tar.gz", ("inner/mark", b"1"))
    assert (find_folder(root, "group/inner", "mark", source) / "mark").is_file()
    assert (root / "group" / "set.tar.gz").is_file()
    (root / "group" / "inner" / "mark").rename(root / "group" / "inner" / "other")
    with pytest.raises(DrawError, match="inner holds no mark"):
        find_folder(root, "group/inner", "mark", source)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("../evil", b"x"), ("inner/mark", b"1")], "leads outside its folder"),
        ([("inner/mark", b"1"), ("inner/../../evil", b"x")], "leads outside its folder"),
        ([special("inner/link", tarfile.SYMTYPE, "/etc/passwd")], "neither file nor folder"),
        ([special("inner/pipe", tarfile.FIFOTYPE)], "neither file nor folder"),
        ([("inner/mark", bytes(2000))], "more than it should"),
        ([(f"inner/{i}", b"") for i in range(12)], "more than it should"),
        ([("other/mark", b"1")], "does not hold the folder inner"),
    ],
)
def test_unsafe_archives_leave_nothing(root: Path, entries: list[Entry], message: str) -> None:
    archive = root / "set.tar.gz"
    tar_gz(archive, *entries)
    with pytest.raises(DrawError, match=message):
        unpack_folder(archive, "inner", root / "inner", max_bytes=1000, max_files=10)
    assert [path.name for path in root.iterdir()] == ["set.tar.gz"]
    assert not (root.parent / "evil").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b[:-3],
        lambda b: b[:60] + bytes(9) + b[69:],
        lambda b: b[:-8] + bytes(4) + b[-4:],  # the sum
        lambda b: b"text",
    ],
)
def test_damaged_archives_leave_nothing(root: Path, damage: Callable[[bytes], bytes]) -> None:
    archive = root / "set.tar.gz"
    tar_gz(archive, *((f"inner/{i}", hashlib.sha256(bytes([i])).digest() * 20) for i in range(9)))
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(DrawError, match=r"set\.tar\.gz"):
        unpack_folder(archive, "inner", root / "inner", max_bytes=100_000)
    assert [path.name for path in root.iterdir()] == ["set.tar.gz"]


def test_a_tar_bomb_stops_at_the_limit(root: Path, limited_memory) -> None:
    archive = root / "set.tar.gz"
    info = tarfile.TarInfo("inner/huge")
    info.size = 256 << 20
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(info, io.BytesIO(bytes(256 << 20)))
    with limited_memory(8), pytest.raises(DrawError, match="more than it should"):
        unpack_folder(archive, "inner", root / "inner", max_bytes=1 << 20)
    assert [path.name for path in root.iterdir()] == ["set.tar.gz"]
