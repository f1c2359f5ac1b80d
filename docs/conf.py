"""The site: Sphinx with MyST and a gallery. ``make docs`` builds it; warnings are errors."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "site"))

import activation_pages
import api_pages
import engine_page
import how_to
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

import limen
from limen.explore.page import script, style

project, author, version = "limen", "The limen developers", limen.__version__
extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_gallery.gen_gallery"),
    *("mathml", "sphinx.ext.viewcode"),
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
templates_path = ["templates"]
exclude_patterns = ["_build", "examples", "static", "templates", "results/rows", "results/suite"]

# Pages that are made anew, and not kept.
for folder in ("activations", "api"):
    shutil.rmtree(HERE / folder, ignore_errors=True)
    (HERE / folder).mkdir()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


for name, text in activation_pages.pages():
    _write(HERE / "activations" / f"{name}.md", text)
for name, text in api_pages.pages():
    _write(HERE / "api" / f"{name}.rst", text)
_write(HERE / "engine.md", engine_page.page())
_write(HERE / "how-to.md", how_to.page())

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
suppress_warnings = [
    "myst.header",  # the documents begin sections where they like
    "myst.xref_missing",  # links to folders of rows, which are no pages; tests/test_docs.py tries every link to a file
    "config.cache",  # a function in the gallery's settings
]

napoleon_custom_sections = ["Types and defaults", "Shape"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"

sphinx_gallery_conf = {
    "examples_dirs": ["examples"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "show_memory": False,
    "download_all_examples": False,
    "show_signature": False,
    "plot_gallery": "True",
    "within_subsection_order": "FileNameSortKey",
    "write_computation_times": False,  # its table would come from a network
}

html_theme = "shibuya"
html_title = "limen"
html_math_renderer = "mathml"
html_static_path, html_css_files = ["static"], ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"accent_color": "blue", "show_ai_links": False, "nav_links": [
    {"title": "Quick start", "url": "quick-start"}, {"title": "How to", "url": "how-to"},
    {"title": "Activations", "url": "activations/index"}, {"title": "Reference", "url": "api/index"},
]}  # fmt: skip


def _explorer(app: Sphinx) -> None:
    """What the plots of the activations' pages share."""
    static = Path(app.outdir) / "_static"
    static.mkdir(parents=True, exist_ok=True)
    _write(static / "explorer.js", script())
    _write(static / "explorer.css", style())


def _check(app: Sphinx, error: Exception | None) -> None:
    """Every public name has an entry, and no page asks a network for anything."""
    if error is not None:
        return
    known = {name for domain in ("py",) for name in app.env.domaindata[domain]["objects"]}
    lacking = sorted(api_pages.expected() - known)
    if lacking:
        raise ExtensionError(f"the reference lacks {', '.join(lacking)}")
    for page in Path(app.outdir).rglob("*.html"):
        asked = re.search(
            r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(?:https?:)?//[^\"]+", page.read_text("utf-8")
        )
        if asked:
            raise ExtensionError(f"{page} would ask a network: {asked.group()}")


def setup(app: Sphinx) -> None:
    """What is done beside what extensions do."""
    app.connect("builder-inited", _explorer)
    app.connect("build-finished", _check)
