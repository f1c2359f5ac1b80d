"""What every page has around its content: style, scripts, and the policy that lets no other script run."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Document:
    """The frame of one page."""

    style: Markup
    scripts: tuple[Markup, ...]
    policy: str
    """What scripts may run, and what they may ask for."""
    state: str = ""
    """Of a page that is served while its study runs: what it was made from."""


def document(state: str = "") -> Document:
    """The frame of a page; with a ``state`` of one that asks its server whether that has changed."""
    names = ("page.js", "live.js") if state else ("page.js",)
    scripts = tuple(Markup(_file(name)) for name in names)
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = f"script-src {hashes}" + ("; connect-src 'self'" if state else "")
    return Document(Markup(_file("style.css")), scripts, policy, state)


@cache
def template(name: str) -> Template:
    """A template of this folder, which escapes what it is given."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


@cache
def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
