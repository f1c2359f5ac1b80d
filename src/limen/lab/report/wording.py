"""Lists, counts and names as a reader expects them."""

from __future__ import annotations

from collections.abc import Sequence

from limen.lab.numerals import whole


def listed(items: Sequence[str]) -> str:
    """Join names as a sentence does.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def counted(count: int, noun: str) -> str:
    """Say how many, in the right number.

    >>> counted(1, "seed"), counted(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{whole(count)} {noun}" + ("" if count == 1 else "s")


def one_line(text: str) -> str:
    """Replace whatever cannot be printed, so that a name fits in a line and in XML.

    >>> one_line("a\\tb\\x00c")
    'a b\N{REPLACEMENT CHARACTER}c'
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))


def short(name: str, width: int = 24) -> str:
    """Cut a long name in its middle.

    >>> short("asau"), short("adact:candidates=relu,elu,mish,silu", 16)
    ('asau', 'adact:ca…sh,silu')
    """
    name = one_line(name)
    if len(name) <= width:
        return name
    head = width // 2
    return f"{name[:head]}…{name[head + 1 - width :]}"
