"""Questions from files: HotpotQA, MuSiQue, 2WikiMultihopQA, open questions and Search-R1's."""

import gzip
import os
from collections import Counter
from pathlib import Path

import orjson
import pytest

from agentgym.errors import TaskError
from agentgym.retrieval import open_retriever
from agentgym.tasks.questions import open_questions, plan

DATA = Path(os.environ.get("AGENTGYM_TEST_DATA", "") or "/nonexistent") / "search"
real = pytest.mark.skipif(not DATA.is_dir(), reason="AGENTGYM_TEST_DATA names no real questions")

HOTPOT = {
    "_id": "5a1",
    "question": "In which country does the river rise on which Ulm stands?",
    "answer": "Germany",
    "type": "bridge",
    "level": "hard",
    "supporting_facts": [["Ulm", 1], ["Danube", 0]],
    "context": [
        ["Ulm", ["Ulm is a city.", " It stands on the Danube."]],
        ["Danube", ["The Danube rises in Germany.", " It is long."]],
        ["Rhine", ["The Rhine is another river."]],
    ],
}
MUSIQUE = {
    "id": "2hop__1_2",
    "question": "Where was the author of Emma born?",
    "answer": "Steventon",
    "answer_aliases": ["Steventon, Hampshire"],
    "answerable": True,
    "paragraphs": [
        {"idx": 0, "title": "Bath", "paragraph_text": "Bath is a city.", "is_supporting": False},
        {
            "idx": 1,
            "title": "Jane Austen",
            "paragraph_text": "Jane Austen was born in Steventon. She wrote.",
            "is_supporting": True,
        },
        {"idx": 2, "title": "Emma", "paragraph_text": "By Jane Austen.", "is_supporting": True},
    ],
    "question_decomposition": [
        {
            "id": 1,
            "question": "Emma >> author",
            "answer": "Jane Austen",
            "paragraph_support_idx": 2,
        },
        {"id": 2, "question": "Where?", "answer": "Steventon", "paragraph_support_idx": 1},
    ],
}
SEARCH_R1 = {
    "id": "train_0",
    "question": "who got the first nobel prize in physics",
    "golden_answers": ["Wilhelm Conrad Röntgen"],
    "data_source": "nq",
    "prompt": [{"role": "user", "content": "Answer. Question: who got the first nobel prize?\n"}],
    "reward_model": {"style": "rule", "ground_truth": {"target": ["Röntgen", "W. C. Röntgen"]}},
    "extra_info": {"index": 0, "split": "train"},
}


def write(path, rows):
    data = orjson.dumps(rows) if path.name.removesuffix(".gz").endswith(".json") else b"\n".join(
        orjson.dumps(each) for each in rows
    )  # fmt: skip
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def only_task(questions):
    (split,) = questions.splits
    (id,) = questions.ids(split)
    return questions.task(id)


# ------------------------------------------------------------------------------ each form


@pytest.mark.parametrize("name", ["hotpot_dev_distractor_v1.json", "hotpot_dev.jsonl.gz"])
def test_hotpotqa_keeps_which_sentences_support_the_answer(tmp_path, name):
    questions = open_questions(f"hotpotqa:{write(tmp_path / name, [HOTPOT])}")
    task = only_task(questions)
    assert task.id == "hotpotqa:5a1"
    assert task.split == "valid"
    assert (task.data["kind"], task.data["hops"]) == ("bridge", 2)
    assert plan(task.data) == (["Ulm", "Danube"], "Germany")
    corpus = questions.corpus(task.id)
    assert len(corpus) == 3
    sentences = [
        corpus.get(each["doc"]).sentences[each["sentence"]] for each in task.data["evidence"]
    ]
    assert sentences == ["It stands on the Danube.", "The Danube rises in Germany."]


def test_hotpotqa_in_columns_is_the_same(tmp_path):
    columns = {
        **{key: HOTPOT[key] for key in ("question", "answer", "type", "level")},
        "id": "5a1",
        "supporting_facts": {"title": ["Ulm", "Danube"], "sent_id": [1, 0]},
        "context": {
            "title": [title for title, _ in HOTPOT["context"]],
            "sentences": [sentences for _, sentences in HOTPOT["context"]],
        },
    }
    plain = open_questions(f"hotpotqa:{write(tmp_path / 'train.json', [HOTPOT])}")
    table = open_questions(f"hotpotqa:{write(tmp_path / 'train.jsonl', [columns])}")
    assert only_task(plain) == only_task(table)


def test_hotpotqa_with_a_supporting_paragraph_missing_has_no_evidence(tmp_path):
    fullwiki = {**HOTPOT, "context": HOTPOT["context"][1:]}
    task = only_task(open_questions(f"hotpotqa:{write(tmp_path / 'dev.json', [fullwiki])}"))
    assert task.data["evidence"] == []
    assert plan(task.data) == ([], "Germany")


