"""The Python in pages of Markdown, run as a reader would run it."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def blocks(page: Path) -> list[str]:
    """The blocks of Python on a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def run(page: Path, some: list[str]) -> dict[str, Any]:
    """What these blocks of a page define, run one after the other."""
    names: dict[str, Any] = {}
    for block in some:
        exec(compile(block, str(page), "exec"), names)
    return names
