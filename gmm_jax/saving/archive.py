"""The file itself: an archive of arrays as NumPy writes them, none compressed, and a header.

An entry is as long as the bytes that it has in the file, so that no file unfolds into more than its
own size.
"""

import io
import json
import math
import os
import zipfile
from typing import IO, Any

import numpy as np

FORMAT, SCHEMA = "gmm_jax result", 1
"""Older files may lack a field that has a default. Any other change of what is stored raises the
number of the schema, and `load` must go on reading the lower ones."""
HEADER = "header.json"


class UnreadableError(ValueError):
    """What is wrong with a file, without its name, and what to do."""


def pack(file: IO[bytes], header: str, arrays: dict[str, np.ndarray]) -> None:
    """Write the archive."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(HEADER, header)
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, version=(1, 0), allow_pickle=False)


def unpack(file: IO[bytes]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read header and arrays.

    Raises:
        UnreadableError: the archive is not one that `pack` writes.
    """
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        size = os.fstat(file.fileno()).st_size
        compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if compressed or sum(entry.file_size for entry in entries) > size:
            raise UnreadableError(
                "its entries are compressed or overlap, as those that `save` writes never do; "
                "save the result again"
            )
        header = json.loads(archive.read(HEADER))
        _check(header)
        names = [entry.filename for entry in entries if entry.filename != HEADER]
        return header, {name.removesuffix(".npy"): _array(archive.read(name)) for name in names}


def _check(header: Any) -> None:
    if header["format"] != FORMAT:
        raise UnreadableError("gmm_jax did not write it: load what `save` wrote")
    if header["schema"] > SCHEMA:
        raise UnreadableError(
            f"gmm_jax {header['versions']['gmm_jax']} wrote it, by schema {header['schema']}, and "
            f"this version reads no further than schema {SCHEMA}: update gmm_jax"
        )


def _array(raw: bytes) -> np.ndarray:
    """An array of numbers, of the size that its entry has."""
    stream = io.BytesIO(raw)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise UnreadableError("an array has another format than `save` writes; save it again")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise UnreadableError(f"an array is of {dtype}, not of numbers; save the result again")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(raw) - stream.tell():
        raise UnreadableError(f"an array of shape {shape} is cut short; save the result again")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)