def test_hotpotqa_with_a_sentence_behind_the_end_takes_the_whole_passage(tmp_path):
    row = {**HOTPOT, "supporting_facts": [["Ulm", 7], ["Danube", 0]]}
    task = only_task(open_questions(f"hotpotqa:{write(tmp_path / 'dev.json', [row])}"))
    assert [each["sentence"] for each in task.data["evidence"]] == [None, 0]


def test_2wikimultihopqa_counts_the_hops_of_both_sides(tmp_path):
    row = {**HOTPOT, "type": "bridge_comparison", "evidences": [["Ulm", "river", "Danube"]]}
    task = only_task(open_questions(f"2wiki:{write(tmp_path / 'dev.json', [row])}"))
    assert task.id == "2wiki:5a1"
    assert (task.data["kind"], task.data["hops"]) == ("bridge_comparison", 4)


def test_musique_takes_paragraphs_in_the_order_of_its_steps(tmp_path):
    path = write(tmp_path / "musique_ans_v1.0_train.jsonl", [MUSIQUE])
    task = only_task(open_questions(f"musique:{path}"))
    assert (task.data["kind"], task.data["hops"]) == ("2hop", 2)
    assert task.data["answers"] == ["Steventon", "Steventon, Hampshire"]
    assert plan(task.data) == (["Emma", "Jane Austen"], "Steventon")
    assert [each["sentence"] for each in task.data["evidence"]] == [None, None]


def test_musique_leaves_out_what_is_not_answerable(tmp_path):
    twin = {**MUSIQUE, "answerable": False}  # has the same id
    questions = open_questions(f"musique:{write(tmp_path / 'dev.jsonl', [MUSIQUE, twin])}")
    assert only_task(questions).data["answers"][0] == "Steventon"


def test_open_questions_have_no_corpus(tmp_path):
    rows = [
        {"question": "who wrote emma", "answer": ["Jane Austen", "Austen", "Austen"]},
        {"question": "who wrote emma", "answers": "Jane Austen"},
        {"id": 7, "question": "capital of france", "answer": "Paris"},
    ]
    questions = open_questions(f"nq:{write(tmp_path / 'NQ-open.dev.jsonl', rows)}")
    ids = questions.ids("valid")
    assert ids[1] == f"{ids[0]}-2"
    assert ids[2] == "nq:7"
    assert questions.task(ids[0]).data["answers"] == ["Jane Austen", "Austen"]
    assert questions.task(ids[0]).data["evidence"] == []
    assert questions.corpus(ids[0]) is None


def test_searchr1_takes_golden_answers_or_the_ground_truth(tmp_path):
    bare = {key: SEARCH_R1[key] for key in ("prompt", "reward_model", "data_source")}
    rows = [SEARCH_R1, {**bare, "extra_info": {"index": 4, "split": "test"}}]
    questions = open_questions(f"searchr1:{write(tmp_path / 'rows.jsonl', rows)}")
    first = questions.task("searchr1:nq:train:train_0")
    assert first.data["answers"] == ["Wilhelm Conrad Röntgen"]
    second = questions.task("searchr1:nq:test:4")
    assert second.split == "test"
    assert second.data["question"] == "who got the first nobel prize?"
    assert second.data["answers"] == ["Röntgen", "W. C. Röntgen"]


def test_searchr1_in_parquet_is_the_same(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist([SEARCH_R1]), tmp_path / "rows.parquet")
    lines = open_questions(f"searchr1:{write(tmp_path / 'rows.jsonl', [SEARCH_R1])}")
    table = open_questions(f"searchr1:{tmp_path / 'rows.parquet'}")
    assert only_task(table) == only_task(lines)


def test_a_folder_holds_questions_and_their_corpus(tmp_path):
    corpus = [
        {"id": "a", "title": "Ulm", "sents": ["Ulm is a city.", "It stands on the Danube."]},
        {"id": "b", "title": "Danube", "text": "The Danube rises in Germany. It is long."},
    ]
    row = {
        "id": "q1",
        "split": "dev-distractor",
        "question": "Where does the river of Ulm rise?",
        "answers": ["Germany"],
        "hops": 2,
        "type": "bridge",
        "gold": [{"doc": "b", "sents": None}, {"doc": "a", "sents": [1]}],
        "decomposition": [{"doc": "a"}, {"doc": "b"}],
    }
    write(tmp_path / "corpus.jsonl", corpus)
    write(tmp_path / "questions.jsonl.gz", [row])
    questions = open_questions(f"folder:{tmp_path}")
    task = only_task(questions)
    assert task.split == "valid"
    assert task.data["evidence"] == [
        {"doc": "a", "sentence": 1, "options": 1},
        {"doc": "b", "sentence": None, "options": 1},
    ]
    assert questions.corpus(task.id).get("b").sentences == (
        "The Danube rises in Germany.",
        "It is long.",
    )


