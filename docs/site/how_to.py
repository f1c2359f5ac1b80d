"""The documents by what their readers want to do; a document that nobody sorted in is listed last."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[1]
BY_READER = {
    "Swap activations in a model": ("changing-activations", "surgery", "beside", "memory"),
    "Choose one for your data": ("tasks", "training", "evidence", "suites"),
    "Search, layer by layer": ("selection",),
    "Invent one": ("your-own-activation", "inspecting"),
    "Check a paper": ("results/README", "results/claims"),
    "Train large": ("scale-large", "scale", "gpu"),
    "Deploy": ("deploy", "kernels"),
    "Trust it": ("accuracy", "hostile-input"),
}
OF_THEIR_OWN = ("index", "quick-start", "which-activation", "how-to", "engine")


def page() -> str:
    """The page, in Markdown."""
    there = {path.stem for path in DOCS.glob("*.md")} - {*OF_THEIR_OWN}
    sorted_in = {document for documents in BY_READER.values() for document in documents}
    sections = {**BY_READER, "More": tuple(sorted(there - sorted_in))}
    parts = ["# How to\n\nBy what you want to do."]
    for title, documents in sections.items():
        found = [document for document in documents if (DOCS / f"{document}.md").exists()]
        if found:
            listed = "\n".join(found)
            parts.append(f"## {title}\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```")
    return "\n\n".join(parts) + "\n"
