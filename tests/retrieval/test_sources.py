"""Passages come out of JSON lines, Markdown and HTML as their authors meant them."""

import gzip
import json

import pytest

from agentgym.errors import ConfigError
from agentgym.retrieval import Passage
from agentgym.retrieval.sources import as_passage, read_source


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_line_of_json_is_a_passage(tmp_path):
    path = written(
        tmp_path / "corpus.jsonl",
        {"id": "a", "title": "Lyon", "text": "A city. It is old."},
        {"id": 7, "contents": '"The ""Who"""\nA band. From London.'},
        {"_id": "c", "title": "Paris", "sentences": ["A city.", "It has no. 1."]},
        {"title": "No id", "text": "x"},
    )

    assert list(read_source(path)) == [
        Passage("a", "Lyon", ("A city.", "It is old.")),
        Passage("7", 'The "Who"', ("A band.", "From London.")),
        Passage("c", "Paris", ("A city.", "It has no. 1.")),
        Passage("3", "No id", ("x",)),
    ]


def test_contents_without_a_title_are_all_text():
    passage = as_passage({"id": "a", "contents": "One line.\nAnother."})

    assert passage == Passage("a", "", ("One line.", "Another."))


def test_a_title_that_the_contents_repeat_is_not_text():
    assert as_passage({"id": "a", "title": "Lyon", "contents": "Lyon\nA city."}) == Passage(
        "a", "Lyon", ("A city.",)
    )


def test_packed_lines_are_unpacked_and_empty_ones_skipped(tmp_path):
    path = tmp_path / "corpus.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write('{"id": "a", "text": "x"}\n\n{"id": "b", "text": "y"}\n')
    told = []

    ids = [each.id for each in read_source(path, progress=lambda *told_: told.append(told_))]

    assert ids == ["a", "b"]
    assert told[0][0] == "reading"
    assert told[0][2] == path.stat().st_size


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[1]", "not an object"),
        ('{"id": "a"}', "no text"),
        ('{"id": null, "text": "x"}', "its id"),
        ('{"id": "a", "title": 3, "text": "x"}', "its title"),
        ('{"id": "a", "text": 3}', "no text"),
        ("{", "line 2"),
    ],
)
def test_a_line_that_is_no_passage_is_named(tmp_path, line, told):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"id": "0", "text": "x"}\n' + line + "\n")

    with pytest.raises(ConfigError, match=told) as caught:
        list(read_source(path))
    assert "line 2" in str(caught.value)


def test_a_packed_file_cut_short_is_told(tmp_path):
    path = tmp_path / "corpus.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": "a", "text": "x"}\n' * 1000)[:-20])

    with pytest.raises(ConfigError, match="cut short or damaged"):
        list(read_source(path))


def test_markdown_is_cut_at_its_headings(tmp_path):
    page = tmp_path / "guide.md"
    page.write_text(
        "# Guide\n\nFirst words. More.\n\n## Set up\n\nInstall it.\n\n```\n# not a heading\n```\n\n"
        "## Empty\n"
    )

    assert list(read_source(page)) == [
        Passage("guide.md#0", "Guide", ("First words.", "More.")),
        Passage("guide.md#1", "Guide: Set up", ("Install it.", "``` # not a heading ```")),
    ]


def test_only_what_is_fenced_is_no_heading_and_no_byte_order_mark_hides_one(tmp_path):
    page = tmp_path / "guide.md"
    page.write_text(
        "\ufeff# Guide\n\n```one line```\n\n"
        "# Set up\n\n~~~\n```\n# not a heading\n~~~\n\n"
        "# Use\n\nIt.\n"
    )

    assert [each.title for each in read_source(page)] == ["Guide", "Guide: Set up", "Guide: Use"]


def test_a_long_section_becomes_passages_at_the_ends_of_sentences(tmp_path):
    page = tmp_path / "long.md"
    sentence = "One two three four five six seven eight nine ten."
    page.write_text("# Long\n\n" + " ".join([sentence] * 7) + "\n")

    passages = list(read_source(page, words=30))

    assert [len(each.sentences) for each in passages] == [3, 3, 1]
    assert [each.id for each in passages] == ["long.md#0", "long.md#1", "long.md#2"]


def test_html_is_what_a_reader_sees(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<html><head><title>The\n page</title><style>p {}</style></head><body>"
        "<script>alert('no')</script><p>Before <b>it</b> all.</p>"
        "<h2>A &amp; B</h2><ul><li>One</li><li>Two</li></ul><svg><text>no</text></svg></body>"
    )

    assert list(read_source(page)) == [
        Passage("page.html#0", "The page", ("Before it all.",)),
        Passage("page.html#1", "The page: A & B", ("One", "Two")),
    ]


@pytest.mark.parametrize(
    "html",
    [
        "<html><head><title>T</title><body><p>It is so.",  # nothing has to be closed
        "<title>T</title><p>It <svg><title>icon</title></svg>is so.</p>",
        "<h1>T <svg><title>link</title></svg></h1><p>It is<script>1</script> so.</p>",
        "<h1>T</h1><template><h2>x</h2><p>y</p></template><p>It is so.</p>",
    ],
)
def test_html_that_is_not_closed_or_holds_pictures_is_read_too(tmp_path, html):
    page = tmp_path / "page.html"
    page.write_text(html)

    assert list(read_source(page)) == [Passage("page.html#0", "T", ("It is so.",))]


def test_a_folder_is_read_in_order_to_any_depth(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.html").write_text("<p>In b.</p>")
    (tmp_path / "a.md").write_text("In a.")
    (tmp_path / "notes.txt").write_text("Not a page.")

    assert [(each.id, each.title) for each in read_source(tmp_path)] == [
        ("a.md#0", "a"),
        ("b/one.html#0", "one"),
    ]


def test_what_is_no_corpus_is_told_what_would_be_one(tmp_path):
    (tmp_path / "x.txt").write_text("x")

    with pytest.raises(ConfigError, match="JSON lines"):
        read_source(tmp_path / "x.txt")
    with pytest.raises(ConfigError, match="no corpus at"):
        read_source(tmp_path / "nothing.jsonl")
    with pytest.raises(ConfigError, match="holds no pages"):
        list(read_source(tmp_path))
