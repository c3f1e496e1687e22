r"""Text on its way out: in UTF-8 or escaped, never lost, and never a command to a terminal or a spreadsheet.

File names may hold anything: bytes that are no UTF-8 (Python has lone surrogates for them), line breaks, escape
sequences.  Every format writes them through :func:`shown`, CSV through :func:`csv_line`, and JSON through
:func:`json_line`, which keeps them exact wherever they are text at all; the command line calls :func:`never_fail`
before anything else.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import sys
from collections.abc import Iterable
from typing import Any

#: Characters that give orders to a terminal, break a line or turn the direction of writing.
_ORDERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
#: Halves of characters: what Python makes of bytes that are no UTF-8, or of the broken names of other systems.
_BROKEN = re.compile("[\ud800-\udfff]")
#: The beginning of a cell that a spreadsheet would run as a formula, and no number; a quote before it makes it text.
_FORMULA = re.compile(r"'*(?![+-]?[\d.]+(e[+-]?\d+)?$)[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
#: What stands for characters of our own on a terminal that has not got them.
_PLAIN = {"█": "#", "░": ".", "–": "-", "—": "-", "…": "...", "·": "-", "’": "'", "“": '"', "”": '"', "✓": "+"}


def readable(text: str) -> str:
    r"""Return text that UTF-8 can hold: a byte that is none of UTF-8 becomes ``\xe9``, and all else stays as it is.

    Examples
    --------
    >>> readable("caf\udce9.wav"), readable("caf\u00e9.wav") == "caf\u00e9.wav"
    ('caf\\xe9.wav', True)
    """
    if not _BROKEN.search(text):
        return text
    # Under an ASCII locale names that are UTF-8 are taken apart as well: these are put together again.
    halves = re.sub("[\ud800-\udc7f\udd00-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)
    return halves.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown(text: str) -> str:
    r"""Return text as one line that may be shown anywhere: what a terminal would obey is escaped.

    Parameters
    ----------
    text : str
        A file name, a message that has file names in it, a transcript, a label.

    Returns
    -------
    str
        Without control characters (``\n``, ``\x1b``), without marks that turn the direction of writing (``\u202e``)
        and without bytes that are no UTF-8 (``\xe9``).

    Examples
    --------
    >>> shown("call.wav"), shown("a\x1b[31m\nb.wav"), shown("caf\udce9.wav")
    ('call.wav', 'a\\x1b[31m\\nb.wav', 'caf\\xe9.wav')
    """
    return _ORDERS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), readable(text))


def json_line(value: Any) -> str:
    r"""Write a value as JSON in one line, which every reader of JSON takes and no terminal obeys.

    Examples
    --------
    >>> json_line({"file": "a\x9b\udce9 日.wav"})
    '{"file": "a\\u009b\\\\xe9 日.wav"}'
    """
    line = json.dumps(_readable(value), ensure_ascii=False)
    return _ORDERS.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


def csv_line(values: Iterable[str | float]) -> str:
    r"""Write a line of CSV in which text cells are one line each and nothing that a spreadsheet would run.

    Parameters
    ----------
    values : iterable of str or float
        Text cells, escaped by :func:`shown`; one that begins like a formula (``=``, ``+``, ``-``, ``@``) gets a quote
        before it, which :func:`from_csv_cell` takes off.  Numbers stay as they are, formatted or not.

    Examples
    --------
    >>> csv_line(["=1+1.wav", -0.5])
    "'=1+1.wav,-0.5\n"
    """
    import csv

    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([csv_cell(one) if isinstance(one, str) else one for one in values])
    return line.getvalue()


def from_csv_cell(text: str) -> str:
    """Return a text cell without the quote that says to a spreadsheet that it is no formula.

    Examples
    --------
    >>> from_csv_cell("'=1+1.wav"), from_csv_cell("'tis.wav")
    ('=1+1.wav', "'tis.wav")
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def never_fail() -> None:
    """Make standard output and standard error take every text.

    A pipe or a file gets UTF-8, whatever the locale says, as the files of ``--out`` are; a terminal keeps its encoding,
    and characters that it has not got are escaped.
    """
    codecs.register_error("emovox", _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="emovox")


def csv_cell(text: str) -> str:
    """Return a text as a cell of CSV before it is put between quotes, see :func:`csv_line`.

    Examples
    --------
    >>> csv_cell("=1+1.wav"), csv_cell("-0.5")
    ("'=1+1.wav", '-0.5')
    """
    cell = shown(text)
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _readable(value: Any) -> Any:
    """Apply :func:`readable` to every text in a value of JSON."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {_readable(key): _readable(one) for key, one in value.items()}
    return [_readable(one) for one in value] if isinstance(value, (list, tuple)) else value


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding has not got: our own signs by plain ones, all else by its escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    plain = [_PLAIN.get(one) or readable(one).encode("ascii", "backslashreplace").decode("ascii") for one in missing]
    return "".join(plain), error.end