# ------------------------------------------------------------------------------ files and splits


def test_a_folder_of_files_has_their_splits_and_merges_equal_passages(tmp_path):
    other = {**HOTPOT, "_id": "5a2"}
    write(tmp_path / "hotpot_train_v1.1.json", [HOTPOT])
    write(tmp_path / "hotpot_dev_fullwiki_v1.json", [other])
    (tmp_path / "README.md").write_text("not a file of questions")
    questions = open_questions(f"hotpotqa:{tmp_path}")
    assert questions.splits == ("train", "valid")
    assert len(questions.corpus("hotpotqa:5a1")) == 3
    with pytest.raises(TaskError, match="has no split 'test': it has train, valid"):
        questions.ids("test")


def test_two_passages_of_one_title_stay_two(tmp_path):
    other = {**HOTPOT, "_id": "5a2"}
    other["context"] = [["Ulm", ["Ulm is a tree.", "It is green."]], *HOTPOT["context"][1:]]
    questions = open_questions(f"hotpotqa:{write(tmp_path / 'dev.json', [HOTPOT, other])}")
    corpus = questions.corpus("hotpotqa:5a1")
    assert Counter(each.title for each in corpus) == {"Ulm": 2, "Danube": 1, "Rhine": 1}


def test_rows_that_say_no_split_are_split_by_their_ids(tmp_path):
    rows = [{"id": str(i), "question": f"q{i}?", "answer": "a"} for i in range(2000)]
    one = open_questions(f"nq:{write(tmp_path / 'rows.jsonl', rows)}")
    other = open_questions(f"nq:{write(tmp_path / 'others.jsonl', rows[::-1])}")
    sizes = {split: len(one.ids(split)) for split in one.splits}
    assert 1500 < sizes["train"] < 1700
    assert 150 < sizes["valid"] < 250
    for split in one.splits:
        assert set(one.ids(split)) == set(other.ids(split))


def test_the_order_of_the_rows_is_the_order_of_the_ids(tmp_path):
    rows = [{"id": str(i), "question": f"q{i}?", "answer": "a"} for i in (5, 3, 9)]
    questions = open_questions(f"nq:{write(tmp_path / 'train.jsonl', rows)}")
    assert questions.ids("train") == ["nq:5", "nq:3", "nq:9"]


# ------------------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("hotpotqa", {**HOTPOT, "answer": None}, "row 2: has no 'answer': give text, or a list"),
        ("hotpotqa", {**HOTPOT, "question": 5}, "row 2: 'question' is 5: give text"),
        ("hotpotqa", {**HOTPOT, "question": "  "}, "row 2: 'question' is empty"),
        ("hotpotqa", {**HOTPOT, "context": [["Ulm"]]}, "row 2: 'context' is"),
        ("hotpotqa", {**HOTPOT, "context": [["Ulm", "Text"]]}, "row 2: 'context' has 'Text'"),
        ("hotpotqa", {**HOTPOT, "supporting_facts": [["Ulm", "x"]]}, "'supporting_facts' has"),
        ("hotpotqa", {**HOTPOT, "supporting_facts": [["Ulm", True]]}, "'supporting_facts' has"),
        ("hotpotqa", {**HOTPOT, "context": "{"}, "row 2: 'context' is no JSON"),
        ("hotpotqa", HOTPOT, "two questions of hotpotqa have the id '5a1'"),
        ("hotpotqa", [1], "row 2: is \\[1\\]: give an object"),
        ("musique", {**MUSIQUE, "paragraphs": [{"title": "x"}]}, "row 2: 'paragraphs' has"),
        (
            "musique",
            {**MUSIQUE, "question_decomposition": [{"paragraph_support_idx": 9}]},
            "row 2: 'question_decomposition' points to",
        ),
        ("musique", {**MUSIQUE, "answer_aliases": [3]}, "row 2: 'answer_aliases' is"),
        ("musique", {**MUSIQUE, "answer_aliases": "Bath"}, "row 2: 'answer_aliases' is 'Bath'"),
        (
            "musique",
            {**MUSIQUE, "question_decomposition": [{"paragraph_support_idx": [1]}]},
            "row 2: 'question_decomposition' points to",
        ),
        (
            "musique",
            {**MUSIQUE, "paragraphs": [{**MUSIQUE["paragraphs"][0], "idx": [0]}]},
            "row 2: 'paragraphs' has the 'idx' \\[0\\]",
        ),
        ("nq", {"question": "q?", "answr": "a"}, "row 2: has no 'answers'; did you mean 'answr'"),
        ("nq", {"question": "q?", "answer": []}, "row 2: 'answer' is empty"),
        ("searchr1", {**SEARCH_R1, "id": None, "extra_info": {}}, "row 2: 'id' is missing"),
        (
            "searchr1",
            {**SEARCH_R1, "golden_answers": None, "reward_model": {}},
            "row 2: 'reward_model' is None",
        ),
        ("searchr1", {**SEARCH_R1, "question": None, "prompt": []}, "row 2: 'prompt' is"),
    ],
)
def test_a_bad_row_is_named_with_its_file_and_field(tmp_path, name, row, message):
    good = {"hotpotqa": HOTPOT, "musique": MUSIQUE, "searchr1": SEARCH_R1}.get(
        name, {"question": "good?", "answer": "a"}
    )
    path = write(tmp_path / "train.jsonl", [good, row])
    with pytest.raises(TaskError, match=message) as caught:
        open_questions(f"{name}:{path}")
    assert "train.jsonl" in str(caught.value) or "two questions" in message


