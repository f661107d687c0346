"""Index folders: what was built is what is found, damage is told, builders and readers may meet."""

import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.errors import ConfigError, RetrievalError
from agentgym.retrieval import Passage, Passages, open_retriever
from agentgym.retrieval.base import Corpus
from agentgym.retrieval.bm25 import BM25Parameters
from agentgym.retrieval.building import build_index
from agentgym.retrieval.folder import open_index, verify_index

QUERIES = ["river 3", "City 17", "old", "nothing", "", "\ud800 city"]


def city(count=60, word="old"):
    return Passages(
        "cities",
        [
            Passage(f"c/{n}é", f"City {n}", (f"City {n} is on river {n % 7}.", f"It is {word}."))
            for n in range(count)
        ],
    )


def test_an_index_on_disk_finds_what_one_in_memory_does(tmp_path):
    corpus = city()
    build_index(corpus, tmp_path / "index")

    opened = open_retriever(str(tmp_path / "index"))
    memory = open_retriever("bm25", corpus)

    assert opened.search(QUERIES, 10) == memory.search(QUERIES, 10)
    assert opened.fingerprint == memory.fingerprint
    assert opened.corpus.fingerprint == corpus.fingerprint
    assert list(opened.corpus) == list(corpus)
    opened.close()


def test_passages_are_had_by_id(tmp_path):
    build_index(city(), tmp_path)

    retriever = open_retriever(str(tmp_path))

    assert isinstance(retriever.corpus, Corpus)
    assert retriever.fetch(["c/7é", "c/7", "", "c/59é"]) == [
        city()[7],
        None,
        None,
        city()[59],
    ]
    retriever.close()


@given(
    st.lists(
        st.builds(
            Passage,
            st.text(max_size=5),
            st.text(max_size=20),
            st.lists(st.text(max_size=20), max_size=3).map(tuple),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda passage: passage.id,
    )
)
@settings(max_examples=30, deadline=None)
def test_any_passages_come_back_as_they_were(tmp_path_factory, passages):
    folder = tmp_path_factory.mktemp("index")
    build_index(passages, folder)

    index = open_index(folder)

    assert list(index) == passages
    assert [index.get(each.id) for each in passages] == passages
    assert index.fingerprint == Passages("", passages).fingerprint
    index.close()


def test_half_of_a_surrogate_pair_comes_back_as_it_was(tmp_path):
    passages = [Passage("a\ud800", "half", ("\udfff of a pair",)), Passage("b", "", ("x",))]
    build_index(passages, tmp_path)

    index = open_index(tmp_path)

    assert list(index) == passages
    assert index.get("a\ud800") == passages[0]
    index.close()


def test_the_same_corpus_is_not_built_twice(tmp_path):
    first = build_index(city(), tmp_path)
    before = (first / "manifest.json").stat().st_ino

    assert build_index(city(), tmp_path) == first
    assert (first / "manifest.json").stat().st_ino == before


def test_another_corpus_or_other_parameters_replace_the_index(tmp_path):
    first = build_index(city(), tmp_path)
    second = build_index(city(word="new"), tmp_path)
    third = build_index(city(word="new"), tmp_path, parameters=BM25Parameters(title_weight=1))

    assert len({first, second, third}) == 3
    assert [each for each in tmp_path.iterdir() if each.is_dir()] == [third]


def test_the_same_build_gives_the_same_bytes(tmp_path):
    one = build_index(city(), tmp_path / "one", name="x")
    other = build_index(city(), tmp_path / "other", name="x")

    assert one.name == other.name
    for file in one.rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (other / file.relative_to(one)).read_bytes()


def test_two_passages_with_one_id_are_named_and_nothing_is_left(tmp_path):
    with pytest.raises(ConfigError, match="'a' is there twice"):
        build_index(
            [Passage("a", "", ("x",)), Passage("b", "", ()), Passage("a", "", ())], tmp_path
        )

    assert [each.name for each in tmp_path.iterdir()] == [".lock"]


def test_no_passages_make_no_index(tmp_path):
    with pytest.raises(ConfigError, match="without a passage"):
        build_index([], tmp_path)


def test_an_index_of_another_corpus_is_refused(tmp_path):
    build_index(city(), tmp_path)

    with pytest.raises(ConfigError, match="of another corpus"):
        open_retriever(str(tmp_path), city(word="new"))
    open_retriever(str(tmp_path), city()).close()


# --- damage ------------------------------------------------------------------------------------


def files(version):
    return sorted(each for each in version.rglob("*") if each.is_file())


def test_four_kilobytes_flipped_in_any_file_are_found_when_it_is_opened(tmp_path):
    version = build_index(city(600), tmp_path)

    for path in files(version):
        good = path.read_bytes()
        start = len(good) // 2
        flipped = bytes(byte ^ 0xFF for byte in good[start : start + 4096])
        path.write_bytes(good[:start] + flipped + good[start + 4096 :])
        with pytest.raises(RetrievalError, match="agentgym corpus build") as caught:
            open_retriever(str(tmp_path))
        assert caught.value.kind == "index"
        assert path.name in str(caught.value)
        path.write_bytes(good)
    open_retriever(str(tmp_path)).close()


def test_a_file_cut_short_or_gone_is_named(tmp_path):
    version = build_index(city(), tmp_path)

    for path in files(version):
        good = path.read_bytes()
        path.write_bytes(good[:-1])
        with pytest.raises(RetrievalError, match=path.name):
            open_retriever(str(tmp_path), check=False)
        path.unlink()
        with pytest.raises(RetrievalError, match=f"{path.name} is missing"):
            open_retriever(str(tmp_path))
        path.write_bytes(good)


def test_a_pointer_to_nowhere_is_told(tmp_path):
    build_index(city(), tmp_path)

    for text in ("", "../../etc", "0123456789abcdef\n", "\xff\x00"):
        (tmp_path / "CURRENT").write_text(text)
        with pytest.raises(RetrievalError, match="agentgym corpus build"):
            verify_index(tmp_path)


def test_a_damaged_index_is_built_again(tmp_path):
    version = build_index(city(), tmp_path)
    (version / "passages.jsonl").write_bytes(b"\0" * (version / "passages.jsonl").stat().st_size)

    assert build_index(city(), tmp_path) == version
    assert verify_index(tmp_path).passages == 60


def test_a_missing_index_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(ConfigError, match="agentgym corpus build SOURCE --out"):
        open_retriever(str(tmp_path / "nothing"))


def test_vectors_are_not_there_unless_they_were_made(tmp_path):
    build_index(city(), tmp_path)

    with pytest.raises(ConfigError, match="--dense MODEL"):
        open_retriever(str(tmp_path), engine="dense")


# --- at once -----------------------------------------------------------------------------------

BUILD = """
    import sys
    from agentgym.retrieval import Passage
    from agentgym.retrieval.building import build_index

    word, folder = sys.argv[1:]
    passages = [
        Passage(f"c{n}", f"City {n}", (f"City {n} is on river {n % 7}.", f"It is {word}."))
        for n in range(500)
    ]
    print(build_index(passages, folder).name)
"""


def test_builders_and_readers_may_meet(tmp_path):
    """Processes build in one folder again and again while threads open and search it."""
    build_index(city(500), tmp_path)
    over = threading.Event()

    def read():
        found = 0
        while not over.is_set() or not found:
            retriever = open_retriever(str(tmp_path))
            (hits,) = retriever.search(["City 17"], 3)
            assert hits[0].passage.title == "City 17"
            retriever.close()
            found += 1
        return found

    with ThreadPoolExecutor(2) as threads:
        readers = [threads.submit(read) for _ in range(2)]
        builders = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(BUILD), word, str(tmp_path)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for word in ("old", "new", "old")
        ]
        names = [builder.communicate(timeout=120)[0].strip() for builder in builders]
        over.set()
        assert all(reader.result(timeout=60) for reader in readers)

    assert all(builder.returncode == 0 for builder in builders)
    assert len(set(names)) == 2
    (left,) = [each.name for each in tmp_path.iterdir() if each.is_dir()]
    assert left in names
    assert not list(tmp_path.glob(".building-*"))


