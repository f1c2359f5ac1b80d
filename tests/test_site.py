"""What the site's pages are made of: every public name, every activation, every document."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from helpers_public import NAMED

import limen

SITE = Path(__file__).parent.parent / "docs" / "site"


def test_the_reference_has_every_public_name():
    made = runpy.run_path(str(SITE / "api_pages.py"))
    listed, pages = made["expected"](), dict(made["pages"]())
    lent = {path for path, item in NAMED.items() if getattr(limen, path.rpartition(".")[2], None) is item}
    assert {path for path in NAMED if path not in listed} <= lent | {"limen.__version__"}
    assert {f"limen.{path.rpartition('.')[2]}" for path in lent} <= listed | {"limen.__version__"}
    text = "".join(pages.values())
    assert [name for name in listed if f":: {name}\n" not in text] == []


def test_every_document_is_sorted_in_or_listed_last():
    how_to = runpy.run_path(str(SITE / "how_to.py"))
    lines = how_to["page"]().splitlines()
    documents = {path.stem for path in SITE.parent.glob("*.md")} - {*how_to["OF_THEIR_OWN"]}
    assert documents <= set(lines)


@pytest.mark.parametrize("name", ["asau", "maxout"])
def test_an_activations_page_has_what_is_known_of_it(name):
    made = runpy.run_path(str(SITE / "activation_pages.py"))
    costs = {"environment": {"processor": "any"}, "elementwise float32": [], "elementwise bfloat16": []}
    costs["elementwise float32"] = [{"activation": "asau", "path": "limen", "both_ratio": 1.4, "saved_ratio": 1.0}]
    page = made["page"](name, costs, made["_claims"]())
    if name == "maxout":
        assert "it changes the shape of its input" in page
        assert "has no claim about it" in page
        return
    for known in (r"\mathrm{softplus}", "explorer(", "| for x → −∞ | 0.01·x |", "| float32 | 1.40 | 1.00 |",
                  'limen.swap_(model, "asau")', "| `alpha` | `1` | learned |", "is Mish. | confirmed |"):  # fmt: skip
        assert known in page, known
