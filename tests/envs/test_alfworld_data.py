"""ALFWorld's games are found in every form they come in, and what cannot be read is named."""

import gzip
import io
import json
import logging
import lzma
import multiprocessing
import os
import pickle
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agentgym import cli
from agentgym.errors import ConfigError, TaskError
from agentgym.tasks import alfworld_data, alfworld_fetch
from agentgym.tasks.alfworld_data import SPLITS, open_pack
from agentgym.tasks.alfworld_game import (
    TASK_TYPES,
    TRAIT,
    Game,
    Receptacle,
    Thing,
    read_problem,
    write_problem,
)

REAL = os.environ.get("AGENTGYM_TEST_DATA", "")
real = pytest.mark.skipif(not REAL, reason="AGENTGYM_TEST_DATA names no folder with real games")
JSON, GAMES = "0.2.2/json_2.1.1_json.zip", "0.4.0/json_2.1.2_tw-pddl.zip"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, nothing named, nothing remembered."""
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(alfworld_fetch, "PAUSE_S", 0.01)
    alfworld_data.forget()
    yield tmp_path / "cache" / "alfworld"
    alfworld_data.forget()


# ------------------------------------------------------------------------------- games to read


def make_game(number, task_type="pick", split="valid_seen"):
    """A room with two mugs, a lamp, a shelf and appliances: as much as every task needs."""
    destination = "desklamp" if task_type == "look" else "shelf"
    task = f"{TASK_TYPES[task_type].split('_')[0]} some mug"
    place = [f"loc_bar_{i}_bar_{number}" for i in range(6)]
    desk, shelf = f"desk_bar__plus_0{number}", f"shelf_bar__plus_0{number}"
    thing_traits = sum(TRAIT[each] for each in ("pickupable", "cleanable", "heatable", "coolable"))
    return Game(
        id=f"{TASK_TYPES[task_type]}-Mug-None-Shelf-{number}/trial_T{number:04}",
        task_type=task_type,
        target="mug",
        destination=destination,
        task=task,
        start=place[0],
        receptacles=(
            Receptacle(desk, "desk", place[1]),
            Receptacle(f"fridge_bar_{number}", "fridge", place[3], openable=True),
            Receptacle(f"microwave_bar_{number}", "microwave", place[4], openable=True),
            Receptacle(shelf, "shelf", place[2], openable=True),
            Receptacle(f"sink_bar_{number}_bar_sinkbasin", "sinkbasin", place[5]),
        ),
        things=(
            Thing(f"desklamp_bar_{number}", "desklamp", (place[1],), (desk,), TRAIT["toggleable"]),
            Thing(f"mug_bar_{number}", "mug", (place[1],), (desk,), thing_traits),
            Thing(f"mug_bar_{number}_bar_2", "mug", (place[1],), (desk,), thing_traits),
        ),
        can_contain={"desk": ("desklamp", "mug"), "shelf": ("mug",)},
        human_goals=(f"Put mug {number} away.", "Tidy up: \u201cmug\u201d"),
        scene=f"FloorPlan{number}",
        split=split,
    )


def make_games(split="valid_seen"):
    return [make_game(i, kind, split) for i, kind in enumerate(sorted(TASK_TYPES), 1)]


def trajectory_of(game, **changed):
    return {
        "task_id": game.id.rpartition("/")[2],
        "task_type": TASK_TYPES[game.task_type],
        "scene": {"floor_plan": game.scene, "scene_num": 1},
        "turk_annotations": {"anns": [{"task_desc": goal} for goal in game.human_goals]},
        **changed,
    }


def file_of(game, **changed):
    grammar = (
        'grammar :: """\n{\n "intro": [{"rhs": "-= Welcome =-\\n\\n#task#"}],\n "task": [\n'
        f'  {{"rhs": "Your task is to: {game.task}."}}\n ]\n}}\n"""'
    )
    whole = {"pddl_domain": "(define (domain alfred))", "grammar": grammar, "solvable": True}
    return {**whole, "pddl_problem": write_problem(game), "walkthrough": ["look"], **changed}


def lay_out(root, games, split="valid_seen"):
    """Games as `alfworld-download` leaves them."""
    for game in games:
        put(root, split, game.id, trajectory_of(game), file_of(game))
    return root


def put(root, split, id, trajectory, file):
    folder = root / "json_2.1.1" / split / id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "initial_state.pddl").write_text("()")
    for name, content in (("traj_data.json", trajectory), ("game.tw-pddl", file)):
        if content is not None:
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            (folder / name).write_bytes(text)