def test_who_has_an_index_open_keeps_it_when_it_is_replaced(tmp_path):
    build_index(city(), tmp_path)
    before = open_retriever(str(tmp_path))

    build_index(city(word="new"), tmp_path)

    assert before.search(["old"], 1)[0][0].passage.sentences[1] == "It is old."
    after = open_retriever(str(tmp_path))
    assert after.search(["old"], 1) == [[]]
    before.close()
    after.close()


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path):
    left = tmp_path / ".building-killed"
    left.mkdir()
    (left / "passages.jsonl").write_text("half of")

    build_index(city(), tmp_path)

    assert not left.exists()


def test_environments_of_a_process_share_an_open_index(tmp_path):
    build_index(city(), tmp_path)
    one = open_retriever(str(tmp_path))
    other = open_retriever(str(tmp_path / "."))

    assert one.corpus is other.corpus
    assert one.engine is other.engine
    one.close()
    one.close()
    assert other.search(["City 17"], 1)[0][0].passage.id == "c/17é"
    other.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        other.corpus[0]
    again = open_retriever(str(tmp_path))
    assert again.corpus is not other.corpus
    again.close()


def test_an_open_index_holds_little_of_what_is_on_disk(tmp_path):
    """Passages are read when they are found; the memory of this process does not grow by them."""
    text = " ".join(f"word{n}" for n in range(400))
    build_index((Passage(str(n), f"Page {n}", (text,)) for n in range(4_000)), tmp_path)
    size = sum(each.stat().st_size for each in Path(tmp_path).rglob("*") if each.is_file())
    program = """
        import sys
        from agentgym.retrieval import open_retriever

        def held():
            lines = open("/proc/self/status").read().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

        open_retriever(sys.argv[2]).search(["Page 1"], 3)
        before = held()
        retriever = open_retriever(sys.argv[1])
        assert retriever.search(["Page 17"], 3)[0][0].passage.title == "Page 17"
        print(held() - before)
    """
    small = tmp_path / "small"
    build_index(city(), small)

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path), str(small)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    assert size > 24 * 2**20
    assert float(done.stdout) < size / 2**20 / 4
