"""Results in files: an npz archive of their arrays, with a header in JSON. Nothing in it can run.

`save` takes a result apart into arrays, numbers and words; `load` puts it together again from the
classes that `parts` lists, and from no others, whatever a file may say.
"""

import os
from collections.abc import Callable
from typing import Any


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
        from gmm_jax.saving import files  # quicker to import when first used

        files.write(self, path)


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
    from gmm_jax.saving import files  # quicker to import when first used

    return files.read(path, functions or {})