def line_of(game, **changed):
    record = {
        "id": game.id,
        "split": game.split,
        "task_type": TASK_TYPES[game.task_type],
        "scene": game.scene,
        "pddl_params": {},
        "task": game.task,
        "human_goals": list(game.human_goals),
        "high_pddl": [],
        "pddl_problem": write_problem(game),
        **changed,
    }
    return json.dumps(record).encode() + b"\n"


def write_lines(folder, *lines, split="valid_seen", ending=".xz"):
    openers = {".xz": lzma.open, ".gz": gzip.open, "": open}
    folder.mkdir(exist_ok=True)
    path = folder / f"alfworld-{split}-2.1.1.jsonl{ending}"
    with openers[ending](path, "wb") as file:
        file.writelines(lines)
    return path


def zips_of(folder, *splits, extra=()):
    """The two archives that are needed, as bytes by what a release calls them."""
    made = {}
    for url, kept in ((JSON, "traj_data.json"), (GAMES, "game.tw-pddl")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob(kept)):
                archive.write(path, path.relative_to(folder))
            for name in extra:
                archive.writestr(name, b"pwned")
        made[url] = buffer.getvalue()
    return made


def same(games):
    return sorted(games, key=lambda game: game.id)


def read_all(pack):
    return [pack.game(id) for id in pack.ids()]


def left_over(folder):
    """What is in the cache besides packs and locks."""
    everything = [p for p in folder.rglob("*") if p.name != "read"] if folder.exists() else []
    return [p.name for p in everything if p.suffix != ".sqlite" and ".lock-" not in p.name]


# ------------------------------------------------------------------------------ the same games


def test_an_official_folder_is_read_to_the_games_it_was_made_of(tmp_path):
    games = make_games()

    pack = open_pack("valid_seen", lay_out(tmp_path / "data", games))

    assert read_all(pack) == same(games)
    assert [game.split for game in read_all(pack)] == ["valid_seen"] * 6
    assert (pack.split, dict(pack.skipped)) == ("valid_seen", {})
    assert pack.source == str(tmp_path / "data" / "json_2.1.1" / "valid_seen")


def test_a_folder_that_directly_holds_the_splits_will_do(tmp_path):
    lay_out(tmp_path, make_games())

    assert len(open_pack("valid_seen", tmp_path / "json_2.1.1")) == 6


def test_a_trial_may_be_a_symbolic_link(tmp_path):
    game = make_game(1)
    lay_out(tmp_path / "all", [game])
    subset = tmp_path / "some" / "valid_seen" / "mine"
    subset.mkdir(parents=True)
    (subset / "trial").symlink_to(tmp_path / "all" / "json_2.1.1" / "valid_seen" / game.id)

    assert open_pack("valid_seen", tmp_path / "some").ids() == ["mine/trial"]


@pytest.mark.parametrize("ending", [".xz", ".gz", ""])
def test_packed_lines_are_read_to_the_same_games_as_a_folder(tmp_path, ending):
    games = make_games()
    path = write_lines(tmp_path / "lines", *map(line_of, reversed(games)), ending=ending)

    from_folder = open_pack("valid_seen", lay_out(tmp_path / "folder", games))
    from_lines = open_pack("valid_seen", path.parent)

    assert from_lines.ids() == from_folder.ids() == sorted(game.id for game in games)
    assert read_all(from_lines) == read_all(from_folder)
    assert read_all(open_pack("valid_seen", path)) == same(games)


def test_a_pack_is_data_too_under_any_name(tmp_path):
    made = open_pack("valid_seen", lay_out(tmp_path / "data", make_games()))
    (tmp_path / "packs").mkdir()
    in_folder = shutil.copy(made.path, tmp_path / "packs" / "valid_seen.sqlite")
    own_name = shutil.copy(made.path, tmp_path / "100% mine?#.sqlite")

    for place in (tmp_path / "packs", in_folder, own_name):
        assert read_all(open_pack("valid_seen", place)) == read_all(made)
    with pytest.raises(ConfigError, match=r"no ALFWorld split 'train' at .*: there is valid_seen$"):
        open_pack("train", own_name)


