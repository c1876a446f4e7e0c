"""The house keeps its own rules: silence about modalities, quick starts, and what it needs to run. Its floors: `make lint`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import triptych

ROOT = Path(triptych.__file__).parent
SPINE = ("data", "model", "objective", "run", "use", "cli")
NAMED = re.compile(r"image|picture|pixel|photo|audio|sound|wave|(?<![a-z])mel(?![a-z])|spectrogram|token", re.IGNORECASE)
ALLOWED = {
    # `tokens` is the contract's own name for a sequence of vectors, whatever it is a sequence of.
    "model/fusion.py": re.compile(r"(to_)?tokens(_B[A-Z]+)?\.?"),
    "run/encoded.py": re.compile(r"tokens_BTD"),
    "run/folder.py": re.compile(r"tokenizers|soundfile"),  # packages, whose versions stand in run.json
}
# A published data set has the files and columns that its publisher named (`audio/`, `train-images-idx3-ubyte`, `ImageID`).
# Nothing above imports one of these files by its name, so what they say stays in them.
LAYOUTS = "data/layouts/"


def words(tree: ast.Module) -> list[tuple[int, str]]:
    """Identifiers and strings of a file with their lines; docstrings may give examples, so they are left out."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    blocks = [node for node in ast.walk(tree) if isinstance(node, owners) and node.body]
    docs = {id(block.body[0].value) for block in blocks if isinstance(block.body[0], ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and id(node) not in docs:
                found.append((node.lineno, node.value))
            continue
        names = [getattr(node, field, None) for field in ("id", "attr", "arg", "name")]
        found += [(getattr(node, "lineno", 0), name) for name in names if isinstance(name, str)]
    return found


@pytest.mark.parametrize("floor", SPINE)
def test_the_spine_never_names_a_modality(floor):
    broken = []
    for path in sorted((ROOT / floor).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(LAYOUTS):
            continue
        for line, word in words(ast.parse(path.read_text(encoding="utf-8"))):
            allowed = ALLOWED.get(name)
            if NAMED.search(word) and not (allowed and allowed.fullmatch(word)):
                broken.append(f"{name}:{line}: {word[:80]!r}")
    assert not broken, "\n".join(broken)


def test_the_rule_sees_what_it_should():
    tree = ast.parse('def f(image): "pixels in a docstring"; return {"mel": audio.wave}')
    assert {word for _, word in words(tree) if NAMED.search(word)} == {"image", "mel", "audio", "wave"}


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["triptych", "triptych.run.recipe", "triptych.cli.main", "triptych.use.start", "triptych.modalities"])
def test_a_quick_start_loads_nothing_heavy(module):
    heavy = {"torch", "numpy", "lightning", "PIL", "soundfile", "av", "transformers"}
    assert run(f"import sys, {module}; print(sorted({heavy!r} & set(sys.modules)))") == "[]"


OPTIONAL = (
    *("sklearn", "espeakng_loader", "piper", "py3langid", "datasets", "transformers", "hypothesis", "pytest"),
    *("optuna", "tensorboard", "wandb", "mlflow", "python_stretch", "sacrebleu", "rouge_score", "nltk"),
)


@pytest.mark.slow
def test_every_module_is_imported_with_the_base_dependencies_alone():
    script = f"""
import importlib, pkgutil, sys
from importlib import metadata
from importlib.machinery import PathFinder

whole = metadata.distribution

def distribution(name):
    if name.replace("-", "_") in {OPTIONAL!r} or name == "scikit-learn":
        raise metadata.PackageNotFoundError(name)
    return whole(name)

metadata.distribution = distribution  # some packages ask for versions before they import

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {OPTIONAL!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
import triptych
names = [module.name for module in pkgutil.walk_packages(triptych.__path__, "triptych.")]
for name in names:
    importlib.import_module(name)
print(len(names), set({OPTIONAL!r}) & set(sys.modules))
"""
    count, absent = run(script).split(" ", 1)
    assert int(count) > 40 and absent == "set()"


def test_every_public_name_is_there():
    assert all(getattr(triptych, name) is not None for name in triptych.__all__)
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = triptych.nothing_here


def test_every_file_of_the_package_says_what_it_is_and_stays_short():
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        assert ast.get_docstring(tree), f"{path} has no docstring"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}:{node.lineno}: {node.name} is longer than 60 lines"
