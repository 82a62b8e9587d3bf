"""Results in files: an npz archive of their arrays, with a header in JSON. Nothing in it can run.

`save` takes a result apart into arrays, numbers and words; `load` puts it together again from the
classes that `parts` lists, and from no others, whatever a file may say.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jax
import numpy as np

from gmm_jax._warnings import warn
from gmm_jax.saving.archive import FORMAT, SCHEMA, UnreadableError, pack, unpack
from gmm_jax.saving.parts import Builder, Writer


class Savable:
    """What a file can keep."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a file, from which `gmm_jax.load` has the same answers.

        The file is an npz archive, whose arrays `numpy.load` reads, too. A file of that name is
        replaced in one go, when the new one is complete.

        Args:
            path: Where; the name is taken as it is.

        Raises:
            TypeError: it holds something that a file cannot, such as a prior of your own.
            OSError: the file cannot be written.

        Example:
            >>> import os, tempfile
            >>> import gmm_jax
            >>> mixture = gmm_jax.Mixture([0.4, 0.6], gmm_jax.Normal([350, 500], [2, 2]))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     mixture.save(os.path.join(folder, "bentos.npz"))
            ...     again = gmm_jax.load(os.path.join(folder, "bentos.npz"))
            >>> again.components.means.tolist()
            [350.0, 500.0]
        """
        writer = Writer()
        tree = writer.node(self, type(self).__name__)
        header = _provenance(self) | {"result": tree}
        _replace(path, json.dumps(header, indent=1, allow_nan=False), writer.arrays)


def load(
    path: str | os.PathLike[str], functions: dict[str, Callable[..., Any]] | None = None
) -> Any:
    """Read what `save` wrote.

    Args:
        path: The file. It need not be trusted: nothing in it is run.
        functions: By name the distributions that `Wrapped` components wrap, which no file holds.

    Returns:
        The result, with the answers of the one that was saved: to the last digit on the same
        machine, with the same versions, and with JAX set to the same precision.

    Raises:
        ValueError: a file that `save` did not write, that is damaged, or that a newer version of
            gmm_jax wrote; a function that is missing.
        OSError: the file cannot be read.

    Warns:
        FitWarning: a result in float64, while JAX is set to float32.

    Example:
        >>> import os, tempfile
        >>> import gmm_jax
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "bentos.npz")
        ...     gmm_jax.fit([498, 352, 501, 349, 497, 503, 351, 500], 2).save(path)
        ...     result = gmm_jax.load(path)
        >>> result.assign([360, 480]).tolist()
        [0, 1]
    """
    with open(path, "rb") as file:
        try:
            header, arrays = unpack(file)
            builder = Builder(arrays, functions or {})
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
    if builder.narrow or (header["dtype"] == "float64" and not exact):
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
