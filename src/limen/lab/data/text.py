"""Text of anyone's: bytes in UTF-8."""

from __future__ import annotations

from limen.errors import DataError


def decoded(content: bytes, where: str, advice: str) -> str:
    """The text of a file, without a byte order mark; ``where`` names it in errors, ``advice`` says what to do.

    >>> decoded("\\ufeffné".encode(), "a.txt", "give text in UTF-8")
    'né'
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not text in UTF-8 (byte {error.start}); {advice}.") from None
    if "\0" in text:
        raise DataError(f"{where} is not text but a binary file; {advice}.")
    return text