def test_games_are_chosen_by_the_short_names_of_their_types(tmp_path):
    pack = open_pack("valid_seen", lay_out(tmp_path, make_games()))

    assert pack.ids(["heat", "cool"]) == [
        id for id in pack.ids() if pack.game(id).task_type in ("heat", "cool")
    ]
    assert len(pack.ids(["pick"])) == 1
    assert pack.ids([]) == []
    with pytest.raises(ConfigError, match=r"no task type 'pikc'.*did you mean 'pick'\?"):
        pack.ids(["pikc"])


def test_a_game_that_is_not_there_is_corrected(tmp_path):
    pack = open_pack("valid_seen", lay_out(tmp_path, make_games()))
    id = pack.ids()[0]

    with pytest.raises(TaskError, match=rf"'valid_seen' has no game '{id}x'; did you mean '{id}'"):
        pack.game(f"{id}x")


# -------------------------------------------------------------------------------- where it looks


def test_the_argument_comes_before_the_variable_and_that_before_what_was_fetched(
    tmp_path, monkeypatch
):
    places = [lay_out(tmp_path / str(n), [make_game(n)]) for n in (1, 2, 3)]
    alfworld_fetch.fetch(str(places[2]))
    assert open_pack("valid_seen").ids() == [make_game(3).id]
    monkeypatch.setenv("ALFWORLD_DATA", str(places[1]))
    assert open_pack("valid_seen").ids() == [make_game(2).id]
    assert open_pack("valid_seen", places[0]).ids() == [make_game(1).id]
    monkeypatch.setenv("ALFWORLD_DATA", "")
    assert open_pack("valid_seen").ids() == [make_game(3).id]


def test_without_any_data_the_three_ways_to_games_are_named():
    with pytest.raises(ConfigError) as raised:
        open_pack("train")

    for way in ("ALFWORLD_DATA", "`agentgym data alfworld`", "split='generated'"):
        assert way in str(raised.value)


def test_a_split_that_does_not_exist_is_corrected():
    with pytest.raises(TaskError, match=r"no split 'valid_sen'.*did you mean 'valid_seen'\?"):
        open_pack("valid_sen")


def test_a_folder_without_games_says_what_was_looked_for(tmp_path):
    with pytest.raises(ConfigError, match=r"a folder: looked for json_2\.1\.1/SPLIT/.*valid_train"):
        open_pack("train", tmp_path)
    with pytest.raises(ConfigError, match=r"nowhere': it is not there$"):
        open_pack("train", tmp_path / "nowhere")
    (tmp_path / "games.zip").touch()
    with pytest.raises(ConfigError, match=r"games.zip', which is a file: looked for"):
        open_pack("train", tmp_path / "games.zip")


def test_a_split_that_a_folder_does_not_hold_is_not_looked_for_elsewhere(tmp_path, monkeypatch):
    alfworld_fetch.fetch(str(lay_out(tmp_path / "all", make_games("train"), "train")))
    monkeypatch.setenv("ALFWORLD_DATA", str(lay_out(tmp_path / "some", make_games())))

    with pytest.raises(ConfigError, match=r"no ALFWorld split 'train' .*: there is valid_seen$"):
        open_pack("train")
    monkeypatch.delenv("ALFWORLD_DATA")
    with pytest.raises(ConfigError, match=r"'valid_seen' is not here, only train: agentgym data"):
        open_pack("valid_seen")


# -------------------------------------------------------------------------------- what is left out


def test_what_alfworld_leaves_out_is_left_out_counted_and_said_once(tmp_path, caplog):
    games = make_games()
    lay_out(tmp_path, games)
    game = games[0]
    told, file = trajectory_of(game), file_of(game)
    unmarked = {key: value for key, value in file.items() if key != "solvable"}
    put(tmp_path, "valid_seen", "pick_and_place_with_movable_recep-A/t", told, file)
    put(tmp_path, "valid_seen", "pick_and_place_simple-AppleSliced-1/t", told, file)
    put(tmp_path, "valid_seen", "no/trajectory", None, file)
    put(tmp_path, "valid_seen", "no/game", told, None)
    put(tmp_path, "valid_seen", "no/solution", told, {**file, "solvable": False})
    put(tmp_path, "valid_seen", "no/mark", told, unmarked)
    put(tmp_path, "valid_seen", "no/type", {**told, "task_type": "pick_and_juggle"}, file)

    pack = open_pack("valid_seen", tmp_path)
    alfworld_data.forget()
    open_pack("valid_seen", tmp_path)

    assert read_all(pack) == same(games)
    assert pack.skipped == {
        "movable": 1,
        "not known to be solvable": 1,
        "of other types": 1,
        "sliced": 1,
        "unsolvable": 1,
        "without game.tw-pddl": 1,
        "without traj_data.json": 1,
    }
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 1
    assert warned[0].startswith("alfworld valid_seen: 6 games; skipped 1 movable, 1 not known to")


