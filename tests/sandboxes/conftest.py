"""Boxes to try things in."""

import contextlib
import threading

import pytest

from agentgym.sandbox import Limits, open_sandbox

SMALL = Limits(memory_mb=512, cpus=1.0, pids=128, disk_mb=128, output_mb=8)


@pytest.fixture
def open_box(box_backend):
    """Opens boxes of the image `base`, and closes them."""
    boxes = []

    def open_one(limits=SMALL, **options):
        boxes.append(open_sandbox("base", backend=box_backend, limits=limits, **options))
        return boxes[-1]

    yield open_one
    for box in boxes:
        box.close()


@pytest.fixture
def box(open_box):
    return open_box()


@pytest.fixture
def again_and_again():
    """Calls something in a thread until a block ends: the first calls may come too early."""

    @contextlib.contextmanager
    def calling(do):
        ended = threading.Event()

        def work():
            while not ended.wait(0.1):
                do()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    return calling
