"""`triptych search` as a person types it."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="module")
def index(tiny_run, tiny_table, tmp_path_factory):
    from triptych.run.progress import Voice
    from triptych.use.indexing import build_catalogue
    from triptych.use.opened import open_run

    out = tmp_path_factory.mktemp("cli") / "a.index"
    build_catalogue(open_run(tiny_run.folder.path), tiny_table, out, Voice(quiet=True))
    return out


def test_a_question_in_parts_as_json_and_as_a_page(cli, index, tiny_table, tmp_path):
    picture = tiny_table.parent / "pictures/1.png"
    page = tmp_path / "page.html"
    words = ["--image", picture, "--text", "a deep tone@-0.5", "--where", "label = 'high'", "--limit", "3", "--html", page]
    code, out, err = cli("search", "query", *words, index, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert len(found) == 3 and {hit["row"]["label"] for hit in found} == {"high"}
    assert [hit["similarity"] for hit in found] == sorted((hit["similarity"] for hit in found), reverse=True)
    text = page.read_text()
    assert all(hit["id"] in text for hit in found) and "× -0.5" in text and "<script" not in text and "a deep tone" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["query", "INDEX", "--smell", "x"], "known: --image, --audio, --text"),
        (["query", "INDEX"], "nothing to look for"),
        (["query", "--text", "x"], "one index is asked, not 0"),
        (["query", "INDEX", "--text", "x", "--limit", "0"], "0 rows cannot be looked for"),
        (["query", "INDEX", "--image", "none.png"], "does not exist"),
        (["query", "nowhere.index", "--text", "x"], "there is no index"),
        (["query", "INDEX", "--text", "x", "--run", "nowhere"], "there is no run"),
        (["remove", "INDEX"], "by their ids or by a condition"),
        (["add", "INDEX", "nothing.csv"], "there is no file"),
    ],
)
def test_a_slip_ends_with_2_and_what_is_known(cli, index, words, said):
    code, out, err = cli("search", *(str(index) if word == "INDEX" else word for word in words))
    assert code == 2 and said in err and "Traceback" not in err and not out


def test_what_is_in_an_index_is_said(cli, index):
    code, out, _ = cli("search", "show", index)
    assert code == 0 and "40 rows, 8 numbers each, in the space match by image, audio, text" in out
