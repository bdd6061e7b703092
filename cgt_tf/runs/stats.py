"""`stats.jsonl`: one JSON object a line, each with its step, appended as a run goes."""

import json
from pathlib import Path

from absl import logging

from cgt_tf.errors import InputError
from cgt_tf.files import write_atomically

FILE = "stats.jsonl"


def append(path: Path, record: dict) -> None:
    """Adds a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read(path: Path) -> list[dict]:
    """All lines, in order; none where there is no file.

    A last line that a process did not finish writing is left out, with a warning.

    Raises:
        InputError: a damaged line before the last.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    torn = lines.pop()
    if torn:
        logging.warning("%s: the last line is incomplete and is left out", path)
    return [_record(path, number, line) for number, line in enumerate(lines, 1)]


def column(path: Path, name: str) -> dict[int, float]:
    """A number by step, of the lines that have it.

    Raises:
        InputError: another value under its name.
    """
    found = {}
    for record in read(path):
        value = record.get(name, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(
                f"expected a number as {name} of step {record['step']} in {path}, got {value!r}"
            )
        if name in record:
            found[record["step"]] = value
    return found


def cut(path: Path, step: int) -> None:
    """Drops lines after a step, and a last one that is incomplete."""
    records = read(path)
    kept = [record for record in records if record["step"] <= step]
    text = "".join(json.dumps(record) + "\n" for record in kept)
    if path.is_file() and text.encode() != path.read_bytes():
        write_atomically(path, text)


def _record(path: Path, number: int, line: bytes) -> dict:
    try:
        record = json.loads(line, parse_constant=_refuse)
        step = record["step"]
    except (ValueError, TypeError, KeyError, RecursionError):
        step = None
    if not isinstance(step, int) or isinstance(step, bool):
        raise InputError(
            f"expected a JSON object with a step on line {number} of {path}, got another content; "
            "remove the line to go on without it"
        )
    return record


def _refuse(constant: str) -> None:
    """Infinities and NaN are no JSON, and none are written."""
    raise ValueError(constant)
