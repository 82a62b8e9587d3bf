"""Reading numbers out of a CSV file, with errors that name the line."""

import csv
from collections.abc import Sequence
from typing import Any

import numpy as np


def read_columns(path: str, wanted: Sequence[str] = ()) -> tuple[np.ndarray, list[str]]:
    """Read columns of a CSV file, with or without a line of names.

    Args:
        path: The file; empty lines are skipped.
        wanted: Names, or positions from 1 on; all columns if empty.

    Returns:
        n numbers, or n rows when there are several columns; and the columns' names.

    Raises:
        ValueError: an empty file or one that is no text, an unknown column, a cell that is not a
            number.
        OSError: the file cannot be read.
    """
    rows = _rows(path)
    if not rows:
        raise ValueError(f"{path} is empty.")
    first = rows[0][1]
    named = not any(_is_number(cell) for cell in first)
    names = [cell.strip() for cell in first] if named else [str(i + 1) for i in range(len(first))]
    rows = rows[1:] if named else rows
    if not rows:
        raise ValueError(f"{path} has a line of names but no data.")
    for line, row in rows:
        _check_width(row, names, path, line)
    positions = [_position(name, names, path) for name in wanted] or list(range(len(names)))
    table = [[_number(row, j, names[j], path, line) for j in positions] for line, row in rows]
    array = np.array(table)
    return (array[:, 0] if len(positions) == 1 else array), [names[j] for j in positions]


def _rows(path: str) -> list[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers, in cells."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            sample = file.read(4096)
            file.seek(0)
            lines = csv.reader(file, _dialect(sample))
            return [(lines.line_num, row) for row in lines if any(cell.strip() for cell in row)]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not text in UTF-8: save it as a CSV file.") from error
        except csv.Error as error:
            raise ValueError(f"{path} cannot be read in lines of cells: {error}.") from error


def _dialect(sample: str) -> Any:
    try:
        return csv.Sniffer().sniff(sample, delimiters=",;\t")
    except csv.Error:
        return csv.excel


def _position(name: str, names: list[str], path: str) -> int:
    if name in names:
        return names.index(name)
    if name.isdigit() and 1 <= int(name) <= len(names):
        return int(name) - 1
    raise ValueError(f"{path} has no column {name!r}; it has {', '.join(names)}.")


def _check_width(row: list[str], names: list[str], path: str, line: int) -> None:
    """Raise ValueError for cells that belong to no column."""
    if any(cell.strip() for cell in row[len(names) :]):
        raise ValueError(
            f"{path}, line {line} has {len(row)} cells, but the first line has {len(names)}: one "
            f"of them lacks a separator, or has one too many, such as a decimal comma."
        )


def _number(row: list[str], j: int, name: str, path: str, line: int) -> float:
    if j >= len(row) or not row[j].strip():
        raise ValueError(
            f"{path}, line {line}: column {name!r} is empty. Drop or fill the row, or write nan "
            f"for a missing value."
        )
    if not _is_number(row[j]):
        raise ValueError(
            f"{path}, line {line}: column {name!r} holds {_short(row[j])}, which is not a number. "
            f"Choose columns with --column, separate cells by commas, semicolons or tabs, and "
            f"write nan for a missing value."
        )
    return float(row[j])


def _short(cell: str) -> str:
    """As much of a cell as a person wants to see."""
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000 as a number, nobody else does
