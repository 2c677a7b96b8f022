"""Where the official files come from, and how a missing one gets to its place."""

from __future__ import annotations

import os
import tarfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pooch.hashes
import requests

from ... import console
from ...errors import DrawError
from .places import remove_leftovers

TIMEOUT = 15  # seconds without an answer or a byte
ELSEWHERE = "if you have it elsewhere, set --data-dir or DRAW_DATA"


@dataclass(frozen=True)
class Source:
    """An official file.

    Attributes:
        urls: addresses, tried in turn.
        digest: what pooch checks, ``sha256:…`` or ``md5:…``.
    """

    urls: tuple[str, ...]
    digest: str


# Mirrors of the four files of yann.lecun.com, which no longer serves them; SHA-256 of the official files.
_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
_MNIST = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
# SHA-256 of the plain text files, the values that TensorFlow Datasets lists too.
_BINARISED_MIRRORS = ("http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist",)
_BINARISED = {
    "binarized_mnist_train.amat": "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
    "binarized_mnist_valid.amat": "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
    "binarized_mnist_test.amat": "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
}
SOURCES: dict[str, Source] = {
    f"{folder}/{file}": Source(tuple(f"{mirror}/{file}" for mirror in mirrors), f"sha256:{sha256}")
    for folder, mirrors, files in (
        ("mnist", _MNIST_MIRRORS, _MNIST),
        ("binarized_mnist", _BINARISED_MIRRORS, _BINARISED),
    )
    for file, sha256 in files.items()
}

# The md5 sums of CIFAR-10 and SVHN are those that torchvision's and other public loaders check.
CIFAR10 = Source(
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    "md5:c32a1d4ab5d03f1284b67883e8d87530",
)
SVHN_TRAIN = Source(
    ("http://ufldl.stanford.edu/housenumbers/train.tar.gz",),
    "md5:a649f4cb15c35520e8a8c342d4c0005a",
)
SVHN_TEST = Source(
    ("http://ufldl.stanford.edu/housenumbers/test.tar.gz",),
    "md5:790d9c8d42f1fcbd219b59956c853a81",
)


def places(root: Path, relative: str) -> tuple[Path, Path]:
    """Where ``relative`` may be: under ``root``, or in it where ``root`` is the data set's own folder."""
    return root / relative, root / relative.rpartition("/")[2] if "/" in relative else root


def find_file(root: Path, relative: str) -> Path:
    """The file ``relative`` under ``root`` or in it, plain or with ``.gz``; fetched where it is missing.

    Raises:
        DrawError: it is missing and could not be downloaded; the line says where it belongs.
    """
    for path in places(root, relative):
        other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")
        for candidate in (path, other):
            if candidate.is_file():
                return candidate
    return fetch_file(root, relative, " and ".join(map(str, places(root, relative))))


def fetch_file(root: Path, relative: str, looked: str) -> Path:
    """Fetch one of :data:`SOURCES` to its place under ``root``.

    Raises:
        DrawError: it could not be downloaded; the line says where it belongs, and that it was ``looked`` for.
    """
    path = root / relative
    fetch(SOURCES[relative], path, looked)
    return path


def is_official(root: Path, relative: str) -> bool:
    """Whether the file there is the one of :data:`SOURCES`, and not another set's of the same name."""
    source, path = SOURCES.get(relative), root / relative
    return source is not None and path.is_file() and pooch.hashes.hash_matches(str(path), source.digest)


def find_folder(root: Path, relative: str, marker: str, source: Source, only: bool = False) -> Path:
    """The folder ``relative`` under ``root`` or in it, recognised by the file ``marker`` in it; fetched where missing.

    Args:
        only: no other folder of the data set has such a file, so that ``root`` may be the folder itself.

    Raises:
        DrawError: it is missing and could not be downloaded; the line says where it belongs.
    """
    looked = [*places(root, relative), *([root] if only else [])]
    for folder in looked:
        if (folder / marker).is_file():
            return folder
    folder = looked[0]
    archive = folder.parent / source.urls[0].rsplit("/", 1)[-1]
    if folder.exists() and any(folder.iterdir()):
        raise DrawError(f"{folder} holds no {marker}: add it, or move the folder away to have it downloaded")
    fetched = not archive.is_file()
    if fetched:
        fetch(source, archive, f"{marker} in {', '.join(map(str, looked))}")
    elif not pooch.hashes.hash_matches(str(archive), source.digest):
        raise DrawError(
            f"{archive} is not the official file, its checksum differs: move it away to have it downloaded,"
            f" or unpack it so that there is {folder / marker}"
        )
    with suppress(OSError):  # an empty folder makes way; unpacking says what is wrong where it does not
        folder.rmdir()
    try:
        _unpack(archive, folder)
    except DrawError:
        if not (folder / marker).is_file():  # unless another process of this run was faster
            raise
    if fetched:  # somebody's own archive stays
        archive.unlink(missing_ok=True)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    """The folder of that name in an official ``.tar.gz`` takes its place when everything is unpacked."""
    size = archive.stat().st_size
    remove_leftovers(folder.parent, f".{folder.name}.*")
    try:
        with (
            TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as room,
            console.progress(f"unpacking {archive.name} (MB)", size / 1e6) as bar,
            open(archive, "rb") as file,
            tarfile.open(fileobj=file, mode="r|gz") as tar,
        ):
            done = 0
            for entry in tar:
                if hasattr(tarfile, "data_filter"):
                    tar.extract(entry, room, filter="data")
                else:  # Python before 3.11.4; the archive's digest is the official one's
                    tar.extract(entry, room)
                bar.advance((file.tell() - done) / 1e6)
                done = file.tell()
            os.replace(Path(room, folder.name), folder)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DrawError(f"cannot unpack {archive}: {getattr(error, 'strerror', None) or error}") from error


def fetch(source: Source, path: Path, looked: str) -> None:
    """Download to ``path``, checked against its digest; a failure leaves nothing behind.

    Args:
        looked: where it was looked for in vain, for the message.

    Raises:
        DrawError: no address answered, what came is not the official file, or it cannot be written.
    """
    downloader: Any = _download  # pooch's types describe something else
    pooch.get_logger().setLevel("WARNING")
    reason = "no address is known"
    made = not path.parent.exists()
    for url in source.urls:
        console.note(f"downloading {url}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pooch.retrieve(url, source.digest, fname=path.name, path=path.parent, downloader=downloader)
            return
        except requests.RequestException as error:
            reason = _reason(error)
        except ValueError as error:  # what pooch says of another checksum
            if "hash" not in str(error):
                raise
            reason = "what came is not the official file: its checksum differs"
        except OSError as error:
            raise DrawError(f"cannot write {path}: {error.strerror or error}") from error
    if made:
        with suppress(OSError):  # another process may be downloading into it
            path.parent.rmdir()
    raise DrawError(
        f"could not download {path.name} ({reason}): it belongs in {path}; looked for {looked}; {ELSEWHERE}"
    )


def _download(url: str, output_file: str, pooch: object) -> None:
    """A pooch downloader with our progress bar and timeout."""
    # "identity": a server that compresses on the way would have a .gz unpacked before it is checked.
    headers = {"Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers) as response:
        response.raise_for_status()
        megabytes = int(response.headers.get("content-length", 0)) / 1e6
        name = url.rsplit("/", 1)[-1]
        with console.progress(f"{name} (MB)", megabytes) as bar, open(output_file, "wb") as file:
            for chunk in response.iter_content(1 << 16):
                file.write(chunk)
                bar.advance(len(chunk) / 1e6)


def _reason(error: requests.RequestException) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__
