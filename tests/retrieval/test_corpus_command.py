"""`agentgym corpus`: from a file to an index that is checked and described."""

import json

import pytest

from agentgym.cli import main
from agentgym.retrieval import open_retriever


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "corpus.jsonl"
    rows = [
        {"id": f"c{n}", "contents": f'"City {n}"\nCity {n} is on river {n % 7}.'} for n in range(30)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(capsys, *words):
    code = main(["corpus", *map(str, words)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_corpus_is_built_verified_and_described(source, tmp_path, capsys):
    index = tmp_path / "index"

    code, built, progress = run(capsys, "build", source, "--out", index, "--name", "c", "--json")
    assert (code, json.loads(built)["passages"]) == (0, 30)
    assert "reading" in progress
    code, verified, _ = run(capsys, "verify", index, "--json")
    assert (code, json.loads(verified)["ok"]) == (0, True)
    code, described, _ = run(capsys, "stats", index, "--json")
    about = json.loads(described)
    assert (code, about["words"], about["words_a_passage"]) == (0, 180, 6.0)
    assert (about["corpus"], about["title_weight"], about["model"]) == ("c", 2, None)
    assert about["fingerprint"] == json.loads(built)["fingerprint"]


def test_parameters_are_those_that_were_given(source, tmp_path, capsys):
    index = tmp_path / "index"

    run(capsys, "build", source, "--out", index, "--title-weight", 3, "--k1", 0.9, "--b", 0.4)
    code, table, _ = run(capsys, "verify", index)

    assert code == 0
    assert [line.split()[-1] for line in table.splitlines() if line.startswith(("k1", "b "))] == [
        "0.4",
        "0.9",
    ]
    retriever = open_retriever(str(index))
    assert retriever.search(["city 7"], 1)[0][0].passage.id == "c7"
    retriever.close()


def test_a_folder_of_pages_is_a_corpus(tmp_path, capsys):
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "lyon.md").write_text("# Lyon\n\nA city. " + "It is old. " * 60)

    code, built, _ = run(
        capsys, "build", pages, "--out", tmp_path / "index", "--words", 20, "--json"
    )

    assert code == 0
    assert json.loads(built)["passages"] > 5


def test_a_damaged_index_fails_the_check_and_says_how_to_mend_it(source, tmp_path, capsys):
    index = tmp_path / "index"
    run(capsys, "build", source, "--out", index)
    (victim,) = index.glob("*/passages.jsonl")
    victim.write_bytes(victim.read_bytes().replace(b"river", b"RIVER"))

    code, _, said = run(capsys, "verify", index)

    assert code == 1
    assert "is damaged" in said
    assert "agentgym corpus build" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["verify", "nowhere"], "no index at 'nowhere'"),
        (["build", "nowhere.jsonl", "--out", "x"], "no corpus at 'nowhere.jsonl'"),
        (["build", "x.jsonl"], "give --out"),
        (["verify", "x", "--out", "y"], "--out goes with `agentgym corpus build`"),
        (["stats", "x", "--port", "1"], "--port goes with `agentgym corpus serve`"),
        (["stats", "x", "y"], "'y' is one argument too many"),
        (["push", "x"], "qdrant://HOST:6333/COLLECTION"),
        (["serve", "nowhere"], "no corpus at 'nowhere'"),
    ],
)
def test_what_cannot_be_done_is_told(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    code, _, said = run(capsys, *words)

    assert code == 2
    assert told in said
