"""A search over the words of a recipe: many short trainings over one table, judged on the validation rows alone.

open the study -> ask for words -> train, stop the hopeless -> tell the score -> ... -> train the winner once as a whole run

No trial looks at a test row. The test rows are measured once, when the winner is trained as a run of its own.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError, TriptychError
from triptych.base.files import held_alone, write_json, write_text
from triptych.base.settings import flat, read_yaml, spelled_out, write_yaml
from triptych.objective.scores import Score
from triptych.run.fit import fit, fit_only, resume, table_to_judge_by
from triptych.run.folder import RunFolder, open_folder
from triptych.run.progress import Voice
from triptych.run.recipe import Recipe
from triptych.run.search import Space, bare, changed
from triptych.run.settings import Spread
from triptych.run.shared import Report, Shared, alone_only
from triptych.run.study import Study, Trial, of_storage

HOPELESS = 5
"""So many trials that all fail, and none that does not, are a mistake in the recipe or the search, not bad luck."""


class Pruned(Exception):
    """A trial that does worse than most did at the same epoch."""


def tune(
    recipe: Recipe, space: Space, trials: int, folder: Path, pruner: str, voice: Voice, report: Report | None = None
) -> dict[str, Any]:
    """Search until `trials` have ended, those of earlier calls included; then train the winner.

    Returns:
        What study.json holds: `study` (folder), `score`, `direction`, `trials`, `best`, `importance`, `run` (the winner's
        folder, or None), `interrupted`.

    Raises:
        InputError: the folder holds another study, its file is locked, or the data cannot be used; a trial that fails
            costs itself alone.
        TriptychError: every trial failed.
    """
    alone_only(recipe, "a search")
    _claim(folder, recipe, space)
    with held_alone(folder / "study.lock", "search"):
        study, shared = Study(folder, recipe, space, pruner), Shared()
        run, interrupted = None, False
        try:
            table_to_judge_by(recipe, voice, shared)
            _search(recipe, study, trials, folder, shared, voice)
            run = _winner(recipe, study, folder, shared, voice, report)
        except KeyboardInterrupt:
            interrupted = True
        told = _told(recipe, study, folder, run, interrupted)
        write_json(folder / "study.json", told)
    return told


def _claim(folder: Path, recipe: Recipe, space: Space) -> None:
    """Make the folder, or see that it holds this study: scores of other data or another budget do not compare."""
    plan = {"recipe": bare(recipe), "search": {p: spelled_out(v) if isinstance(v, Spread) else v for p, v in space.items()}}
    path = folder / "plan.yaml"
    if path.exists():
        known, now = flat(read_yaml(path.read_text(encoding="utf-8"))), flat(plan)
        if other := [name for name in {**known, **now} if known.get(name) != now.get(name)]:
            listed = "".join(f"\n    {name}: {known.get(name)} -> {now.get(name)}" for name in other[:5])
            what = f"{str(folder)!r} holds a search of another recipe or other values:{listed}"
            raise InputError(what, fix="name another folder with --out, or say the same as before")
        return
    if folder.exists() and (not folder.is_dir() or any(one.name != "study.lock" for one in folder.iterdir())):
        raise InputError(f"{str(folder)!r} is there already and holds no search", fix="name another folder with --out")
    write_text(path, write_yaml(plan))


def _search(recipe: Recipe, study: Study, trials: int, folder: Path, shared: Shared, voice: Voice) -> None:
    """Trials until there are enough."""
    with voice.bar() as bar:
        ended = [one for one in study.trials() if one.counts]
        if ended:
            voice.say(f"{len(ended)} trials are there already")
        task = bar.add_task("trials", total=trials, completed=len(ended), note="")
        while len(ended) < trials:
            one = _trial(recipe, study, folder, shared)
            ended.append(one)
            best = study.best()
            bar.update(task, advance=1, note=f"best {best.score:.3f}" if best and best.score is not None else "")
            voice.say(in_words(one, best, recipe.selected()))
            if best is None and len(ended) >= HOPELESS and all(trial.state == "failed" for trial in ended):
                raise TriptychError(f"the first {len(ended)} trials all failed; the last: {one.reason}", where=str(folder))


def in_words(one: Trial, best: Trial | None, score: str) -> str:
    """One line on how a trial ended."""
    words = ", ".join(f"{path} {short(value)}" for path, value in one.words.items())
    ended = {"done": "", "pruned": f"  stopped after {one.epochs} epochs", "failed": f"  failed: {one.reason}"}.get(one.state, one.state)
    value = f"{score} {one.score:.3f}" if one.score is not None else "no score"
    mark = "  (best so far)" if best and best.number == one.number else ""
    return f"  trial {one.number:3d}   {value}   {one.seconds:.1f} s{mark}{ended}\n              {words}"


def short(value: Any) -> str:
    """A value as short as can be read."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _trial(recipe: Recipe, study: Study, folder: Path, shared: Shared) -> Trial:
    """One training; whatever goes wrong in it is its reason, but for the study's own file."""
    trial, words = study.ask()
    started, path = time.perf_counter(), folder / "trials" / f"{trial.number:04d}"
    shutil.rmtree(path, ignore_errors=True)

    def seconds() -> float:
        return round(time.perf_counter() - started, 3)

    def watch(epoch: int, scores: list[Score]) -> None:
        value = next((score.value for score in scores if score.name == recipe.selected()), float("nan"))
        last = sum(stage.epochs for stage in made.stages)
        if value == value and study.report(trial, epoch, value) and epoch < last:  # after the last nothing is spared
            raise Pruned

    try:
        if twin := study.twin(words):
            return study.tell(trial, "done", twin.score, loss=twin.loss, epochs=twin.epochs, reason=f"the same as trial {twin.number}")
        made = changed(recipe, words)
        run = RunFolder.create(made, path)
        run.about({"status": "trial"})
        best = fit_only(made, run, Voice(quiet=True), shared, watch)
        if best.value is None:
            raise TriptychError(f"no validation row has what {best.name} needs")
        return study.tell(trial, "done", best.value, loss=best.loss, seconds=seconds(), epochs=len(run.read_log()))
    except Pruned:
        return study.tell(trial, "pruned", seconds=seconds())
    except KeyboardInterrupt:
        study.killed(trial.number, trial.params)
        raise
    except Exception as problem:
        if of_storage(problem) or of_storage(problem.__cause__ or problem):
            raise
        reason = problem.what if isinstance(problem, TriptychError) else f"{type(problem).__name__}: {problem}"
        return study.tell(trial, "failed", seconds=seconds(), reason=reason.splitlines()[0][:300] if reason else "")
    finally:
        shutil.rmtree(path / "model", ignore_errors=True)  # the winner is trained again as a whole run
        (path / "state.safetensors").unlink(missing_ok=True)