def test_a_game_that_says_it_is_solvable_and_is_not_is_left_out_too(tmp_path):
    games = make_games()
    nowhere = replace(games[0], can_contain={}, task_type="pick", destination="shelf")
    lay_out(tmp_path, games[1:])
    put(tmp_path, "valid_seen", "no/way", trajectory_of(nowhere), file_of(nowhere))

    pack = open_pack("valid_seen", tmp_path)

    assert read_all(pack) == same(games[1:])
    assert pack.skipped == {"unsolvable": 1}


def test_a_folder_named_movable_around_it_all_changes_nothing(tmp_path):
    assert len(open_pack("valid_seen", lay_out(tmp_path / "movable-Sliced", make_games()))) == 6


GAME = make_game(1)
DAMAGE = {
    "bad JSON": (trajectory_of(GAME), b"{"),
    "no text": (trajectory_of(GAME), b"\xff\xfe\x00"),
    "a list": (trajectory_of(GAME), []),
    "no problem": (trajectory_of(GAME), {**file_of(GAME), "pddl_problem": None}),
    "no task": (trajectory_of(GAME), {**file_of(GAME), "grammar": "task: UNKNOWN GOAL."}),
    "half a problem": (
        trajectory_of(GAME),
        {**file_of(GAME), "pddl_problem": write_problem(GAME)[:300]},
    ),
    "an unknown predicate": (
        trajectory_of(GAME),
        file_of(GAME, pddl_problem=write_problem(GAME).replace("(pickupable", "(levitating")),
    ),
    "another type": (trajectory_of(GAME, task_type="pick_two_obj_and_place"), file_of(GAME)),
    "no scene": (trajectory_of(GAME, scene=5), file_of(GAME)),
    "odd goals": (trajectory_of(GAME, turk_annotations={"anns": [1]}), file_of(GAME)),
    "bad trajectory": (b"", file_of(GAME)),
}


def test_damaged_games_are_left_out_and_the_first_are_named(tmp_path, caplog):
    lay_out(tmp_path, make_games())
    for name, (trajectory, file) in DAMAGE.items():
        put(tmp_path, "valid_seen", f"damaged/{name}", trajectory, file)

    pack = open_pack("valid_seen", tmp_path)

    assert read_all(pack) == same(make_games())
    assert pack.skipped == {"damaged": len(DAMAGE)}
    assert "'damaged/a list': " in caplog.text
    assert caplog.text.count("'damaged/") == 3


@pytest.mark.parametrize("name", DAMAGE)
def test_a_folder_with_nothing_but_damage_says_what_is_wrong(tmp_path, cache, name):
    put(tmp_path, "valid_seen", "a/b", *DAMAGE[name])

    with pytest.raises(ConfigError, match=r"no ALFWorld game to play in .*valid_seen'") as raised:
        open_pack("valid_seen", tmp_path)

    assert "skipped 1 damaged; first, " in str(raised.value)
    assert "'a/b'" in str(raised.value)
    assert [*cache.rglob("*.sqlite")] == left_over(cache) == []


def test_an_empty_split_is_an_error(tmp_path):
    (tmp_path / "train").mkdir()

    with pytest.raises(ConfigError, match=r"no ALFWorld game to play in .*train'$"):
        open_pack("train", tmp_path)


def test_bad_lines_are_left_out_and_named(tmp_path, caplog):
    games = make_games()
    bad = [
        b"{\n",
        b"[]\n",
        b"\xff\n",
        b"\n",  # not even a line
        line_of(games[0]),  # there twice
        line_of(games[0], split="train"),
        line_of(games[0], id=None),
        line_of(games[0], human_goals="one"),
        line_of(games[0], pddl_problem="(define"),
    ]

    pack = open_pack("valid_seen", write_lines(tmp_path, *map(line_of, games), *bad))

    assert read_all(pack) == same(games)
    assert pack.skipped == {"damaged": 6, "of another split": 1, "there twice": 1}
    assert "line 7: " in caplog.text


