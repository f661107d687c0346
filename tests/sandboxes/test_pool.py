"""Boxes are ready before they are asked for, each is used once, and none is left."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from agentgym.errors import ConfigError, SandboxError
from agentgym.sandbox import Image, Limits
from agentgym.sandboxes import pool as pools
from agentgym.sandboxes.pool import Pool


class Boxes:
    """Stands in for `open_sandbox`: counts what is open, and waits or fails when told to."""

    def __init__(self):
        self.may_go_on, self.fails, self.mistake = threading.Event(), 0, None
        self.may_go_on.set()
        self.made, self.open, self.most_at_once, self.at_once = 0, set(), 0, 0
        self.lock = threading.Lock()

    def __call__(self, image, **how):
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.may_go_on.wait(60)
        with self.lock:
            self.at_once -= 1
            self.made += 1
            if self.mistake:
                raise self.mistake
            if self.fails > 0:
                self.fails -= 1
                raise SandboxError("the engine is gone")
            box = StandIn(self, image)
            self.open.add(box)
            return box


class StandIn:
    def __init__(self, boxes, image):
        self.boxes, self.image, self.alive = boxes, image, True

    def close(self):
        with self.boxes.lock:
            self.boxes.open.discard(self)


def eventually(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def threads():
    return [each for each in threading.enumerate() if each.name.startswith("agentgym-pool")]


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    eventually(lambda: not threads())


# --- with real boxes ---------------------------------------------------------------------------


def test_a_box_that_is_ready_is_had_at_once(box_backend):
    with Pool(size=1) as pool:
        first = pool.pop("base", backend=box_backend)
        kind = next(iter(pool._kinds.values()))
        eventually(lambda: kind.ready)
        (ready,) = kind.ready

        second = pool.pop("base", backend=box_backend)

        assert second is ready
        first.write("/tmp/mine", "x")
        with pytest.raises(FileNotFoundError):
            second.read("/tmp/mine")
        pool.discard(first)
        pool.discard(second)
        eventually(lambda: kind.ready)
        (third,) = kind.ready
    assert not first.alive
    assert not second.alive
    assert not third.alive


def test_a_box_that_died_while_it_was_ready_is_not_handed_out(box_backend):
    with Pool(size=1) as pool:
        pool.discard(pool.pop("base", backend=box_backend))
        kind = next(iter(pool._kinds.values()))
        eventually(lambda: kind.ready)
        dead = kind.ready[0]
        dead._channel.close()

        with pool.pop("base", backend=box_backend) as box:
            assert box is not dead
            assert box.run("echo fine").output == "fine\n"


def test_what_is_asked_for_in_another_way_is_another_kind(box_backend):
    with Pool(size=1) as pool:
        with pool.pop("base", backend=box_backend, env={"A": "1"}) as box:
            assert box.run("echo $A").output == "1\n"
        with pool.pop("base", backend=box_backend, env={"A": "2"}) as box:
            assert box.run("echo $A").output == "2\n"
        image = Image("base", files={"/made/a.txt": "recipe"}, workdir="/made")
        with pool.pop(image, backend=box_backend, limits=Limits(pids=64)) as box:
            assert box.run("cat a.txt").output == "recipe"
        assert len(pool._kinds) == 3


def test_a_process_that_ends_without_closing_its_pool_leaves_no_box(box_backend, tmp_path):
    code = (
        "from agentgym.sandboxes.pool import Pool\n"
        "import time\n"
        f"pool = Pool(size=2); pool.pop('base', backend={box_backend!r})\n"
        "from agentgym.sandboxes import janitor; print(janitor.owner())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    owner = done.stdout.strip()

    from agentgym.sandboxes import janitor

    eventually(lambda: not [p for p in janitor.folder().iterdir() if p.name.startswith(owner)])
    if box_backend == "docker":
        from agentgym.sandboxes import docker

        label = {"label": f"{janitor.LABEL}={owner}"}
        eventually(lambda: not docker.client().containers(all=True, filters=label))


# --- whatever a box is made of -----------------------------------------------------------------


def test_boxes_are_made_in_parallel_but_not_too_many_at_once():
    boxes = Boxes()
    boxes.may_go_on.clear()
    with Pool(size=0, parallel=3, open_=boxes) as pool, ThreadPoolExecutor(12) as callers:
        asked = [callers.submit(pool.pop, "a") for _ in range(12)]
        eventually(lambda: boxes.at_once == 3)
        boxes.may_go_on.set()
        found = [each.result() for each in asked]

    assert len(set(found)) == 12
    assert boxes.made == 12
    assert boxes.most_at_once == 3


def test_who_comes_first_is_served_first():
    boxes, asked, found = Boxes(), [], []
    turns = threading.Semaphore(0)

    def make(image):
        turns.acquire()
        return boxes(image)

    with Pool(size=0, parallel=1, open_=make) as pool, ThreadPoolExecutor(6) as callers:
        for _ in range(6):
            asked.append(callers.submit(pool.pop, "a"))
            eventually(lambda: count_of_waiting(pool) == len(asked))
        for count in range(1, 7):
            turns.release()
            wait(asked[:count], timeout=60)
            found.append([each.done() for each in asked].index(False) if count < 6 else 6)

    assert found == [1, 2, 3, 4, 5, 6]


def count_of_waiting(pool):
    return sum(len(kind.waiting) for kind in pool._kinds.values())


def test_many_threads_take_each_box_once():
    boxes = Boxes()
    with Pool(size=4, open_=boxes) as pool:

        def episode(number):
            box = pool.pop(f"image {number % 3}")
            pool.discard(box)
            return id(box), box.image

        with ThreadPoolExecutor(16) as callers:
            found = list(callers.map(episode, range(500)))

    assert [image for _, image in found] == [f"image {number % 3}" for number in range(500)]
    assert boxes.open == set()


def test_a_pool_that_is_closed_holds_nothing_and_refuses():
    boxes = Boxes()
    pool = Pool(size=3, open_=boxes)
    pool.pop("a").close()
    eventually(lambda: len(boxes.open) == 3)
    boxes.may_go_on.clear()
    pool.warm("a", 5)
    eventually(lambda: boxes.at_once == 2)

    threading.Timer(0.1, boxes.may_go_on.set).start()
    pool.close()  # while two are being made
    pool.close()

    assert boxes.open == set()
    with pytest.raises(SandboxError, match="the pool is closed"):
        pool.pop("a")


def test_a_pool_can_be_closed_where_no_thread_can_be_started(monkeypatch):
    """As Python 3.12 has it when it ends."""
    boxes = Boxes()
    pool = Pool(size=3, open_=boxes)
    pool.pop("a").close()
    eventually(lambda: len(boxes.open) == 3)
    eventually(lambda: not pool._workers)

    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    pool.close()

    assert boxes.open == set()


def test_kinds_longest_unused_make_room():
    boxes = Boxes()
    with Pool(size=2, most=3, open_=boxes) as pool:
        for image in "abc":
            pool.pop(image).close()
            eventually(lambda: pool._workers == 0)
        eventually(lambda: len(boxes.open) == 3)
        assert sorted(box.image for box in boxes.open) == ["b", "c", "c"]


def test_kinds_that_nobody_asks_for_are_kept_ready_no_longer():
    boxes = Boxes()
    with Pool(size=2, idle_s=0.1, open_=boxes) as pool:
        pool.pop("a").close()
        eventually(lambda: boxes.made == 3)
        eventually(lambda: not boxes.open)
        eventually(lambda: not pool._kinds or not threads())
        assert pool.pop("a").alive


def test_boxes_can_be_made_ready_ahead():
    boxes = Boxes()
    with Pool(size=0, open_=boxes) as pool:
        pool.warm("a", 3)
        eventually(lambda: len(boxes.open) == 3)


def test_what_fails_now_and_then_is_tried_again(monkeypatch):
    monkeypatch.setattr(pools, "BACK_OFF_S", 0.01)
    boxes = Boxes()
    boxes.fails = 3
    with Pool(size=0, attempts=4, open_=boxes) as pool:
        assert pool.pop("a").alive
        assert boxes.made == 4
        assert next(iter(pool._kinds.values())).failures == 0


def test_what_fails_again_and_again_is_given_up_for_a_while(monkeypatch):
    monkeypatch.setattr(pools, "BACK_OFF_S", 0.001)
    boxes = Boxes()
    boxes.fails = 1000
    with Pool(size=2, parallel=1, attempts=3, rest_s=600, open_=boxes) as pool:
        with ThreadPoolExecutor(8) as callers:
            asked = [callers.submit(pool.pop, "a") for _ in range(8)]
            for each in asked:
                with pytest.raises(SandboxError, match=r"the engine is gone \(3 failures in a row"):
                    each.result(timeout=60)
        with pytest.raises(SandboxError, match="tried again in"):
            pool.pop("a")
        assert boxes.made == 3

        (kind,) = pool._kinds.values()
        kind.rests_until = 0.0  # that time has passed
        with pytest.raises(SandboxError, match="4 failures"):  # one attempt, and no more
            pool.pop("a")
        assert boxes.made == 4
        boxes.fails = 0
        kind.rests_until = 0.0
        assert pool.pop("a").alive


def test_other_images_do_not_suffer_from_one_that_fails(monkeypatch):
    monkeypatch.setattr(pools, "BACK_OFF_S", 0.001)
    boxes = Boxes()
    boxes.fails = 2
    with Pool(size=0, attempts=2, open_=boxes) as pool:
        with pytest.raises(SandboxError):
            pool.pop("bad")
        assert pool.pop("good").alive


def test_a_mistake_of_the_callers_is_raised_as_it_is():
    boxes = Boxes()
    boxes.mistake = ConfigError("backend is 'podman'")
    with Pool(open_=boxes) as pool:
        with pytest.raises(ConfigError, match="podman"):
            pool.pop("a", backend="podman")
        boxes.mistake = None
        assert pool.pop("a", backend="podman").alive


def test_waiting_ends_in_time():
    boxes = Boxes()
    boxes.may_go_on.clear()
    with Pool(size=0, open_=boxes) as pool:
        with pytest.raises(SandboxError, match="no sandbox was ready in time"):
            pool.pop("a", wait_s=0.05)
        boxes.may_go_on.set()
    assert boxes.open == set()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_begins_with_an_empty_pool():
    boxes = Boxes()
    with Pool(size=2, open_=boxes) as pool:
        pool.pop("a").close()
        eventually(lambda: len(boxes.open) == 2)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            made = boxes.made
            pool.pop("a")
            os.write(writing, b"made one" if boxes.made > made else b"took the parent's")
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        with os.fdopen(reading, "rb") as end:
            assert end.read() == b"made one"
        assert len(boxes.open) == 2
        assert pool.pop("a").alive


@pytest.mark.parametrize(
    "wrong",
    [
        *({"size": -1}, {"parallel": 0}, {"attempts": 0}, {"most": -1}),
        *({"size": 1.5}, {"size": True}, {"most": "3"}, {"parallel": 2.0}),
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Pool(**wrong)
