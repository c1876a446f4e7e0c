"""What README and the documentation say is true: commands, options, recipes, names and links are those of the package."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import re
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
import yaml

import triptych
from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.cli.main import app, run
from triptych.run.recipe import Recipe, read, shipped

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SHELL = {"sh", "bash", "console", "text"}
INVENTED = "triptych.modalities.depth"  # the room that docs/add-a-modality.md makes up


class Block(NamedTuple):
    """One fenced block of a page."""

    page: str
    language: str
    text: str


@functools.cache
def blocks() -> list[Block]:
    return [
        Block(page.relative_to(ROOT).as_posix(), found[1], found[2])
        for page in PAGES
        for found in FENCE.finditer(page.read_text(encoding="utf-8"))
    ]


def in_language(*languages: str) -> list[Block]:
    return [block for block in blocks() if block.language in languages]


def words_of(line: str) -> list[str]:
    """The words of a shell line that calls triptych, without its comment and what it is redirected to; else nothing."""
    if not re.match(r"(\$ |time )*triptych ", line):
        return []
    words = shlex.split(line.removeprefix("$ "), comments=True)
    words = words[words.index("triptych") + 1 :]
    return words[: words.index(">")] if ">" in words else words


@functools.cache
def whole() -> typer.core.TyperGroup:
    """The command line with all its verbs."""
    return typer.main.get_command(app)


def commands() -> list[tuple[str, list[str]]]:
    lines = [(block, line) for block in in_language(*SHELL) for line in block.text.splitlines()]
    return [(f"{block.page}: {line}", words) for block, line in lines if (words := words_of(line))]


def parameters(said: list[tuple[str, object]]) -> list[object]:
    return [pytest.param(value, id=name) for name, value in said]


def test_every_verb_is_shown_in_the_readme():
    shown = {words[0] for name, words in commands() if name.startswith("README")}
    assert shown >= set(whole().commands)


@pytest.mark.parametrize("words", parameters(commands()))
def test_a_command_has_a_real_verb_and_real_options(words):
    command = whole()
    if words == ["--help"]:
        return
    if words[0] in ("data", "cache", "feedback", "search") and words[1:]:  # a group of verbs
        command, words = command.commands[words[0]], words[1:]
    verb = command.commands[words[0]]
    context = verb.make_context(words[0], list(words[1:]), resilient_parsing=False)  # refuses what it does not know
    if words[0] not in ("predict", "add"):  # these take options named after a run's inputs
        assert not context.args
    if words[0] in ("train", "check") and "/" not in words[1] and words[1] != "--resume":
        assert words[1] in shipped() or words[1].endswith(".yaml")


def changes() -> list[tuple[str, tuple[str, str]]]:
    """Every `--set PATH=VALUE`, in commands and in running text, with the recipe it is for."""
    found = []
    for name, words in commands():
        pairs = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
        found += [(f"{name} [{pair}]", (words[1], pair)) for pair in pairs]
    for page in PAGES:
        spans = re.findall(r"`--set ([^`\s]+=[^`\s]+)`", page.read_text(encoding="utf-8"))
        found += [(f"{page.name}: --set {pair}", ("digits", pair)) for pair in spans if pair != "PATH=VALUE"]
    for block in in_language("python"):
        listed = re.findall(r"set=\[([^\]]*)\]", block.text)
        found += [(f"{block.page}: set {pair}", ("digits", pair)) for text in listed for pair in re.findall(r'"([^"]+)"', text)]
    return found


@pytest.mark.parametrize("change", parameters(changes()))
def test_a_change_applies_to_the_recipe(change, tmp_path):
    recipe, pair = change
    if pair == "fusion=gatd":  # the wrong word that is shown with its answer
        with pytest.raises(InputError, match="did you mean 'gated'"):
            read("digits", [pair])
    elif pair.startswith("inputs.image.encoder."):
        read("digits", ["inputs.image.encoder=vit", pair])
    else:
        pair = pair.replace("./songs-clap", "small:clap")  # a folder that the lines before it write
        read(recipe if recipe in shipped() else "digits", [pair])


def test_the_wrong_word_is_answered_as_the_readme_says(capsys):
    shown = next(block.text for block in blocks() if block.page == "README.md" and "gatd" in block.text).splitlines()
    with pytest.raises(InputError) as caught:
        read("digits", ["fusion=gatd"])
    assert f"error: {caught.value}".splitlines() == shown[1:]


@pytest.mark.parametrize("block", [pytest.param(b, id=f"{b.page}-{n}") for n, b in enumerate(in_language("yaml"))])
def test_a_recipe_is_a_recipe(block, tmp_path):
    """A whole one by itself, a piece of one in the place of the same piece of the recipe `digits`."""
    path = tmp_path / "shown.yaml"
    tree = yaml.safe_load(block.text)
    if "tasks" in tree:
        path.write_text(block.text, encoding="utf-8")
    else:
        path.write_text(yaml.safe_dump({**yaml.safe_load(shipped()["digits"].read_text(encoding="utf-8")), **tree}), encoding="utf-8")
    assert read(str(path)).stages


@pytest.mark.parametrize("block", [pytest.param(b, id=f"{b.page}-{n}") for n, b in enumerate(in_language("python"))])
def test_python_compiles_and_uses_names_that_are_there(block):
    tree = ast.parse(block.text)
    compile(tree, block.page, "exec")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "triptych":
            assert node.attr in triptych.__all__
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "run":
            assert hasattr(triptych.Run, node.attr)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("triptych") and not node.module.startswith(INVENTED):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)


def test_the_settings_in_the_modality_guide_are_an_input():
    """Its code runs as it stands, and takes the short form that it promises."""
    code = next(block.text for block in in_language("python") if block.page == "docs/add-a-modality.md")
    names: dict[str, object] = {"__name__": INVENTED}
    exec(compile(code, "add-a-modality.md", "exec", dont_inherit=True), names)
    made = parse(names["Input"], {"modality": "depth", "encoder": "linear", "prepare": {"size": 32}}, "guide")
    assert (made.encoder.kind, made.prepare.size) == ("linear", 32)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    targets = [target.partition("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8"))]
    missing = [t for t in targets if t and not re.match(r"\w+:", t) and not (page.parent / t).exists()]
    assert not missing


def test_make_targets_and_benchmarks_are_there():
    text = "\n".join(block.text for block in in_language(*SHELL))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in re.findall(r"^make (\w+)", text, re.MULTILINE))
    spec = importlib.util.spec_from_file_location("bench", ROOT / "benchmarks/__main__.py")
    spec.loader.exec_module(bench := importlib.util.module_from_spec(spec))
    assert set(bench.SMALL) == {path.stem for path in (ROOT / "benchmarks").glob("*.py") if not path.stem.startswith("__")}
    for name, words in [*bench.SMALL.items(), *re.findall(r"python -m benchmarks[ .](\w+)([^\n#]*)", text)]:
        source = (ROOT / f"benchmarks/{name}.py").read_text(encoding="utf-8")
        assert all(f'"--{option}"' in source for option in re.findall(r"--(?:no-)?(\S+)", words)), name
    for path in re.findall(r"pytest (tests/\S+)", text):
        assert (ROOT / path).exists()


def test_files_named_in_the_architecture_are_there():
    """Each row of the table of floors names real files of its folder, and no file of a floor is left out."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    folder, named = "", set()
    for line in page[: page.index("## A room")].splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) < 4 or ".py" not in cells[2]:
            continue
        folder = (re.findall(r"`(\w+)/`", cells[1]) or [folder])[0]
        named |= {f"{folder}/{name}" for name in re.findall(r"`([\w./]+)`", cells[2])}
    source = ROOT / "src/triptych"
    assert not [name for name in named if not (source / name).exists()]
    floors = {name.partition("/")[0] for name in named}
    there = {f"{path.parent.name}/{path.name}" for floor in floors for path in (source / floor).glob("*.py") if path.name != "__init__.py"}
    assert there - named == set()