@pytest.mark.parametrize("ending", [".xz", ".gz"])
def test_a_file_that_was_cut_short_is_named(tmp_path, cache, ending):
    path = write_lines(tmp_path, *map(line_of, make_games()), ending=ending)
    path.write_bytes(path.read_bytes()[:-200])

    with pytest.raises(ConfigError, match=rf"2\.1\.1\.jsonl\{ending}' cannot be read to its end"):
        open_pack("valid_seen", path)
    assert [*cache.rglob("*.sqlite")] == left_over(cache) == []


# -------------------------------------------------------------------------------- packs on disk


def test_a_source_is_read_once_and_again_when_it_changed(tmp_path, cache, caplog):
    caplog.set_level(logging.INFO, "agentgym")
    lay_out(tmp_path, make_games()[:2])
    for _ in range(3):
        assert len(open_pack("valid_seen", tmp_path)) == 2
        alfworld_data.forget()
    assert caplog.text.count("reading ALFWorld") == 1

    lay_out(tmp_path, make_games())

    assert len(open_pack("valid_seen", tmp_path)) == 6
    assert len([*cache.rglob("*.sqlite")]) == 1  # the former one is gone


def test_opening_again_costs_next_to_nothing_and_gives_the_same_pack(tmp_path):
    data = lay_out(tmp_path, make_games())
    first = open_pack("valid_seen", data)
    started = time.process_time()

    assert all(open_pack("valid_seen", str(data)) is first for _ in range(1000))

    assert time.process_time() - started < 0.5


def damage(pack, how):
    content = bytearray(pack.read_bytes())
    if how == "another version":
        with closing(sqlite3.connect(pack)) as file:
            file.execute("UPDATE meta SET value = '0' WHERE key = 'format'")
            file.commit()
    elif how == "a game changed":
        with closing(sqlite3.connect(pack)) as file:
            file.execute("UPDATE games SET game = x'00' WHERE position = 3")
            file.commit()
    elif how == "cut short":
        pack.write_bytes(content[: len(content) // 2])
    else:
        pack.write_bytes({"empty": b"", "garbage": b"no database" * 1000}[how])


HOW = ["another version", "a game changed", "cut short", "empty", "garbage"]


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_pack_is_made_again_from_its_source(tmp_path, caplog, how):
    data = lay_out(tmp_path, make_games())
    damage(open_pack("valid_seen", data).path, how)
    alfworld_data.forget()

    assert read_all(open_pack("valid_seen", data)) == same(make_games())
    assert "making it again" in caplog.text


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_pack_without_a_source_says_how_to_get_it_again(tmp_path, cache, how):
    data = lay_out(tmp_path, make_games())
    alfworld_fetch.fetch(str(data))
    damage(cache / "valid_seen.sqlite", how)

    with pytest.raises(ConfigError, match=r"sqlite' is .*: agentgym data alfworld --splits valid_"):
        open_pack("valid_seen")
    with pytest.raises(ConfigError, match=r"sqlite' is .*: replace it$"):
        open_pack("valid_seen", cache)
    alfworld_fetch.fetch(str(data), ["valid_seen"])  # as the message says
    assert len(open_pack("valid_seen")) == 6


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path / "file"))

    with pytest.raises(ConfigError, match=r"cannot keep ALFWorld games in .*set AGENTGYM_CACHE"):
        open_pack("valid_seen", lay_out(tmp_path / "data", make_games()))
    with pytest.raises(ConfigError, match=r"cannot fetch ALFWorld's games: .*Not a directory"):
        alfworld_fetch.fetch(str(tmp_path / "data"))


def test_a_pack_can_be_sent_to_another_process(tmp_path):
    pack = open_pack("valid_seen", lay_out(tmp_path, make_games()))

    assert read_all(pickle.loads(pickle.dumps(pack))) == read_all(pack)


