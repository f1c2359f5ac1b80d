"""The page on which activations are tried: one file, which needs no network."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

from limen.explore.functions import printed
from limen.explore.javascript import ELEMENTARY

SCRIPT, STYLE = Path(__file__).with_name("explorer.js"), Path(__file__).with_name("explorer.css")

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; background: light-dark(#ffffff, #14171a); }}
main {{ max-width: 82rem; margin: 0 auto; padding: 1.2rem 1rem 3rem; }}
h1 {{ margin: 0 0 0.8rem; color: light-dark(#1c2024, #e4e7ea); font: 650 1.6rem/1.2 system-ui, sans-serif; overflow-wrap: anywhere; }}
{style}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{part}
</main>
</body>
</html>
"""  # noqa: E501


def part(specs: Sequence[str], chosen: Sequence[str], identity: str = "explorer") -> str:
    """The explorer of these activations as a piece of a page that has :func:`script` and the style.

    ``chosen`` are the specs that are shown at first.
    """
    objects = [printed(spec) for spec in specs]
    shown = [json.loads(_head(text))["name"] for spec, text in zip(specs, objects, strict=True) if spec in chosen]
    return (
        f'<div class="explorer" id="{identity}"><noscript>Curves and sliders need JavaScript.</noscript></div>\n'
        f'<script>explorer(document.getElementById("{identity}"), [\n'
        f"{_inline(','.join(objects))}], {_inline(json.dumps(shown))});</script>"
    )


def _head(text: str) -> str:
    """What an object of JavaScript says of itself, which stands on its first line."""
    return text.partition("\n")[0].rstrip(",") + "}"


def _inline(code: str) -> str:
    """Code that cannot end the element it stands in: a spec is a user's text."""
    return code.replace("<", "\\u003c")


def script() -> str:
    """What every part needs once on its page."""
    return ELEMENTARY.read_text(encoding="utf-8") + SCRIPT.read_text(encoding="utf-8")


def style() -> str:
    """The style of parts."""
    return STYLE.read_text(encoding="utf-8")


def page(specs: Sequence[str], chosen: Sequence[str]) -> str:
    """The whole page.

    Raises:
        SpecError: for a spec that names nothing, and for what is no function of one number.

    >>> "<title>The activation asau</title>" in page(["asau", "relu"], ["asau"])
    True
    """
    title = f"Activations: {', '.join(chosen)}" if len(chosen) > 1 else f"The activation {chosen[0]}"
    whole = f"<script>{script()}</script>\n{part(specs, chosen)}"
    return PAGE.format(title=html.escape(title), style=style(), part=whole)