def test_the_table_of_words_has_every_field():
    """The page of all words is made from the schema: each field of each settings class is in it, with its description."""
    spec = importlib.util.spec_from_file_location("recipe_page", ROOT / "docs/_recipe_page.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    made = page.on_page_markdown(f"before {page.MARK} after", page=None)
    schema = Recipe.model_json_schema()
    for part in [schema, *schema["$defs"].values()]:
        for name, field in part["properties"].items():
            if "const" not in field:
                row = [line for line in made.splitlines() if line.startswith(f"| `{name}` |")]
                assert any(page.cell(field["description"]) in line for line in row), (part["title"], name)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in made.splitlines() if line.startswith("|"))


@pytest.mark.slow
def test_own_files_in_three_commands(tmp_path, monkeypatch, capsys):
    """The commands of the README under "Your own files", as they stand, on a small folder."""
    monkeypatch.chdir(tmp_path)
    conftest = importlib.util.spec_from_file_location("makers", ROOT / "tests/conftest.py")
    makers = importlib.util.module_from_spec(conftest)
    conftest.loader.exec_module(makers)
    for number in range(24):
        makers.write_tone(tmp_path / "songs" / ("happy", "sad")[number % 2] / f"{number}.wav", ("high", "low")[number % 2], number)
    makers.write_tone(tmp_path / "new.wav", "high", 99)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## Your own files") :]
    lines = [words for line in FENCE.search(section)[2].splitlines() if (words := words_of(line))]
    assert [words[0] for words in lines] == ["init", "train", "predict"]
    for words in lines:
        monkeypatch.setattr(sys, "argv", ["triptych", *words])
        with pytest.raises(SystemExit) as left:
            run()
        out, err = capsys.readouterr()
        assert not left.value.code, err
    assert "label: happy" in out
    assert (tmp_path / "runs/songs/report.html").exists()
