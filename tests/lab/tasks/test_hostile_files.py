"""Tables and annotations that grow in memory: counted or estimated before, and refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers_files import png, refused, write_folder

from limen import memory
from limen.lab.data.division import Division
from limen.lab.data.json_text import parsed_json
from limen.lab.tasks.detection import annotations, voc
from limen.lab.tasks.detection.boxes import load_boxes
from limen.lab.tasks.numbers.tabular import load_tabular
from limen.lab.tasks.numbers.time_series import load_time_series
from limen.memory import TooLargeError

DIVISION = Division()
OBJECT = "<object><name>a</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>3</ymax></bndbox></object>"
BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 3, 2]}


def boxes(root: Path, xml: str | bytes = "", **coco_parts: object) -> Callable[[], object]:
    """Two images with Pascal VOC's annotations, one of them given; or with COCO's."""
    write_folder(root, {"1.png": png(), "2.png": png()})
    if coco_parts:
        found = {
            "images": [{"id": 1, "file_name": "1.png"}, {"id": 2, "file_name": "2.png"}],
            "annotations": [BOX],
            "categories": [{"id": 1, "name": "a"}],
            **coco_parts,
        }
        (root / "instances.json").write_text(json.dumps(found), encoding="utf-8")
    else:
        (root / "1.xml").write_bytes(xml if isinstance(xml, bytes) else xml.encode())
        (root / "2.xml").write_text(f"<annotation>{OBJECT}</annotation>", encoding="utf-8")
    return lambda: load_boxes(str(root), image_size=None, grey=False)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits as small as the files of tests."""
    monkeypatch.setattr(voc, "MOST_ELEMENTS", 2_000)
    monkeypatch.setattr(annotations, "MOST_OBJECTS", 100)


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("", "is not XML"),
        ("<a>", "is not XML"),
        (b"\xff\xfe<", "is not XML"),
        (b"\x00" * 50, "is not XML"),
        ("<a/>" * 3, "is not XML"),
        ("<a>" + "<a/>" * 3_000 + "</a>", "more than the 2,000 elements allowed"),
        ("<a>" * 3_000, "more than the 2,000 elements allowed"),
        ("<a " + "".join(f'a{n}="" ' for n in range(500_000)) + "/>", "more than the 4,194,304 allowed"),
        ("<annotation>" + OBJECT * 101 + "</annotation>", "101 objects in one image, more than the 100 allowed"),
        ("<annotation>" + OBJECT.replace("1<", "nan<", 1) + "</annotation>", "xmin is 'nan', not a number"),
        ("<annotation><size><width>1e30</width></size>" + OBJECT + "</annotation>", "states a size of 1e+30×0"),
    ],
    ids=range(11),
)
@pytest.mark.usefixtures("few")
def test_an_annotation_in_xml_is_refused(xml: str | bytes, expected: str, tmp_path: Path) -> None:
    assert expected in refused(boxes(tmp_path, xml))


def test_elements_in_one_another_are_read_without_recursion(tmp_path: Path) -> None:
    read = boxes(tmp_path, "<annotation>" + "<a>" * 20_000 + "</a>" * 20_000 + OBJECT + "</annotation>")
    read()


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"annotations": [BOX] * 101}, "101 objects in one image, more than the 100 allowed"),
        ({"annotations": [{**BOX, "bbox": [float("nan")] * 4}]}, "not four numbers"),
        ({"annotations": [{**BOX, "bbox": [0, 0, 10**400, 1]}]}, "not four numbers"),
        ({"images": [{"id": 1, "file_name": "1.png", "width": 10**12, "height": 5}]}, "1000000000000 wide"),
        ({"categories": [{"id": 1, "name": "a"}] * 2}, "has a category"),
        ({"images": {}}, "has no list 'images'"),
    ],
)
@pytest.mark.usefixtures("few")
def test_an_annotation_in_json_is_refused(parts: dict[str, object], expected: str, tmp_path: Path) -> None:
    assert expected in refused(boxes(tmp_path, **parts))


def test_a_set_has_no_more_boxes_than_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotations, "MOST_BOXES", 1)
    expected = "has more than the 1 objects allowed; give a part of it."
    assert expected in refused(boxes(tmp_path / "xml", f"<annotation>{OBJECT}</annotation>"))
    assert expected in refused(boxes(tmp_path / "json", annotations=[BOX, {**BOX, "id": 2}]))


def test_the_table_of_boxes_must_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = boxes(tmp_path, f"<annotation>{OBJECT * 500}</annotation>")
    monkeypatch.setattr(memory, "physical_bytes", lambda: 15_000)
    assert "500 rows an image" in refused(read, TooLargeError)


@pytest.mark.parametrize("content", [b"[" + b"[]," * 300_000 + b"0]", b"[" + b"{}," * 300_000 + b"0]", b"1," * 600_000])
def test_json_is_estimated_before_it_is_parsed(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(lambda: parsed_json(b"[" * 200_000, "a.json"))
    monkeypatch.setattr(memory, "physical_bytes", lambda: 20_000_000)
    assert "reading a.json needs 0." in refused(lambda: parsed_json(content, "a.json"), TooLargeError, memory=10e6)


def table(path: Path, rows: int, *columns: str) -> Path:
    heading = ",".join(f"c{n}" for n in range(len(columns))) + ",y\n"
    lines = (",".join(text.format(n=n, m=n % 50) for text in columns) + f",{n % 7}\n" for n in range(rows))
    path.write_text(heading + "".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("read", "there", "expected"),
    [
        (lambda p: load_tabular(str(table(p, 2000, "{n}")), "y", DIVISION), 100_000, "reading .*table.csv needs"),
        (lambda p: load_tabular(str(table(p, 2000, *["k{m}"] * 4)), "y", DIVISION), 3e6, "200 inputs of 2,000 rows"),
        (
            lambda p: load_time_series(str(table(p, 2000, "{n}")), "y", DIVISION, time="c0", window=1000),
            3e6,
            "1,000 windows of 1,000 rows and 1 columns needs .*smaller --window",
        ),
    ],
    ids=["cells", "categories", "windows"],
)
def test_a_table_that_grows_is_refused_before_it_does(
    read: Callable[[Path], object], there: float, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "physical_bytes", lambda: int(there))
    with pytest.raises(TooLargeError, match=expected):
        read(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "has 0 columns"),
        (b"a,y\n", "a heading and no rows"),
        (b"\xff\xfea,y\n1,2\n", "is not text in UTF-8"),
        (b"a,y\n1,\0\n", "not text but a binary file"),
        (b"a,y\n" + b"1" * 200_000 + b",2\n", "field larger than field limit"),
        (b'a,y\n"1,2\n', "not CSV"),
        (b",".join(b"c%d" % n for n in range(20_000)) + b"\n", "20,000 columns, more than the 10,000 allowed"),
        (b",".join([b"a"] * 9000) + b"\n", "the column 'a' twice"),
        (b"a,y\n" + b"1,inf\n" * 20, "y is 'inf', but must be a number"),
        (b"a,y\n" + b"1," + b"x" * 100_000 + b"\n", "…', but must be a number"),
        (b"a,y\n" + b"1,nan\n" * 20, "has 0 rows with a y"),
    ],
    ids=range(11),
)
def test_a_table_is_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert expected in refused(lambda: load_tabular(str(tmp_path / "t.csv"), "y", DIVISION))
