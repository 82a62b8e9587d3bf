"""The one warning: there is an answer, but it should not be trusted yet."""

import sys
import warnings
from pathlib import Path

HERE = str(Path(__file__).parent)


class FitWarning(UserWarning):
    """There is an answer, but it should not be trusted yet; the message says what to do."""


def warn(message: str) -> None:
    """Warn at the line outside this package that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, FitWarning, stacklevel=level - 1)
