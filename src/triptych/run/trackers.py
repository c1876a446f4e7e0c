"""Trackers by name: TensorBoard, Weights & Biases, MLflow. Each hears what the run's log hears; none can end a training."""

from __future__ import annotations

import inspect
import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from triptych.base.extras import need
from triptych.base.runtime import Choices
from triptych.base.settings import flat, spelled_out
from triptych.run.folder import RunFolder
from triptych.run.recipe import Recipe

Scores = Mapping[str, float]


class Tracker(Protocol):
    """What is asked of each; made before training, so that a package that is missing is named at once."""

    def start(self, run: RunFolder, recipe: Recipe, folder: Path, project: str) -> None:
        """Open the run under its name, with the recipe as hyper-parameters."""

    def epoch(self, number: int, values: Scores) -> None:
        """Figures of an epoch."""

    def finish(self, status: str, scores: Scores, report: Path | None) -> None:
        """`done`, `failed` or `interrupted`; the final scores, and the report where there is one."""


class Trackers:
    """Those a recipe names. One that fails is left out with a warning; the training goes on."""

    def __init__(self, recipe: Recipe, say: Callable[[str], None]) -> None:
        """Raises InputError where a package is missing."""
        self.recipe, self.say = recipe, say
        self.live: dict[str, Tracker] = {name: KINDS[name]() for name in dict.fromkeys(recipe.track.to if recipe.track else [])}

    def start(self, run: RunFolder, choices: Choices) -> None:
        """Open all of them; from here on they hear what the run's log hears. Of several processes the first one tells them."""
        if self.recipe.track is None:
            return
        named, project = self.recipe.track.folder, self.recipe.track.project or self.recipe.name
        place = f"project {project}, files in {named or run.tracked}"
        choices.note("tracked by", ", ".join(self.live), place)
        self.say(f"  tracked by: {', '.join(self.live)} ({place})")
        if run.rank:
            self.live = {}
        for name in list(self.live):
            folder = Path(named) / name if named else run.tracked / name
            self._ask(name, partial(_start, run, self.recipe, folder, project))
        run.listeners.append(self._epoch)

    def _epoch(self, row: Mapping[str, Any]) -> None:
        values = {grouped(name): float(value) for name, value in row.items() if isinstance(value, int | float) and name != "epoch"}
        for name in list(self.live):
            self._ask(name, lambda tracker: tracker.epoch(row["epoch"], values))

    def finish(self, run: RunFolder, status: str, report: Path | None = None) -> None:
        """Close all of them."""
        done = run.read("scores.json") if status == "done" else []
        scores = {f"final/{score['name']}": score["trained"] for score in done if score["trained"] is not None}
        for name in list(self.live):
            self._ask(name, lambda tracker: tracker.finish(status, scores, report))
        self.live = {}

    def _ask(self, name: str, what: Callable[[Tracker], None]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what these packages say of each other is nothing to whoever trains
            try:
                what(self.live[name])
            except Exception as problem:  # whatever it is, it is not worth a training
                del self.live[name]
                reason = (str(problem).strip() or "no reason given").splitlines()[0][:200]
                self.say(f"warning: the tracker {name} failed and hears nothing from here on ({type(problem).__name__}: {reason})")


def _start(run: RunFolder, recipe: Recipe, folder: Path, project: str, tracker: Tracker) -> None:
    tracker.start(run, recipe, folder, project)


def grouped(name: str) -> str:
    """`validation digit.accuracy` as `validation/digit.accuracy`: trackers show what stands before the stroke as a group."""
    return re.sub(r"^(train|validation|lr) ", r"\1/", name)


def _need(module: str, name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return need(module, extra="track", why=f"the tracker {name!r}")


class TensorBoard:
    """Event files: `tensorboard --logdir FOLDER`."""

    def __init__(self) -> None:
        """Raises InputError without the package."""
        _need("tensorboard", "tensorboard")

    def start(self, run: RunFolder, recipe: Recipe, folder: Path, project: str) -> None:
        """In the run's own folder the files stand by themselves; in a shared one under project and run."""
        from torch.utils.tensorboard import SummaryWriter

        inside = run.path in folder.parents
        self.writer = SummaryWriter(str(folder if inside else folder / project / run.name))
        self.words = {name: _plain(value) for name, value in flat(spelled_out(recipe)).items()}
        text = (run.path / "recipe.yaml").read_text(encoding="utf-8")
        self.writer.add_text("recipe", "\n".join(f"    {line}" for line in text.splitlines()))

    def epoch(self, number: int, values: Scores) -> None:
        """Written at once, so that curves can be watched."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, number)
        self.writer.flush()

    def finish(self, status: str, scores: Scores, report: Path | None) -> None:
        """The table of hyper-parameters needs a score, so a run that failed is not in it."""
        if scores:
            self.writer.add_hparams(self.words, dict(scores), run_name=".")
        if report:
            self.writer.add_text("report", str(report.resolve()))
        self.writer.close()


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


class WandB:
    """Weights & Biases, with the user's own WANDB_ settings; offline where nobody is logged in (`wandb sync` sends it later)."""

    def __init__(self) -> None:
        """Raises InputError without the package."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self.wandb = _need("wandb", "wandb")

    def start(self, run: RunFolder, recipe: Recipe, folder: Path, project: str) -> None:
        """Never asks on the terminal for a key."""
        folder.mkdir(parents=True, exist_ok=True)
        known = run.read("run.json").get("tracked", {}).get("wandb")  # of a run that goes on
        named = os.environ.get("WANDB_PROJECT") if not (recipe.track and recipe.track.project) else None
        mode = os.environ.get("WANDB_MODE") or ("online" if _logged_in(self.wandb) else "offline")
        self.run = self.wandb.init(
            project=named or project,
            name=os.environ.get("WANDB_NAME") or run.name,
            dir=os.environ.get("WANDB_DIR") or str(folder),
            mode=mode,
            config=spelled_out(recipe),
            settings=self.wandb.Settings(silent=True, console="off", init_timeout=30),
            **({"id": known, "resume": "allow"} if known else {}),
        )
        _remember(run, "wandb", self.run.id)

    def epoch(self, number: int, values: Scores) -> None:
        """The step is the epoch."""
        self.run.log(dict(values), step=number)

    def finish(self, status: str, scores: Scores, report: Path | None) -> None:
        """The report becomes an artefact."""
        self.run.summary.update({**scores, "status": status})
        if report:
            artefact = self.wandb.Artifact(re.sub(r"[^\w.-]", "-", f"{self.run.name}-report"), type="report")
            artefact.add_file(str(report))
            self.run.log_artifact(artefact)
        self.run.finish(exit_code=0 if status == "done" else 1)


def _logged_in(wandb: Any) -> bool:
    """Whether a key is known here. Newer releases say so when asked; in older ones it is in `wandb.api`, which is on its way out."""
    if "prompt" in inspect.signature(wandb.login).parameters:
        return bool(wandb.login(prompt=False, verify=False))
    return bool(wandb.api.api_key)


class MLflow:
    """MLflow: the server of MLFLOW_TRACKING_URI, else an SQLite file (`mlflow ui --backend-store-uri sqlite:///FILE`)."""

    def __init__(self) -> None:
        """Raises InputError without the packages."""
        for name, value in (("MLFLOW_DISABLE_TELEMETRY", "true"), ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")):
            os.environ.setdefault(name, value)  # a server that is away must not hold the training up for minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        _need("mlflow", "mlflow")
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            _need("sqlalchemy", "mlflow")
            _need("alembic", "mlflow")

    def start(self, run: RunFolder, recipe: Recipe, folder: Path, project: str) -> None:
        """An experiment of that name is used again."""
        from mlflow import MlflowClient

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        uri, place = os.environ.get("MLFLOW_TRACKING_URI"), None
        if not uri:
            folder.mkdir(parents=True, exist_ok=True)
            uri, place = f"sqlite:///{(folder / 'mlflow.db').resolve()}", (folder / "artifacts").resolve().as_uri()
        self.client = MlflowClient(tracking_uri=uri)
        named = os.environ.get("MLFLOW_EXPERIMENT_NAME") if not (recipe.track and recipe.track.project) else None
        known = self.client.get_experiment_by_name(named or project)
        experiment = known.experiment_id if known else self.client.create_experiment(named or project, artifact_location=place)
        going_on = run.read("run.json").get("tracked", {}).get("mlflow")  # of a run that goes on
        self.id = going_on or self.client.create_run(experiment, run_name=run.name).info.run_id
        if going_on:
            self.client.update_run(self.id, status="RUNNING")
        _remember(run, "mlflow", self.id)
        for name, value in flat(spelled_out(recipe)).items():
            self.client.log_param(self.id, _allowed(name)[:250], str(value)[:6000])

    def epoch(self, number: int, values: Scores) -> None:
        """The step is the epoch."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.id, metrics=[Metric(_allowed(name), value, now, number) for name, value in values.items()])

    def finish(self, status: str, scores: Scores, report: Path | None) -> None:
        """The report becomes an artefact."""
        for name, value in scores.items():
            self.client.log_metric(self.id, _allowed(name), value)
        if report:
            self.client.log_artifact(self.id, str(report))
        self.client.set_terminated(self.id, {"done": "FINISHED", "interrupted": "KILLED"}.get(status, "FAILED"))


def _remember(run: RunFolder, tracker: str, number: str) -> None:
    """So that a run that goes on is the same run to the tracker."""
    run.about({"tracked": {**run.read("run.json").get("tracked", {}), tracker: number}})


def _allowed(name: str) -> str:
    """MLflow takes letters, digits and `_-. :/` in names: `recall@1 a -> b` becomes `recall_at_1 a to b`."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_").replace("->", "to"))


KINDS: dict[str, Callable[[], Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}
