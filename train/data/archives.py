"""Unpacking a downloaded archive: safely, within limits, and whole or not at all."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path

from ... import console
from ...errors import DrawError


def unpack_folder(
    archive: Path, member: str, target: Path, *, max_bytes: int, max_files: int = 300_000
) -> None:
    """The folder ``member`` of a ``.tar.gz`` becomes ``target``, in one step when everything is unpacked.

    Raises:
        DrawError: damaged or cut off, anything but plain files and folders in it, paths that lead out of it,
            more files or bytes than allowed, no such folder, or ``target`` exists or cannot be written.
    """
    if target.exists():
        raise DrawError(f"{target} exists but is not complete: move it away, then try again")
    room: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        # As a stream: the limits are met before a bomb has been read to its end.
        with (
            console.progress(f"unpacking {archive.name} (MB)", max_bytes / 1e6) as bar,
            gzip.open(archive) as stream,  # unlike tarfile's own, it notices a cut and checks the sum
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            total = 0
            for number, entry in enumerate(tar):
                total += entry.size
                if number >= max_files or total > max_bytes:
                    raise DrawError(f"{archive} unpacks to more than it should: not unpacked")
                if not (entry.isfile() or entry.isdir()):
                    raise DrawError(f"{archive} holds {entry.name}, neither file nor folder: not unpacked")
                tar.extract(entry, room, filter="data")
                bar.advance(entry.size / 1e6)
            while stream.read(1 << 16):  # to the end, where the sum is
                total += 1 << 16
                if total > max_bytes + (1 << 20):
                    raise DrawError(f"{archive} goes on after its last file: not unpacked")
        if not (room / member).is_dir():
            raise DrawError(f"{archive} does not hold the folder {member}")
        os.replace(room / member, target)
    except tarfile.FilterError as error:
        raise DrawError(f"{archive} leads outside its folder ({error}): not unpacked") from error
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DrawError(f"{archive} is damaged: {error}") from error
    except OSError as error:
        raise DrawError(f"cannot unpack {archive}: {error.strerror or error}") from error
    finally:
        if room is not None:
            shutil.rmtree(room, ignore_errors=True)
