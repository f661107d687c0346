"""A run on disk: append-only, locked, repaired, read lazily."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np
import orjson
import pytest
from PIL import Image
from worlds import fresh_python

from agentgym import store as store_module
from agentgym.errors import StoreError
from agentgym.store import Store
from agentgym.types import Completion, EpisodeKey, Outcome, Stop, Task, Trajectory, Turn


def key(seed, sample=0):
    return EpisodeKey("tests/Count-v0", "count:0", seed, sample)


def episode(seed, *, scored=True, sample=0, observation="a room", facts=None):
    turn = Turn(
        observation, Completion(f"said {seed}"), "go", None, 0.0, {"valid": True, **(facts or {})}
    )
    return Trajectory(
        key(seed, sample),
        Task("count:0"),
        [turn],
        outcome=Outcome(1.0, True) if scored else Outcome(0.0, False, "x", available=False),
        stop=Stop.TERMINATED if scored else Stop.ERROR,
    )


def test_what_was_appended_comes_back_in_order_with_its_manifest(tmp_path):
    with Store.create(tmp_path / "run", {"plan": {"env": "x"}}) as store:
        for seed in range(5):
            store.append(episode(seed))
    again = Store.open(tmp_path / "run")
    assert again.manifest["plan"] == {"env": "x"}
    assert [t.key.seed for t in again.episodes()] == [0, 1, 2, 3, 4]
    assert again.done() == {key(seed) for seed in range(5)}


def test_an_episode_is_on_disk_before_append_returns(tmp_path):
    store = Store.create(tmp_path / "run", {})
    store.append(episode(1))
    assert len(list(Store.open(tmp_path / "run").episodes())) == 1
    store.close()


def test_the_last_line_of_a_key_counts(tmp_path):
    with Store.create(tmp_path / "run", {}) as store:
        store.append(episode(1, scored=False))
        store.append(episode(2))
        assert store.done() == {key(2)}
        store.append(episode(1))
    assert Store.open(tmp_path / "run").done() == {key(1), key(2)}
    assert [t.scored for t in Store.open(tmp_path / "run").episodes()] == [True, True]


def test_a_torn_last_line_is_skipped_by_readers_and_cut_by_the_next_writer(tmp_path, caplog):
    with Store.create(tmp_path / "run", {}) as store:
        store.append(episode(1))
        store.append(episode(2))
    file = tmp_path / "run" / "episodes.jsonl"
    whole = file.read_bytes()
    second = whole.index(b"\n") + 1
    for cut in (second + 1, second + 40, len(whole) - 1):
        file.write_bytes(whole[:cut])
        assert [t.key.seed for t in Store.open(tmp_path / "run").episodes()] == [1]
        with Store.resume(tmp_path / "run") as store:
            store.append(episode(3))
        assert [t.key.seed for t in Store.open(tmp_path / "run").episodes()] == [1, 3]
    assert "torn" in caplog.text


def test_a_file_torn_in_its_first_line_can_be_gone_on_with(tmp_path):
    Store.create(tmp_path / "run", {}).close()
    (tmp_path / "run" / "episodes.jsonl").write_bytes(b'{"head":{"sch')
    with Store.resume(tmp_path / "run") as store:
        store.append(episode(1))
    assert [t.key.seed for t in Store.open(tmp_path / "run").episodes()] == [1]


def test_damage_in_the_middle_costs_that_episode_only(tmp_path, caplog):
    with Store.create(tmp_path / "run", {}) as store:
        for seed in range(3):
            store.append(episode(seed))
    file = tmp_path / "run" / "episodes.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:-30] + b"\0" * 29 + b"\n"
    file.write_bytes(b"".join(lines))
    with caplog.at_level(logging.WARNING):
        assert [t.key.seed for t in Store.open(tmp_path / "run").episodes()] == [0, 2]
    assert "skipped" in caplog.text


def test_one_writer_at_a_time(tmp_path):
    with Store.create(tmp_path / "run", {}), pytest.raises(StoreError, match="another process"):
        Store.resume(tmp_path / "run")
    Store.resume(tmp_path / "run").close()


def _write_until_killed(path, ready):
    store = Store.create(path, {})
    seed = 0
    while True:
        store.append(episode(seed, observation="x" * 20_000))
        seed += 1
        if seed == 20:
            ready.set()


def test_a_killed_writer_loses_no_episode_that_was_appended_and_frees_the_lock(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_write_until_killed, args=(tmp_path / "run", ready))
    writer.start()
    assert ready.wait(60)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    with Store.resume(tmp_path / "run") as store:
        seeds = [t.key.seed for t in store.episodes()]
    assert len(seeds) >= 20
    assert seeds == list(range(len(seeds)))


def test_what_is_written_is_synced_within_a_second_and_at_the_end(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(time.monotonic()), real(fd)))
    store = Store.create(tmp_path / "run", {})
    begun = time.monotonic()
    store.append(episode(1))
    while not synced and time.monotonic() < begun + 5:
        time.sleep(0.01)
    assert synced
    assert store_module.SYNC_EVERY_S < 1
    before = len(synced)
    store.append(episode(2))
    store.close()
    assert len(synced) > before


def test_manifest_and_images_are_synced_too(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))
    )
    image = np.zeros((2, 2, 3), np.uint8)
    with Store.create(tmp_path / "run", {}) as store:
        assert synced == [str(tmp_path / "run" / ".manifest.json")]
        store.append(episode(1, observation={"image": image}))
    (kept,) = (tmp_path / "run" / "images").iterdir()
    assert synced.index(str(kept)) < synced.index(str(tmp_path / "run" / "episodes.jsonl"))


def test_a_disk_that_fails_at_the_end_is_told(tmp_path, monkeypatch):
    def fail(file):
        raise OSError(errno.EIO, "Input/output error")

    store = Store.create(tmp_path / "run", {})
    monkeypatch.setattr(os, "fsync", fail)
    store.append(episode(1))
    with pytest.raises(StoreError, match=r"the disk under .* fails: Input/output error"):
        store.close()
    monkeypatch.undo()
    Store.resume(tmp_path / "run").close()  # the lock was let go


def test_closing_twice_is_fine_and_leaves_no_thread(tmp_path):
    before = threading.active_count()
    store = Store.create(tmp_path / "run", {})
    store.close()
    store.close()
    assert threading.active_count() == before
    with pytest.raises(StoreError, match="not open for writing"):
        store.append(episode(1))


def test_a_full_disk_is_one_clear_error_and_costs_nothing_written_before(tmp_path):
    with Store.create(tmp_path / "run", {}) as store:
        store.append(episode(1))
        size = (tmp_path / "run" / "episodes.jsonl").stat().st_size
        old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:  # the kernel refuses to let the file grow past this: a write that fails half-way
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limit[1]))
            with pytest.raises(StoreError, match="what was written before is safe"):
                store.append(episode(2, observation="x" * 10_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            signal.signal(signal.SIGXFSZ, old)
        assert (tmp_path / "run" / "episodes.jsonl").stat().st_size == size
        store.append(episode(3))
    assert [t.key.seed for t in Store.open(tmp_path / "run").episodes()] == [1, 3]


def test_an_episode_that_is_not_json_is_kept_as_an_error_that_says_why(tmp_path):
    with Store.create(tmp_path / "run", {}) as store:
        store.append(episode(1, facts={"seen": {1, 2}}))
    (kept,) = Store.open(tmp_path / "run").episodes()
    assert kept.key == key(1)
    assert kept.stop is Stop.ERROR
    assert not kept.scored
    assert "facts.seen is a set" in kept.error


def test_a_task_that_is_not_json_costs_that_episode_only(tmp_path):
    with Store.create(tmp_path / "run", {}) as store:
        wrong = episode(1)
        wrong.task = Task("count:0", "tests/Count-v0", data={"rooms": {1, 2}})
        store.append(wrong)
        store.append(episode(2))
    kept, other = Store.open(tmp_path / "run").episodes()
    assert "task.data.rooms is a set" in kept.error
    assert kept.task == Task("count:0", "tests/Count-v0")
    assert other.scored


@pytest.mark.parametrize("image", [None, "abc", [[1]], np.zeros((2, 2, 3))])
def test_an_image_that_is_none_costs_that_episode_only(tmp_path, image):
    with Store.create(tmp_path / "run", {}) as store:
        store.append(episode(1, observation={"image": image}))
        store.append(episode(2))
    kept, other = Store.open(tmp_path / "run").episodes()
    assert kept.error.startswith("environment: cannot be recorded: ")
    assert other.scored


def test_an_image_of_pillows_is_kept_as_an_array_is(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    with Store.create(tmp_path / "run", {}) as store:
        store.append(episode(1, observation={"image": Image.fromarray(image)}))
        (kept,) = store.episodes()
    assert np.array_equal(np.asarray(kept.turns[0].observation["image"]), image)


def test_an_episode_of_many_arguments_is_found_again(tmp_path):
    wordy = episode(1)
    wordy.key = wordy.key._replace(env="tests/Count-v0?names=" + "x" * 20_000)
    with Store.create(tmp_path / "run", {}) as store:
        store.append(wordy)
        assert store.done() == {wordy.key}


def test_images_lie_beside_the_episodes_once_each_and_come_back_exactly(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    with Store.create(tmp_path / "run", {}) as store:
        store.append(episode(1, observation={"text": "look", "image": image}))
        store.append(episode(2, observation={"text": "look", "image": image.copy()}))
    assert len(list((tmp_path / "run" / "images").iterdir())) == 1
    for trajectory in Store.open(tmp_path / "run").episodes():
        shown = trajectory.turns[0].observation
        assert shown["text"] == "look"
        assert np.array_equal(np.asarray(shown["image"]), image)


def test_rewards_are_files_of_their_own_and_leave_the_episodes_alone(tmp_path):
    with Store.create(tmp_path / "run", {}) as store:
        store.append(episode(1))
    before = (tmp_path / "run" / "episodes.jsonl").read_bytes()
    rows = [{"key": list(key(1)), "per_turn": [0.5], "available": [True]}]
    store.write_rewards("spa", rows)
    assert list(store.rewards("spa")) == rows
    assert (tmp_path / "run" / "episodes.jsonl").read_bytes() == before
    with pytest.raises(StoreError, match="no rewards 'igpo'"):
        list(store.rewards("igpo"))
    (tmp_path / "run" / "rewards" / "igpo.jsonl").mkdir()
    with pytest.raises(StoreError, match=r"cannot write .*igpo"):
        store.write_rewards("igpo", rows)
    assert {p.name for p in (tmp_path / "run" / "rewards").iterdir()} == {"spa.jsonl", "igpo.jsonl"}


def test_reading_is_streaming(tmp_path):
    with Store.create(tmp_path / "run", {}) as store:
        for seed in range(200):
            store.append(episode(seed, observation="x" * 100_000))
    grown_mb = float(
        fresh_python(
            "import worlds; from agentgym.store import Store\n"
            f"store = Store.open({str(tmp_path / 'run')!r}); before = worlds.peak_mb()\n"
            "assert sum(1 for _ in store.episodes()) == 200\n"
            "print(worlds.peak_mb() - before)"
        )
    )
    assert grown_mb < 5  # the file has 20 MB


def foreign(path: Path, manifest: bytes | None):
    path.mkdir()
    if manifest is not None:
        (path / "manifest.json").write_bytes(manifest)
    return path


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (None, "has no manifest.json"),
        (b"not json", "cannot be read"),
        (b"[]", "its manifest is not agentgym's"),
        (b'{"name": "other"}', "its manifest is not agentgym's"),
        (orjson.dumps({"kind": "agentgym-run", "schema": 999}), "upgrade agentgym-env"),
    ],
)
def test_a_foreign_or_newer_folder_is_refused_in_one_line(tmp_path, manifest, said):
    path = foreign(tmp_path / "run", manifest)
    for opening in (Store.open, Store.resume):
        with pytest.raises(StoreError, match=said) as caught:
            opening(path)
        assert "\n" not in str(caught.value)


def test_a_missing_folder_a_file_and_a_used_folder_are_refused(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        Store.open(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    for used in (tmp_path / "file", tmp_path):
        with pytest.raises(StoreError, match="choose another folder"):
            Store.create(used, {})
    with pytest.raises(StoreError, match="cannot write"):
        Store.create(tmp_path / "file" / "run", {})


def test_what_a_full_disk_left_of_a_run_does_not_stand_in_the_way(tmp_path):
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
        with pytest.raises(StoreError, match="cannot write"):
            Store.create(tmp_path / "run", {"plan": "x" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, old)
    Store.create(tmp_path / "run", {"plan": "x" * 1000}).close()


def test_what_was_killed_before_its_manifest_does_not_stand_in_the_way(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "episodes.jsonl").touch()
    (tmp_path / "run" / ".manifest.json").write_text('{"kin')
    Store.create(tmp_path / "run", {"plan": "x"}).close()
    assert Store.open(tmp_path / "run").manifest["plan"] == "x"
    (tmp_path / "run" / "manifest.json").unlink()
    (tmp_path / "run" / "episodes.jsonl").write_text("{}\n")
    with pytest.raises(StoreError, match="choose another folder"):
        Store.create(tmp_path / "run", {})


def test_of_two_that_create_a_run_one_wins(tmp_path):
    with Store.create(tmp_path / "run", {"who": "first"}):
        (tmp_path / "run" / "manifest.json").unlink()
        with pytest.raises(StoreError):
            Store.create(tmp_path / "run", {"who": "second"})


@pytest.mark.parametrize(
    "head",
    [
        {"schema": 1, "key": ["e", "t", 0, 0], "stop": "terminated"},
        {"schema": 1, "key": [["e"], "t", 0, 0], "stop": "terminated", "scored": True},
        {"schema": 1, "key": ["e"], "stop": "terminated", "scored": True},
    ],
)
def test_a_line_with_another_head_is_skipped(tmp_path, head):
    with Store.create(tmp_path / "run", {}) as store:
        store.append(episode(1))
    with (tmp_path / "run" / "episodes.jsonl").open("ab") as file:
        file.write(b'{"head":' + orjson.dumps(head) + b"}\n")
    assert Store.open(tmp_path / "run").done() == {key(1)}


def test_facts_nested_without_end_cost_that_episode_only(tmp_path):
    deep = []
    for _ in range(5_000):
        deep = [deep]
    with Store.create(tmp_path / "run", {}) as store:
        store.append(episode(1, facts={"deep": deep}))
        store.append(episode(2))
    assert [t.scored for t in Store.open(tmp_path / "run").episodes()] == [False, True]
