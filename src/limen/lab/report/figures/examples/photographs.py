"""Test images with masks, boxes or maps beside or over them."""

from __future__ import annotations

from limen.lab.records import Attention, Heatmaps, Overlay, Overlays, RunRecord
from limen.lab.report.figures.examples.section import UNSEEN, Examples, caption, photograph
from limen.lab.report.figures.palette import Look
from limen.lab.report.figures.svg import Picture
from limen.lab.report.wording import short


def overlays(shown: list[RunRecord], styles: dict[str, Look]) -> Examples:
    """True and predicted masks or boxes."""
    pictures: list[Picture] = []
    for run in shown:
        assert isinstance(run.shown, Overlays)
        drawn = run.shown.drawn
        pictures += _images(run, run.shown.images, f"image, true {drawn}, {drawn} predicted by {run.activation}")
    first = shown[0].shown
    assert isinstance(first, Overlays)
    note = f"{UNSEEN} From left to right: the image, the true {first.drawn}, the predicted {first.drawn}."
    boxes = first.drawn == "boxes"
    return Examples(f"Predicted {'boxes' if boxes else 'masks'}", note, tuple(pictures), first.legend, wide=boxes)


def heatmaps(shown: list[RunRecord], styles: dict[str, Look]) -> Examples:
    """How strange each pixel is."""
    pictures: list[Picture] = []
    for run in shown:
        assert isinstance(run.shown, Heatmaps)
        what = f"image and map of how strange {run.activation} finds each pixel"
        pictures += _images(run, run.shown.images, what)
    first = shown[0].shown
    assert isinstance(first, Heatmaps)
    return Examples("Localisation maps", f"{UNSEEN} {_map_note(first)}", tuple(pictures))


def attention(shown: list[RunRecord], styles: dict[str, Look]) -> Examples:
    """Where a network looks."""
    pictures: list[Picture] = []
    for run in shown:
        assert isinstance(run.shown, Attention)
        pictures += _images(run, run.shown.images, f"image, and the Grad-CAM of {run.activation} over it")
    note = (
        f"{UNSEEN} Left the image, right the map over it: the brighter, the more a place spoke for the class predicted."
    )
    return Examples("Where the networks look (Grad-CAM)", note, tuple(pictures))


def _images(run: RunRecord, images: tuple[Overlay, ...], what: str) -> list[Picture]:
    return [
        photograph(image.picture, f"{image.name}: {what}", f"{caption(run)}: {short(image.name, 40)}")
        for image in images
    ]


def _map_note(found: Heatmaps) -> str:
    shown = "the image, the true mask (black where none is known), the map" if found.masks else "the image, the map"
    what = (
        "this network scores whole images, so its map is how much each pixel moves the score"
        if found.by_gradient
        else "the brighter, the stranger, on one scale for all images of an activation"
    )
    return f"From left to right: {shown}; {what}. The last image is normal."
