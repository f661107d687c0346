"""Sets of labelled screenshots on disk: every form that is handed round, and faults in them."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from screens import BOX, OTHER, SIZE, picture, pro, spot, write_parquet, write_pro, write_spot

from agentgym.errors import ConfigError, TaskError
from agentgym.tasks.grounding_sets import load, to_pixels

SHARES = [BOX[0] / 400, BOX[1] / 300, BOX[2] / 400, BOX[3] / 300]


def of_hub(**told):
    """A row of `rootsautomation/ScreenSpot`: left, top, right, bottom as shares."""
    return {**spot(), "bbox": SHARES, "file_name": "web_1.png", **told}


FORMS = {
    "ScreenSpot": lambda folder: write_spot(folder),
    "ScreenSpot, one file": lambda folder: write_spot(folder) / "screenspot_web.json",
    "ScreenSpot-v2": lambda folder: write_spot(
        folder, name="screenspot_web_v2.json", images="screenspotv2_image"
    ),
    "pictures beside the annotations": lambda folder: write_spot(folder, images="."),
    "ScreenSpot-Pro": write_pro,
    "ScreenSpot-Pro, one file": lambda folder: (
        write_pro(folder) / "annotations" / "matlab_windows.json"
    ),
    "parquet, shares": lambda folder: (
        write_parquet(
            folder / "data" / "test-00000-of-00001.parquet", [of_hub(), of_hub()]
        ).parent.parent
    ),
    "parquet, pixels": lambda folder: write_parquet(
        folder / "data" / "train-0.parquet", [spot(), spot()]
    ),
    "parquet, Pro": lambda folder: write_parquet(folder / "train.parquet", [pro(), pro()]),
    "parquet, a row group each": lambda folder: write_parquet(
        folder / "train.parquet", [pro(), pro()], row_group_size=1
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_where_the_same_target_is(tmp_path, form):
    first, second = load(FORMS[form](tmp_path))
    assert first.box == pytest.approx(BOX)
    assert first.size == SIZE
    assert first.instruction == "close this window"
    assert first.kind == "icon"
    assert first.source in ("windows", "matlab")
    assert first.read() == second.read() == picture()
    assert first.id.endswith(":1")
    assert second.id.endswith(":2")


def test_worlds_in_many_threads_read_one_table(tmp_path):
    """In a process of its own: what is at stake is a fault of memory."""
    rows = [{**spot(), "image": {"bytes": picture(seed=i)}} for i in range(40)]
    write_parquet(tmp_path / "train.parquet", rows, row_group_size=2)
    program = f"""
from concurrent.futures import ThreadPoolExecutor
from random import Random
from agentgym.tasks.grounding_sets import load
known = load({str(tmp_path)!r})
read = lambda seed: [(each.id, each.read()) for each in Random(seed).choices(known, k=200)]
with ThreadPoolExecutor(16) as pool:
    told = [pair for found in pool.map(read, range(32)) for pair in found]
assert len(set(told)) == 40
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_what_else_is_labelled_on_a_picture_is_known(tmp_path):
    first, second = load(write_spot(tmp_path))
    assert first.elements == second.elements == (BOX, OTHER)


def test_every_file_of_annotations_in_a_folder_is_read(tmp_path):
    write_spot(tmp_path, name="screenspot_mobile.json")
    write_spot(tmp_path, name="screenspot_web.json")
    names = ["mobile:1", "mobile:2", "web:1", "web:2"]
    assert [each.id for each in load(tmp_path)] == [f"screenspot_{name}" for name in names]


def test_pictures_in_jpeg_are_read_too(tmp_path):
    (found,) = load(write_spot(tmp_path, [spot()], web_1=picture(kind="JPEG")))
    assert found.size == SIZE


def test_a_set_that_changed_is_read_again(tmp_path):
    assert len(load(write_spot(tmp_path))) == 2
    write_spot(tmp_path, [spot()] * 3)
    (tmp_path / "screenspot_web.json").touch()
    assert len(load(tmp_path)) == 3


def test_a_box_that_reaches_beyond_its_picture_is_cut_at_the_edge(tmp_path):
    (found,) = load(write_spot(tmp_path, [spot((-5, 250, 450, 310))]))
    assert found.box == (0, 250, 400, 300)


