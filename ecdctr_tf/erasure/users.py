"""The users of `--users=FILE`."""

import pathlib

import pyarrow as pa

from ecdctr_tf import features


def read(path: pathlib.Path, table: features.TableSpec) -> pa.Array:
    """Return the ids of a file, one a line, each once.

    Args:
      path: UTF-8 text. Ids are written as in the vocabulary: those of an id
        space begin with its name and a colon. Empty lines are passed over.
      table: of the users; says the type of ids.

    Returns:
      int64 or string.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds no id, or a line is not one.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path}. Give --users=FILE, a text file with the "
            "id of a user a line."
        )
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} should be UTF-8 text with an id a line. It is not: {error}"
        ) from error
    texts = list(dict.fromkeys(filter(None, (t.rstrip("\r") for t in lines))))
    if not texts:
        raise ValueError(
            f"{path} should hold the id of a user a line. It holds none."
        )
    if table.dtype == "string":
        return pa.array(texts, pa.string())
    numbers = [_number(text, path) for text in texts]
    return pa.array(list(dict.fromkeys(numbers)), pa.int64())


def _number(text: str, path: pathlib.Path) -> int:
    """Return a line as a number; Python would take `1_000` for one, too."""
    text = text.strip()
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 19):
        raise ValueError(
            f"{path} should hold a whole number a line, as the ids of users "
            f"are. Received: {text!r}"
        )
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(
            f"{path} should hold whole numbers of 64 bits. Received: {text}"
        )
    return number
