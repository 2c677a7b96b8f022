"""Downloads, from a server on this machine: nothing here needs the network."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from draw_onnx.errors import DrawError
from draw_onnx.train.data import downloads
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


def tar_gz(path: Path, **entries: bytes) -> str:
    """Writes an archive and gives its digest; entries are named inner/NAME."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(f"inner/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return sha256(path.read_bytes())


def test_archive_is_fetched_unpacked_and_removed(served, root: Path) -> None:
    folder, url = served
    digest = tar_gz(folder / "set.tar.gz", mark=b"1", other=b"2" * 100_000)
    source = Source((f"{url}/set.tar.gz",), digest)
    (root / "group" / "inner").mkdir(parents=True)  # an empty folder is no obstacle
    found = find_folder(root, "group/inner", "mark", source)
    assert found == root / "group" / "inner"
    assert (found / "other").read_bytes() == b"2" * 100_000
    assert [path.name for path in (root / "group").iterdir()] == ["inner"]
    (folder / "set.tar.gz").unlink()
    assert find_folder(root, "group/inner", "mark", source) == found


def test_an_archive_laid_there_by_hand_is_used_and_kept(root: Path) -> None:
    digest = tar_gz(root / "set.tar.gz", mark=b"1")
    source = Source(("http://127.0.0.1:9/set.tar.gz",), digest)
    assert (find_folder(root, "inner", "mark", source) / "mark").is_file()
    assert sorted(path.name for path in root.iterdir()) == ["inner", "set.tar.gz"]
    (root / "inner" / "mark").rename(root / "inner" / "other")
    with pytest.raises(DrawError, match="inner holds no mark"):
        find_folder(root, "inner", "mark", source)


def test_another_archive_of_that_name_is_not_unpacked(root: Path) -> None:
    digest = tar_gz(root / "set.tar.gz", mark=b"1")
    content = (root / "set.tar.gz").read_bytes()
    for damaged in (content[: len(content) // 2], content[:60] + bytes(9) + content[69:], b"text", b""):
        (root / "set.tar.gz").write_bytes(damaged)
        with pytest.raises(
            DrawError, match=r"set\.tar\.gz is not the official file, its checksum differs: move"
        ):
            find_folder(root, "inner", "mark", Source(("http://127.0.0.1:9/set.tar.gz",), digest))
        assert [path.name for path in root.iterdir()] == ["set.tar.gz"]
        assert (root / "set.tar.gz").read_bytes() == damaged


def test_an_official_archive_that_does_not_unpack_leaves_nothing(root: Path) -> None:
    """No such folder in it, or an entry that leads outside: no guard is left to the digest alone."""
    digest = tar_gz(root / "set.tar.gz", mark=b"1", **{"../../evil": b"x"})
    for name, reason in (("inner", "outside"), ("another", "No such file|outside")):
        with pytest.raises(DrawError, match=rf"cannot unpack .*set\.tar\.gz: .*({reason})"):
            find_folder(root, name, "mark", Source(("http://127.0.0.1:9/set.tar.gz",), digest))
    assert [path.name for path in root.iterdir()] == ["set.tar.gz"]
    assert not (root.parent / "evil").exists()


def test_a_folder_is_taken_for_the_sets_own_only_where_no_other_has_such_a_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--data-dir svhn/test`` must not train on the test pictures."""
    (root / "mark").touch()
    source = Source(("http://127.0.0.1:9/set.tar.gz",), "")
    assert find_folder(root, "group/inner", "mark", source, only=True) == root
    with pytest.raises(DrawError, match="could not download"):
        find_folder(root, "group/inner", "mark", source)