def test_a_damaged_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(orjson.dumps({"question": "q?", "answer": "a"}) + b'\n\n{"question": "q')
    with pytest.raises(TaskError, match=r"train\.jsonl', row 3: is no JSON"):
        open_questions(f"nq:{path}")
    packed = tmp_path / "train.jsonl.gz"
    packed.write_bytes(gzip.compress(b"x" * 5000)[:-20])
    with pytest.raises(TaskError, match=r"train\.jsonl\.gz' cannot be read"):
        open_questions(f"nq:{packed}")
    parquet = tmp_path / "train.parquet"
    parquet.write_bytes(b"PAR1 no")
    pytest.importorskip("pyarrow")
    with pytest.raises(TaskError, match="is no parquet file"):
        open_questions(f"nq:{parquet}")


@pytest.mark.parametrize("name", ["empty.jsonl", "rows.csv"])
def test_a_file_with_no_questions_says_so(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(TaskError, match=r"no question in these files|is no file of questions"):
        open_questions(f"nq:{tmp_path / name}")


def test_an_empty_folder_says_what_belongs_there(tmp_path):
    with pytest.raises(TaskError, match=r"no questions at .*: give a file, or a folder of files"):
        open_questions(f"musique:{tmp_path}")
    with pytest.raises(TaskError, match=r"has no corpus\.jsonl or corpus\.jsonl\.gz"):
        open_questions(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"gold": [{"doc": "zz"}]}, "'gold' has .*zz"),
        ({"gold": [{"doc": ["a"]}]}, "'gold' has .*: give 'doc'"),
        ({"gold": [{"doc": "a", "sents": [4]}]}, "'gold' has sentence 4 of 1 in 'a'"),
        ({"gold": [{"doc": "a", "sents": [False]}]}, "'gold' has sentence False of 1 in 'a'"),
        ({"gold": [{"doc": "a", "sents": 0}]}, "'gold' has the 'sents' 0: give a list"),
        ({"decomposition": 2}, "'decomposition' is 2: give a list"),
    ],
)
def test_gold_that_is_not_in_the_corpus_is_named(tmp_path, field, message):
    write(tmp_path / "corpus.jsonl", [{"id": "a", "title": "Ulm", "text": "Ulm is a city."}])
    row = {"id": "q", "question": "q?", "answers": ["a"], **field}
    write(tmp_path / "questions.jsonl", [row])
    with pytest.raises(TaskError, match=f"row 1: {message}"):
        open_questions(f"folder:{tmp_path}")


# ------------------------------------------------------------------------------ real questions


@real
def test_real_questions_have_their_answers_in_their_gold_passages():
    questions = open_questions(f"folder:{DATA}")
    assert questions.splits == ("train", "valid")
    tasks = [questions.task(id) for split in questions.splits for id in questions.ids(split)]
    assert len(tasks) == 377
    corpus = questions.corpus(tasks[0].id)
    assert len(corpus) > 4000
    for task in tasks:
        data = task.data
        assert data["evidence"]
        text = " ".join(
            f"{page.title} {page.text}"
            for page in (corpus.get(each["doc"]) for each in data["evidence"])
        )
        held = [answer for answer in data["answers"] if answer.casefold() in text.casefold()]
        assert held or data["answers"][0] in ("yes", "no")


@real
def test_an_expert_on_real_questions_finds_most_gold_passages():
    questions = open_questions(f"folder:{DATA}")
    ids = questions.ids("valid")
    retriever = open_retriever("bm25", questions.corpus(ids[0]))
    found = 0
    for id in ids:
        data = questions.task(id).data
        hits = {h.passage.id for each in retriever.search(plan(data)[0], 3) for h in each}
        found += {each["doc"] for each in data["evidence"]} <= hits
    assert found >= 0.9 * len(ids)
