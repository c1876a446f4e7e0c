from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.base.errors import BadValue, InputError, TriptychError, nearest, unknown_word
from triptych.base.extras import need


def test_an_error_says_what_where_known_and_what_to_try_in_that_order():
    problem = InputError("no column 'x'", where="a.csv", known=["y", 1], fix="write y")
    assert str(problem) == "no column 'x'\n  where: a.csv\n  known: y, 1\n  try:   write y"


def test_what_is_not_said_takes_no_line():
    assert str(InputError("no")) == "no"
    assert str(InputError("no", fix="yes")) == "no\n  try:   yes"


def test_wrong_input_and_failed_work_leave_with_different_codes():
    assert (TriptychError.exit_code, InputError.exit_code, BadValue.exit_code) == (1, 2, 2)
    assert issubclass(BadValue, InputError)


def test_nearest_ignores_case_and_keeps_the_words_own_spelling():
    assert nearest("VITT", ["cnn", "ViT", "mobilenet"]) == ["ViT"]
    assert nearest("zzz", ["cnn", "vit"]) == []


def test_an_unknown_word_names_the_near_ones_only_where_there_are_some():
    assert "did you mean 'vit'?" in str(unknown_word("encoder", "vitt", ["cnn", "vit"]))
    assert "try:" not in str(unknown_word("encoder", "zzz", ["cnn", "vit"]))


@given(st.text(), st.lists(st.text()))
def test_any_word_is_answered(word, known):
    assert repr(word) in str(unknown_word("thing", word, known))


def test_need_gives_the_module_or_the_command_that_installs_it():
    assert need("json", extra="demo", why="the demo").dumps(1) == "1"
    with pytest.raises(InputError) as caught:
        need("no_such_package.part", extra="demo", why="the sample")
    what = "the sample needs the package 'no_such_package', which is not installed"
    assert str(caught.value) == f"{what}\n  try:   pip install 'triptych[demo]'"


def test_need_does_not_hide_what_a_package_itself_lacks(tmp_path, monkeypatch):
    (tmp_path / "lame_package.py").write_text("import another_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="another_that_is_not_there"):
        need("lame_package", extra="demo", why="the sample")
