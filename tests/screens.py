"""Sets of labelled screenshots, in the forms in which they are handed round."""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image

SIZE = (400, 300)
BOX = (100, 200, 180, 260)
"""Left, top, right, bottom."""
OTHER = (10, 20, 60, 40)


def picture(size=SIZE, kind="PNG", seed=0):
    """An encoded picture; of noise, so that parts of it differ."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.NEAREST).save(file, kind)
    return file.getvalue()


def spot(box=BOX, **more):
    """A row as ScreenSpot and its second version have it."""
    left, top, right, bottom = box
    row = {
        "img_filename": "web_1.png",
        "bbox": [left, top, right - left, bottom - top],
        "instruction": "close this window",
        "data_type": "icon",
        "data_source": "windows",
    }
    return {**row, **more}


def pro(box=BOX, **more):
    """A row as ScreenSpot-Pro has it."""
    row = {
        "img_filename": "matlab_windows/screenshot_1.png",
        "bbox": list(box),
        "instruction": "close this window",
        "id": "matlab_windows_0",
        "application": "matlab",
        "platform": "windows",
        "img_size": list(SIZE),
        "ui_type": "icon",
        "group": "Scientific",
    }
    return {**row, **more}


def write_spot(folder, rows=None, name="screenspot_web.json", images="screenspot_imgs", **pictures):
    """ScreenSpot's folder: annotations beside a folder of pictures."""
    (folder / images).mkdir(parents=True, exist_ok=True)
    (folder / images / "web_1.png").write_bytes(pictures.get("web_1", picture()))
    for each, content in pictures.items():
        (folder / images / f"{each}.png").write_bytes(content)
    (folder / name).write_text(json.dumps([spot(), spot(OTHER)] if rows is None else rows))
    return folder


def write_pro(folder, rows=None):
    """ScreenSpot-Pro's folder: annotations by application, pictures in folders of their own."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "images" / "matlab_windows").mkdir(parents=True)
    (folder / "images" / "matlab_windows" / "screenshot_1.png").write_bytes(picture())
    told = json.dumps([pro(), pro(OTHER)] if rows is None else rows)
    (folder / "annotations" / "matlab_windows.json").write_text(told)
    return folder


def write_parquet(file, rows, **options):
    """A table of the Hugging Face hub, with the pictures in it."""
    import pyarrow
    from pyarrow import parquet

    file.parent.mkdir(parents=True, exist_ok=True)
    filled = [{"image": {"bytes": picture(), "path": "web_1.png"}, **row} for row in rows]
    parquet.write_table(pyarrow.Table.from_pylist(filled), file, **options)
    return file