def _winner(recipe: Recipe, study: Study, folder: Path, shared: Shared, voice: Voice, report: Report | None) -> RunFolder | None:
    """The best trial's recipe as a file, and as a finished run with its report: here the test rows are measured."""
    best = study.best()
    if best is None:
        return None
    made = changed(recipe, best.words).model_copy(update={"track": recipe.track})
    tree = {**bare(made), **({"track": spelled_out(recipe.track)} if recipe.track else {})}
    head = f"# triptych train best.yaml\n# Trial {best.number}: validation {recipe.selected()} {best.score:.4g}\n"
    write_text(folder / "best.yaml", head + write_yaml(tree))
    path, quiet = folder / "best", voice.console.quiet
    voice.say(f"the winner is trial {best.number}; it is trained as a run of its own")
    if (path / "run.json").exists() and RunFolder(path).recipe() == made:
        if RunFolder(path).read("run.json").get("status") == "done":
            return open_folder(path)
        return resume(path, made, quiet=quiet, shared=shared, report=report)
    shutil.rmtree(path, ignore_errors=True)  # of another winner, or hardly begun
    return fit(made, path, quiet=quiet, shared=shared, report=report)


def _told(recipe: Recipe, study: Study, folder: Path, run: RunFolder | None, interrupted: bool) -> dict[str, Any]:
    best = study.best()
    return {
        "study": str(folder),
        "score": recipe.selected(),
        "direction": study.direction,
        "trials": [one.as_dict() for one in study.trials()],
        "best": best.as_dict() if best else None,
        "importance": study.importance(),
        "run": str(run.path) if run else None,
        "interrupted": interrupted,
    }
