"""A result written to a file, and read from one."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jax
import numpy as np

from gmm_jax._warnings import warn
from gmm_jax.saving import Savable
from gmm_jax.saving.archive import FORMAT, SCHEMA, UnreadableError, pack, unpack
from gmm_jax.saving.parts import Builder, Writer


def write(result: Savable, path: str | os.PathLike[str]) -> None:
    """See `Savable.save`."""
    writer = Writer()
    tree = writer.node(result, type(result).__name__)
    header = _provenance(result) | {"result": tree}
    _replace(path, json.dumps(header, indent=1, allow_nan=False), writer.arrays)


def read(path: str | os.PathLike[str], functions: dict[str, Callable[..., Any]]) -> Any:
    """See `load`."""
    with open(path, "rb") as file:
        try:
            header, arrays = unpack(file)
            builder = Builder(arrays, functions)
            result = builder.value(header["result"])
            if arrays or not isinstance(result, Savable):
                raise UnreadableError("it holds what no result holds; save the result again")
        except UnreadableError as error:
            raise ValueError(f"{os.fspath(path)} cannot be loaded: {error}.") from None
        except Exception as error:  # there is no end to what may be wrong with a file
            raise ValueError(
                f"{os.fspath(path)} cannot be loaded: it is no file that `save` wrote, or it was "
                f"damaged since ({type(error).__name__}: {error}); save the result again."
            ) from error
    exact = jax.dtypes.canonicalize_dtype(np.float64) == np.float64
    if builder.narrow or (header.get("dtype") == "float64" and not exact):
        warn(
            f"{os.fspath(path)} holds a result in float64, but JAX is set to float32, and so will "
            f"its answers be: call jax.config.update('jax_enable_x64', True) before loading."
        )
    return result


def _provenance(result: Any) -> dict[str, Any]:
    """What a header says beside the result: when and by what it was made."""
    import gmm_jax

    weights = getattr(getattr(result, "inside", result), "weights", None)
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "class": type(result).__name__,
        "method": getattr(result, "method", None),
        "reason": getattr(result, "reason", None),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "gmm_jax": gmm_jax.__version__,
            "jax": jax.__version__,
            "numpy": np.__version__,
        },
        "dtype": None if weights is None else np.dtype(weights.dtype).name,
    }


def _replace(path: str | os.PathLike[str], header: str, arrays: dict[str, np.ndarray]) -> None:
    """Write a file beside, and put it in the place of the old one when it is on the disk."""
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"path: there is no folder {folder}; make it first.")
    beside = os.path.join(folder, f".{os.urandom(8).hex()}.tmp")
    try:
        with open(beside, "xb") as file:
            pack(file, header, arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        if os.path.exists(beside):
            os.remove(beside)