def test_threads_and_forks_share_a_pack(tmp_path):
    data = lay_out(tmp_path, make_games())
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(open_pack("valid_seen", data)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1

    child = os.fork()
    if child == 0:
        os._exit(read_all(open_pack("valid_seen", data)) != same(make_games()))
    assert os.waitpid(child, 0)[1] == 0


def test_processes_at_once_read_a_source_once(tmp_path):
    data = lay_out(tmp_path / "data", make_games())
    context = multiprocessing.get_context("spawn")
    start, said = context.Barrier(3), context.Queue()
    racers = [context.Process(target=race, args=(start, said, str(data))) for _ in range(3)]
    for racer in racers:
        racer.start()

    results = [said.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()

    assert sorted(results) == [(0, 6), (0, 6), (1, 6)]


def race(start, said, data):
    """Open the pack when all are there; say whether it was this one that read the source."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("agentgym").addHandler(handler)
    logging.getLogger("agentgym").setLevel(logging.INFO)
    start.wait()
    pack = open_pack("valid_seen", data)
    said.put((sum("reading" in line for line in lines), len(read_all(pack))))


def test_a_reader_that_was_killed_leaves_nothing_that_counts(tmp_path, cache):
    data = lay_out(tmp_path / "data", make_games())
    kill_in_the_middle = (
        "import os, signal, sys, sqlite3\n"
        "from agentgym.tasks import alfworld_data, alfworld_pack\n"
        "os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"alfworld_data.open_pack('valid_seen', {str(data)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", kill_in_the_middle], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [*cache.rglob("*.sqlite")] == []
    assert len(left_over(cache)) == 1

    assert read_all(open_pack("valid_seen", data)) == same(make_games())
    assert left_over(cache) == []


# -------------------------------------------------------------------------------- fetching


class Releases(BaseHTTPRequestHandler):
    """A server of files that breaks off, lies or refuses when told to."""

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        content = server.files.get(self.path.lstrip("/"))
        fault = server.faults.pop(0) if server.faults else None
        if content is None or isinstance(fault, int):
            self.send_error(fault or 404)
            return
        begin, wanted = 0, self.headers.get("Range", "")
        if server.resumes and wanted and self.headers.get("If-Range") == '"1"':
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if server.resumes:
            self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        rest = content[begin:]
        self.wfile.write(rest[: len(rest) // 2] if fault else rest)
        if fault == "stall":
            server.over.wait(60)

    def log_message(self, *_):
        pass


@contextmanager
def serve(files, *faults, resumes=True):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Releases)
    server.daemon_threads = True
    server.block_on_close = False
    server.files, server.faults, server.resumes, server.asked = files, [*faults], resumes, []
    server.over = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def archives(tmp_path):
    """Release files with three splits."""
    for split in SPLITS[:3]:
        lay_out(tmp_path / "release", make_games(split), split)
    return zips_of(tmp_path / "release")


def test_the_archives_are_fetched_made_into_packs_and_removed(archives, cache):
    with serve(archives) as server:
        found = alfworld_fetch.fetch(server.url)

    assert [(each.split, each.games) for each in found] == [(split, 6) for split in SPLITS[:3]]
    assert sorted(path for path, _ in server.asked) == sorted(f"/{name}" for name in archives)
    for split in SPLITS[:3]:
        assert read_all(open_pack(split)) == same(make_games(split))
    assert left_over(cache) == []


def test_what_is_here_is_not_fetched_again_unless_forced(archives):
    with serve(archives) as server:
        alfworld_fetch.fetch(server.url)
        alfworld_fetch.fetch(server.url)
        assert len(server.asked) == 2
        alfworld_fetch.fetch(server.url, ["train"], force=True)
        assert len(server.asked) == 4


@pytest.mark.parametrize("resumes", [True, False])
def test_a_download_that_breaks_off_is_taken_up_again(archives, resumes):
    with serve(archives, "cut", 503, resumes=resumes) as server:
        alfworld_fetch.fetch(server.url, ["valid_unseen"])

    half = len(archives[JSON]) // 2
    asked = f"bytes={half}-" if resumes else None
    assert [again for _, again in server.asked] == [None, asked, asked, None]
    assert read_all(open_pack("valid_unseen")) == same(make_games("valid_unseen"))


def refused_fetch(cache, source, why, splits=()):
    with pytest.raises(ConfigError, match=why) as raised:
        alfworld_fetch.fetch(source, splits)
    assert "\n" not in str(raised.value)
    assert [*cache.rglob("*.sqlite")] == left_over(cache) == []


def test_a_download_that_keeps_breaking_off_is_given_up_and_leaves_nothing(archives, cache):
    size = len(archives[JSON])
    with serve(archives, "cut", "cut", "cut", resumes=False) as server:
        refused_fetch(cache, server.url, rf"json\.zip': {size // 2} of {size} bytes came; --from")


def test_a_file_the_server_does_not_have_is_named(archives, cache):
    with serve({JSON: archives[JSON]}) as server:
        refused_fetch(cache, server.url, r"tw-pddl\.zip': 404 Not Found; --from takes a mirror")
        assert len(server.asked) == 2


def test_a_server_that_is_not_there_or_says_nothing_is_given_up(cache, monkeypatch, archives):
    monkeypatch.setattr(alfworld_fetch, "TIMEOUT_S", 0.2)
    with serve(archives) as server:
        gone = server.url
    refused_fetch(cache, gone, r"cannot get .*json\.zip': .*refused")
    with serve(archives, *["stall"] * 3) as server:
        refused_fetch(cache, server.url, r"cannot get .*json\.zip': timed out; --from takes")


def wrong(content, how):
    if how == "of another length":
        return content[:-50]
    if how == "no zip":
        return b"<html>It works!</html>"
    at = content.index(b"traj_data.json") + 100  # within what is compressed
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


@pytest.mark.parametrize("how", ["of another length", "no zip", "with a wrong byte"])
def test_a_damaged_archive_is_refused_before_anything_is_read(archives, cache, how):
    with serve({**archives, JSON: wrong(archives[JSON], how)}) as server:
        refused_fetch(cache, server.url, r"archive '.*json_2\.1\.1_json\.zip' is damaged: ")


def test_archives_without_games_are_refused(tmp_path, cache):
    (tmp_path / "empty").mkdir()
    with serve(zips_of(tmp_path / "empty", extra=["readme.txt"])) as server:
        refused_fetch(cache, server.url, r"there are no ALFWorld games in json_2\.1\.1_json\.zip,")


def test_members_of_an_archive_go_nowhere_on_disk(tmp_path, cache, archives):
    evil = ["../../evil", "/tmp/evil", "x/train/../../../evil/traj_data.json"]
    files = zips_of(tmp_path / "release", extra=evil)
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    with serve(files) as server:
        alfworld_fetch.fetch(server.url)

    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} == before
    assert len(open_pack("train")) == 6


def test_a_split_the_archives_do_not_have_is_an_error(archives, cache):
    with serve(archives) as server:
        why = r"has no ALFWorld split 'valid_train': there is train, valid_seen, valid_unseen$"
        refused_fetch(cache, server.url, why, ["train", "valid_train"])
    refused_fetch(cache, None, r"no split 'trian'.*did you mean 'train'\?", ["trian"])


def test_archives_that_are_already_on_disk_are_read_and_kept(tmp_path, archives, cache):
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name, content in archives.items():
        (folder / Path(name).name).write_bytes(content)

    alfworld_fetch.fetch(str(folder))

    assert len(open_pack("train")) == 6
    assert len([*folder.iterdir()]) == 2
    (folder / Path(GAMES).name).unlink()
    with pytest.raises(ConfigError, match=r"has no archive \*_tw-pddl\.zip: both kinds"):
        alfworld_fetch.fetch(str(folder), force=True)


def test_any_form_of_the_games_can_be_kept(tmp_path):
    games = make_games()
    folder = lay_out(tmp_path / "folder", games)
    lines = write_lines(tmp_path / "lines", *map(line_of, games))
    pack = shutil.copy(open_pack("valid_seen", folder).path, tmp_path / "own.sqlite")

    for source in (folder, lines, lines.parent, pack):
        alfworld_fetch.fetch(str(source), force=True)
        assert read_all(open_pack("valid_seen")) == same(games)


def test_a_fetch_that_was_killed_is_cleared_up_by_the_next(archives, cache):
    with serve(archives, "stall") as server:
        command = ["data", "alfworld", "--from", server.url]
        process = subprocess.Popen([sys.executable, "-m", "agentgym.cli", *command])
        await_download(server, cache)
        process.kill()
        process.wait()
        assert [name for name in left_over(cache) if name.startswith(".fetching-")]
        alfworld_fetch.fetch(server.url)

    assert left_over(cache) == []


def test_a_fetch_that_is_interrupted_leaves_nothing(archives, cache):
    with serve(archives, "stall") as server:
        command = ["data", "alfworld", "--from", server.url]
        process = subprocess.Popen(
            [sys.executable, "-m", "agentgym.cli", *command], stderr=subprocess.PIPE, text=True
        )
        await_download(server, cache)
        os.kill(process.pid, signal.SIGINT)
        assert process.communicate(timeout=20)[1].endswith("agentgym: interrupted\n")

    assert process.returncode == 130
    assert left_over(cache) == []


def await_download(server, cache):
    for _ in range(3000):
        if server.asked and [*cache.glob(".fetching-*/*.zip")]:
            return
        time.sleep(0.01)
    pytest.fail("no download began")


# -------------------------------------------------------------------------------- the command


@pytest.fixture
def run(capsys):
    def call(*words):
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


def test_the_command_fetches_lists_and_says_what_it_does(run, archives, tmp_path):
    code, out, _ = run("data")
    assert code == 0
    assert "to fetch it: agentgym data alfworld" in out

    with serve(archives) as server:
        code, out, err = run("data", "alfworld", "--from", server.url, "--splits", "train")
    assert code == 0
    assert "fetching json_2.1.1_json.zip" in err
    assert "checking json_2.1.2_tw-pddl.zip" in err
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [["train", "6"]]

    code, out, _ = run("data", "--json")
    splits = json.loads(out)["datasets"][0]["splits"]
    assert [(each["split"], each["games"]) for each in splits][:2] == [
        ("train", 6),
        ("valid_seen", None),
    ]


def test_the_command_lists_what_the_variable_names(run, tmp_path, monkeypatch):
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "nowhere"))
    assert "nowhere': it is not there" in run("data")[1]
    monkeypatch.setenv("ALFWORLD_DATA", str(lay_out(tmp_path / "data", make_games())))
    assert [line.split()[1] for line in run("data")[1].splitlines()[2:]] == ["–", "not", "–", "–"]
    open_pack("valid_seen")
    assert [line.split()[1] for line in run("data")[1].splitlines()[2:]] == ["–", "6", "–", "–"]


def test_the_command_says_when_what_it_keeps_will_not_be_played(run, tmp_path, monkeypatch):
    data = lay_out(tmp_path / "data", make_games())
    monkeypatch.setenv("ALFWORLD_DATA", str(data))

    assert "comes before these: unset it" in run("data", "alfworld", "--from", data)[1]


def test_reading_shows_a_bar_on_a_terminal_and_nothing_elsewhere(tmp_path):
    data = lay_out(tmp_path / "data", make_games())
    code = (
        "from agentgym.tasks.alfworld_data import open_pack\n"
        f"open_pack('valid_seen', {str(data)!r})"
    )
    environment = {**os.environ, "AGENTGYM_CACHE": str(tmp_path / "other"), "TERM": "xterm"}
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=theirs, env=environment, check=True)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as terminal:
        assert b"reading ALFWorld valid_seen" in terminal.read(2**16)

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_the_command_refuses_what_it_cannot_do(run, tmp_path):
    for words, why in (
        (["alfwrld"], "no data set 'alfwrld'; did you mean 'alfworld'?"),
        (["--force"], "fetch which data set?"),
        (["alfworld", "--splits", "trian"], "did you mean 'train'?"),
        (["alfworld", "--from", tmp_path], "no ALFWorld games at"),
    ):
        code, _, err = run("data", *words)
        assert code == 2
        assert why in err
        assert len(err.splitlines()) == 1


# -------------------------------------------------------------------------------- real games

COUNTS = {  # pick, look, clean, heat, cool, pick2
    "train": (790, 308, 650, 459, 533, 813),
    "valid_seen": (35, 13, 27, 16, 25, 24),
    "valid_train": (46, 19, 37, 25, 28, 44),
}


@real
@pytest.mark.parametrize("split", COUNTS)
def test_the_real_games_are_all_there_and_as_their_problems_say(split):
    folder = Path(REAL) / "alfworld"
    pack = open_pack(split, folder)

    assert tuple(len(pack.ids([kind])) for kind in TASK_TYPES) == COUNTS[split]
    assert pack.skipped == {}
    with lzma.open(next(folder.glob(f"alfworld-{split}-*.xz"))) as file:
        records = [json.loads(line) for line in file]
    assert pack.ids() == sorted(record["id"] for record in records)
    for record in records[:: max(1, len(records) // 150)]:
        fields = {key: record[key] for key in ("id", "task", "human_goals", "scene", "split")}
        assert pack.game(record["id"]) == read_problem(record["pddl_problem"], **fields)
        assert TASK_TYPES[pack.game(record["id"]).task_type] == record["task_type"]


@real
def test_the_real_games_come_out_of_an_official_folder_the_same(tmp_path):
    pack = open_pack("valid_seen", Path(REAL) / "alfworld")

    again = open_pack("valid_seen", lay_out(tmp_path, read_all(pack)))

    assert read_all(again) == read_all(pack)
    assert Counter(game.task_type for game in read_all(again))["pick"] == 35
