from __future__ import annotations

import shutil

import pytest
import torch

from triptych.base import runtime
from triptych.base.errors import InputError
from triptych.base.runtime import (
    Choices,
    Stopwatch,
    choose_device,
    choose_keep,
    choose_precision,
    choose_threads,
    free_disk,
    usable_cores,
)


@pytest.fixture
def container(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "CONTROL_GROUP", tmp_path)
    return tmp_path


def test_every_choice_has_its_reason():
    choices = Choices()
    assert choose_device("cpu", choices) == "cpu"
    assert choose_precision("bf16", "cpu", 10, choices) == "bf16" and choose_precision("auto", "mps", 10, choices) == "float32"
    assert 0 < choose_keep(choices) <= 64 * 2**30
    assert [row["name"] for row in choices.as_rows()] == ["device", "precision", "precision", "prepared rows kept"]
    assert all(row["reason"] for row in choices.as_rows())


def test_a_device_that_is_not_there_is_refused():
    if torch.backends.mps.is_available():
        pytest.skip("it is there")
    with pytest.raises(InputError) as caught:
        choose_device("mps", Choices())
    assert (
        "'mps', which is not there" in str(caught.value) and "known: auto" in str(caught.value) and "training.device" in str(caught.value)
    )


def test_few_parameters_do_not_pay_for_bf16(monkeypatch):
    monkeypatch.setattr(runtime, "_has_amx", lambda: True)
    assert choose_precision("auto", "cpu", 1_000, Choices()) == "float32"
    assert choose_precision("auto", "cpu", 10_000_000, Choices()) == "bf16"
    monkeypatch.setattr(runtime, "_has_amx", lambda: False)
    assert choose_precision("auto", "cpu", 10_000_000, Choices()) == "float32"


def test_threads_are_set_and_said():
    before = torch.get_num_threads()
    try:
        assert choose_threads(1, Choices()) == 1 and torch.get_num_threads() == 1
        assert choose_threads(None, Choices()) == usable_cores()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("text", ["max 100000\n", "", "nonsense"])
def test_a_container_without_a_quota_has_all_cores(container, text):
    (container / "cpu.max").write_text(text)
    assert usable_cores() >= 1


def test_a_containers_quota_counts(container):
    (container / "cpu.max").write_text("100000 100000\n")
    assert usable_cores() == 1
    (container / "cpu.max").write_text("20000 100000\n")
    assert usable_cores() == 1


def test_free_disk_is_that_of_the_nearest_folder_there_is(tmp_path):
    assert free_disk(tmp_path / "not" / "yet") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)


def test_a_stopwatch_counts_the_processor_seconds_of_other_processes():
    watch = Stopwatch()
    watch.count(360.0)
    read = watch.read()
    assert 360 <= read["cpu_seconds"] < 420 and read["watt_hours"] >= 1.0 and read["seconds"] < 60


def test_a_stopwatch_estimates_energy_from_processor_time():
    read = Stopwatch().read()
    assert set(read) == {"seconds", "cpu_seconds", "watt_hours"} and read["watt_hours"] == pytest.approx(read["cpu_seconds"] * 10 / 3600)
