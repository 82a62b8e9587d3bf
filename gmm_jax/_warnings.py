"""The one warning: there is an answer, but it should not be trusted yet."""

import warnings
from pathlib import Path

HERE = str(Path(__file__).parent)


class FitWarning(UserWarning):
    """There is an answer, but it should not be trusted yet; the message says what to do."""


def warn(message: str) -> None:
    """Warn at the line outside this package that led here."""
    warnings.warn(message, FitWarning, skip_file_prefixes=(HERE,))
