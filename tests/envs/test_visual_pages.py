"""Pages of print: what is set is where the boxes say it is, to the pixel."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("PIL", reason="needs agentgym-env[image]")

from agentgym.envs.visual_pages import LONGEST, TITLE, WIDTH, Book, set_page
from agentgym.envs.visual_type import BESIDE, Typeface, blank, spelled, typeface
from agentgym.errors import ConfigError
from agentgym.retrieval import Passage, Passages

PROSE = (
    "The Vorn Harbour Museum is a museum of seafaring in the old port.",
    "It was founded in 1911 by Ilse Dvořák, an engineer and a collector of lamps.",
    "Among its rooms is a lighthouse that was carried there stone by stone; its keeper's log, "
    "which runs from 1802 to 1874, is shown open at the day of the great storm.",
    "Admission is free.",
)
MUSEUM = Passage("museum", "Vorn Harbour Museum", PROSE)
QUIET = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
WORDS = st.text("abcdefghijklmnopqrstuvwxyzéřçßÅÑ'-,.", min_size=1, max_size=14)
SENTENCES = st.lists(st.lists(WORDS, min_size=1, max_size=25).map(" ".join), max_size=8)


def ink(page):
    """float64[H, W]: how black each pixel is."""
    return 255 - np.asarray(page.picture, dtype=np.int64)


def inside(page, boxes):
    """bool[H, W]: which pixels are in any of the boxes."""
    width, height = page.size
    found = np.zeros((height, width), dtype=bool)
    for left, top, right, bottom in boxes:
        found[top:bottom, left:right] = True
    return found


def test_each_line_of_a_sentence_has_ink_and_all_ink_of_text_is_in_some_box():
    page = set_page((Passage("a", "Of lamps", PROSE), Passage("b", "", PROSE)))
    dark = ink(page)
    of_a = {("a", place) for place in range(TITLE, len(PROSE))}
    assert set(page.lines) == of_a | {("b", place) for place in range(len(PROSE))}
    boxes = [box for each in page.lines.values() for box in each]
    for left, top, right, bottom in boxes:
        assert dark[top:bottom, left:right].sum() > 0
    text = dark[100:].copy()  # below the head
    text[inside(page, boxes)[100:]] = 0
    rule = np.flatnonzero(text.sum(axis=0))
    assert len(rule) <= 1, "but for the rule between the columns, nothing is left"


@QUIET
@given(SENTENCES.filter(bool), st.data())
def test_changing_the_ink_of_a_sentence_changes_no_pixel_outside_of_its_boxes(sentences, data):
    place = data.draw(st.integers(0, len(sentences) - 1))
    turned = " ".join(word[::-1] for word in sentences[place].split())  # as wide, but other ink
    face = Typeface(20)
    pairs = zip(spelled(sentences[place]), spelled(turned), strict=False)
    if any(face.width(a) != face.width(b) for a, b in pairs):
        return  # letters that join do not turn
    before = set_page((Passage("a", "A title", tuple(sentences)),))
    sentences[place] = turned
    after = set_page((Passage("a", "A title", tuple(sentences)),))
    assert before.lines == after.lines
    changed = ink(before) != ink(after)
    boxes = before.lines.get(("a", place), ())
    assert not (changed & ~inside(before, boxes)).any()


@QUIET
@given(SENTENCES, SENTENCES)
def test_boxes_lie_in_the_columns_and_do_not_overlap(one, two):
    page = set_page((Passage("a", "One", tuple(one)), Passage("b", "Two", tuple(two))), 7)
    width, height = page.size
    assert width == WIDTH
    boxes = [box for each in page.lines.values() for box in each]
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    for one_box, other in itertools.combinations(boxes, 2):
        apart = (
            one_box[2] <= other[0]
            or other[2] <= one_box[0]
            or one_box[3] <= other[1]
            or other[3] <= one_box[1]
        )
        assert apart, (one_box, other)


def test_lines_of_a_sentence_are_in_the_order_in_which_they_are_read():
    page = set_page((MUSEUM,))
    lines = page.lines[("museum", 2)]
    assert len(lines) >= 4
    half = WIDTH / 2
    assert list(lines) == sorted(lines, key=lambda box: (box[0] > half, box[1]))


def test_no_title_stands_at_the_foot_of_a_column():
    for count in range(2, 12):
        entries = tuple(Passage(str(i), f"Title {i}", PROSE[: 1 + i % 4]) for i in range(count))
        page = set_page(entries)
        dark = ink(page)
        for columns in (slice(96, 594), slice(646, 1144)):
            last = np.flatnonzero(dark[124:, columns].sum(axis=1))[-1] + 124
            feet = [box[3] for each in page.lines.values() for box in each]
            assert any(foot - 12 <= last < foot for foot in feet), (count, last)


def test_a_page_is_the_same_to_the_byte_in_another_process():
    page = set_page((MUSEUM,), 12)
    ours = hashlib.sha256(page.picture.tobytes()).hexdigest()
    program = (
        "import hashlib\n"
        "from agentgym.envs.visual_pages import set_page\n"
        "from agentgym.retrieval import Passage\n"
        f"page = set_page((Passage({MUSEUM.id!r}, {MUSEUM.title!r}, {MUSEUM.sentences!r}),), 12)\n"
        "print(hashlib.sha256(page.picture.tobytes()).hexdigest())\n"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    theirs = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert theirs.stdout.strip() == ours


def test_pages_that_are_painted_in_many_threads_at_once_are_as_painted_one_by_one():
    entries = [Passage(f"t{i}", f"Title {i}", (*PROSE, f"Ångström {i}")) for i in range(24)]

    def painted(place):
        page = set_page((entries[place], entries[(place * 7 + 1) % 24]), place)
        return hashlib.sha256(page.picture.tobytes()).hexdigest()

    for cached in (set_page, typeface):
        cached.cache_clear()
    alone = [painted(place) for place in range(24)]
    for cached in (set_page, typeface):  # other pages, other faces: nothing was painted before
        cached.cache_clear()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(painted, [*range(24)] * 3)) == alone * 3


# --------------------------------------------------------------------------------------- letters


def drawn(word, size=20, weight=1):
    face = Typeface(size, weight)
    picture = blank(face.width(word) + 2 * BESIDE, face.ascent + face.descent)
    face.draw(picture, BESIDE, face.ascent, word)
    return np.asarray(picture)


EUROPE = (
    "ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝàáâãäåçèéêëìíîïñòóôõöùúûüýÿ"
    "ĀāĂăĄąĆćĈĉĊċČčĎďĐđĒēĔĕĖėĘęĚěĜĝĞğĠġĢģĤĥĦħĨĩĪīĬĭĮįİıĴĵĶķĹĺĻļĽľŁłŃńŅņŇňŌōŎŏŐő"
    "ŔŕŖŗŘřŚśŜŝŞşŠšŢţŤťŨũŪūŬŭŮůŰűŲųŴŵŶŷŸŹźŻżŽžȘșȚțæœÆŒøØðÐ–—×€£¥ẾệọẠ"
)


@pytest.mark.parametrize("size", [17, 20, 25])
def test_letters_of_european_languages_are_drawn_each_unlike_the_others(size):
    missing = drawn("漢", size)
    seen = {}
    for letter in EUROPE:
        picture = drawn(letter, size)
        assert picture.min() < 128
        key = (picture.shape, picture.tobytes())
        assert key != (missing.shape, missing.tobytes()), f"{letter} is not there"
        assert letter in "ÐĐ" or key not in seen, f"{letter} looks like {seen.get(key)}"
        seen[key] = letter


def test_what_the_font_lacks_is_seen_to_be_missing():
    assert drawn("漢").min() == 0
    assert drawn("漢字").shape[1] > drawn("漢").shape[1]
    assert (drawn("\ud800") == drawn("漢")).all()


@pytest.mark.parametrize(
    "word", ["jgÅŘẾ", "ĴĵĄçģȘ|", "f“Ḝ”y,", "WÆŒ", "A\u0301\u0302\u0303\u0304B"]
)
def test_ink_stays_within_the_box_of_a_word(word):
    face = Typeface(20)
    picture = blank(face.width(word) + 60, face.ascent + face.descent + 60)
    face.draw(picture, 30, 30 + face.ascent, word)
    rows, columns = np.nonzero(np.asarray(picture) < 255)
    assert rows.min() >= 30
    assert rows.max() < 30 + face.ascent + face.descent
    assert columns.min() >= 30 - BESIDE
    assert columns.max() < 30 + face.width(word) + BESIDE
    inner = drawn(word)
    assert inner[0].min() == 255, "nothing had to be cut off above"
    assert inner[-1].min() == 255, "nor below"


def test_what_is_never_seen_takes_no_room():
    assert spelled("a\u200bb c\u202ed\x07\u00ade\tf") == ["ab", "cde", "f"]
    assert spelled("e\u0301") == ["é"]
    assert spelled(" \n ") == []


def test_bold_is_wider_and_blacker():
    thin, bold = drawn("Vorn"), drawn("Vorn", weight=2)
    assert bold.shape[1] == thin.shape[1] + 1
    assert (255 - bold.astype(int)).sum() > 1.2 * (255 - thin.astype(int)).sum()


def test_a_font_that_is_none_is_refused_by_name(tmp_path):
    wrong = tmp_path / "font.ttf"
    wrong.write_bytes(b"no font")
    with pytest.raises(ConfigError, match=r"font\.ttf' is no font"):
        set_page((MUSEUM,), font=str(wrong))


# ---------------------------------------------------------------------------------------- attacks


@QUIET
@given(
    st.text(st.characters(codec=None), max_size=60),
    st.lists(st.text(st.characters(codec=None), max_size=200), max_size=5),
)
def test_any_text_can_be_set(title, sentences):
    page = set_page((Passage("a", title, tuple(sentences)),), 3)
    for place, sentence in enumerate(sentences):
        assert bool(page.lines.get(("a", place))) == bool(spelled(sentence))


def test_words_that_are_wider_than_a_column_are_broken():
    page = set_page((Passage("a", "M" * 200, ("w" * 3000, "end")),))
    assert len(page.lines[("a", 0)]) > 50
    assert all(box[2] - box[0] <= 498 + 2 * BESIDE for box in page.lines[("a", 0)])
    assert page.lines[("a", 1)]


def test_a_passage_that_is_too_long_is_cut_and_what_is_cut_has_no_place():
    sentences = tuple(f"Sentence {i} of very many of them here." for i in range(2_000))
    page = set_page((Passage("a", "Long", sentences),))
    assert page.size[1] < 4_000
    places = [place for _, place in page.lines if place >= 0]
    assert places == list(range(len(places)))
    assert sum(map(len, sentences[: len(places)])) <= LONGEST
    assert sum(map(len, sentences[: len(places) + 1])) > LONGEST
    one = set_page((Passage("a", "Long", ("word " * LONGEST, "End.")),))
    assert set(one.lines) == {("a", TITLE)}


# ----------------------------------------------------------------------------------------- crops


def test_a_crop_at_its_own_size_is_those_pixels():
    page = set_page((MUSEUM,))
    whole = page.shown(page.frame, page.size)
    assert whole.shape == (page.size[1], page.size[0], 3)
    left, top, right, bottom = page.lines[("museum", 0)][0]
    part = page.shown((left, top, right, bottom), (right - left, bottom - top))
    assert (part == whole[top:bottom, left:right]).all()
    assert whole.max() == 253
    assert whole.min() >= 24


# ------------------------------------------------------------------------------------------ books


@pytest.fixture(scope="module")
def corpus():
    return Passages("lamps", [Passage(f"d{i}", f"Lamp {i}", PROSE) for i in range(40)])


@pytest.mark.parametrize("page_chars", [1, 900, 4_500, 10**9])
def test_every_passage_of_a_corpus_is_on_one_page_in_its_order(corpus, page_chars):
    book = Book(corpus, page_chars)
    keys = list(dict.fromkeys(book.key(each.id) for each in corpus))
    assert len(keys) == len(book)
    if page_chars <= 900:
        pages = [book.page(key) for key in keys]
        assert [each for page in pages for each in page.passages] == list(corpus)
    if page_chars == 1:
        assert len(book) == 40
    if page_chars == 10**9:
        assert len(book) == 1


def test_a_page_is_found_by_any_of_its_passages(corpus):
    book = Book(corpus)
    page = book.find(corpus[1])
    assert page is book.page("d1") is book.page("d0")
    assert page.key == "d0"
    assert book.page("elsewhere") is None


def test_what_is_in_no_corpus_is_a_page_of_its_own(corpus):
    for book in (Book(None), Book(corpus)):
        page = book.find(MUSEUM)
        assert page.passages == (MUSEUM,)
        assert page.key == book.key("museum") == "museum"


def test_with_a_font_of_ones_own_other_scripts_are_set():
    fonts = pytest.importorskip("matplotlib.font_manager", reason="has a font to try")
    path = fonts.findfont("DejaVu Sans")
    page = set_page((Passage("a", "Ψυχή", ("Привет, Дворжак Ångström.",)),), font=path)
    missing = set_page((Passage("a", "Ψυχή", ("Привет, Дворжак Ångström.",)),))
    assert ink(page).sum() > 0
    assert page.lines.keys() == missing.lines.keys() == {("a", TITLE), ("a", 0)}
    assert page.lines != missing.lines
    face = Typeface(20, path=path)
    words = {word: face.width(word) for word in ("Привет", "漢字漢字漢字")}
    assert words["Привет"] != words["漢字漢字漢字"], "six letters are not six boxes"