BAD_ROWS = {
    "no object": ([1, 2], "is list: give an object"),
    "no instruction": (spot(instruction=None), "'instruction' is None: give a text"),
    "an empty instruction": (spot(instruction=" "), "'instruction' is ' ': give a text"),
    "no picture's name": (spot(img_filename=None), "'img_filename' is None: give a text"),
    "a picture that is not there": (spot(img_filename="gone.png"), "there is no image 'gone.png'"),
    "a picture elsewhere": (spot(img_filename="../../etc/passwd"), "lies outside of the set"),
    "a picture by its full path": (spot(img_filename="/etc/passwd"), "lies outside of the set"),
    "a picture that is none": (spot(img_filename="text.png"), "'text.png' cannot be read"),
    "no box": ({k: v for k, v in spot().items() if k != "bbox"}, "has no 'bbox'"),
    "a box of text": (spot(bbox="1, 2, 3, 4"), "bbox is '1, 2, 3, 4': give four finite numbers"),
    "a box of texts": (spot(bbox=["1", "2", "3", "4"]), "give four finite numbers"),
    "three numbers": (spot(bbox=[1, 2, 3]), "give four finite numbers"),
    "truth for a number": (spot(bbox=[1, 2, 3, True]), "give four finite numbers"),
    "an empty box": (spot(bbox=[10, 10, 0, 20]), "is empty"),
    "a box that is inverted": (pro((180, 200, 100, 260), img_filename="web_1.png"), "is empty"),
    "a box outside": (spot(bbox=[500, 20, 30, 30]), "outside of its image, which is 400x300"),
    "another size": (
        pro(img_filename="web_1.png", img_size=[800, 600]),
        r"img_size is \[800, 600\], and 'web_1.png' is 400x300 pixels",
    ),
    "a size that is none": (pro(img_filename="web_1.png", img_size=800), "img_size is 800, and"),
}


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_bad_row_is_refused_by_its_file_and_number(tmp_path, what):
    row, told = BAD_ROWS[what]
    write_spot(tmp_path, [spot(), row], text=b"no picture at all")
    with pytest.raises(TaskError, match=rf"screenspot_web\.json', row 2: .*{told}"):
        load(tmp_path)


def test_numbers_that_are_none_are_refused(tmp_path):
    write_spot(tmp_path)
    for bad in (math.nan, math.inf):
        with pytest.raises(TaskError, match=r"row 7: .* four finite numbers"):
            to_pixels([1, 2, 3, bad], SIZE, corners=True, where="row 7")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", r"screenspot_web\.json': is no JSON"),
        (b"[]", "are empty: get or make the set again"),
        (b'{"a": 1}', r"row 1: has no 'bbox'"),
    ],
)
def test_a_damaged_file_of_annotations_is_refused(tmp_path, content, told):
    (write_spot(tmp_path) / "screenspot_web.json").write_bytes(content)
    with pytest.raises((TaskError, ConfigError), match=told):
        load(tmp_path)


def test_a_damaged_table_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(TaskError, match=r"a\.parquet' is no parquet file"):
        load(tmp_path)
    write_parquet(tmp_path / "a.parquet", [{"bbox": [1.0], "said": "x"}])
    with pytest.raises(TaskError, match="has no column 'instruction'"):
        load(tmp_path)
    write_parquet(tmp_path / "a.parquet", [spot(), {**spot(), "image": None}])
    with pytest.raises(TaskError, match=r"a\.parquet', row 2: has no image"):
        load(tmp_path)


def test_a_folder_without_annotations_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no annotations at .*: give a folder with \.json"):
        load(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ConfigError, match=r"a\.txt' is none of \.json"):
        load(tmp_path / "a.txt")


sides = st.tuples(st.integers(0, 399), st.integers(1, 400)).filter(lambda s: s[0] < s[1])
downs = st.tuples(st.integers(0, 299), st.integers(1, 300)).filter(lambda s: s[0] < s[1])


@given(sides, downs)
def test_a_box_comes_to_the_same_pixels_whichever_way_it_is_said(across, down):
    (left, right), (top, bottom) = across, down
    wanted = (left, top, right, bottom)
    said = [left, top, right - left, bottom - top]
    if max(said) > 1:
        assert to_pixels(said, SIZE, corners=False, where="") == wanted
    if max(wanted) > 1:
        assert to_pixels(list(wanted), SIZE, corners=True, where="") == wanted
    shares = [left / 400, top / 300, right / 400, bottom / 300]
    for corners in (True, False):
        assert to_pixels(shares, SIZE, corners=corners, where="") == pytest.approx(wanted)


def test_rows_are_numbered_as_in_their_file(tmp_path):
    rows = [json.dumps(spot()), "", json.dumps(spot(bbox=None))]
    write_spot(tmp_path)
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    with pytest.raises(TaskError, match=r"rows\.jsonl', row 3: bbox is None"):
        load(tmp_path / "rows.jsonl")
