"""A forked child is the program that was asked for: its words, folder, environment, streams, signals and exit code."""

from __future__ import annotations

import signal
import subprocess

import pytest


def test_it_is_the_program_that_was_asked_for(forked, tmp_path):
    code = "import os, sys\nprint(sys.argv[1:], os.getcwd(), os.environ['A'], 'B' in os.environ, sys.stdin.read())\nsys.exit('so it ends')"
    done = forked.run_code(code, "a b", 3, cwd=tmp_path, env={"A": "ä"})
    assert (done.returncode, done.stdout) == (1, f"['a b', '3'] {tmp_path} ä False \n") and done.stderr == "so it ends\n"
    done = forked.run("--help", env={"COLUMNS": "80"})
    assert done.returncode == 0 and "Usage: triptych" in done.stdout and done.stderr == ""
    assert forked.run("train", "--nothing").returncode == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_it_and_it_ends_as_python_does(forked, number):
    code = "import sys, time\nprint(sys.stdin.readline().strip(), flush=True)\ntime.sleep(100)"
    pipe = subprocess.PIPE
    with forked.start(code=code, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        process.stdin.write("hear me\n")
        assert process.stdout.readline() == "hear me\n" and process.poll() is None
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == -number and ("KeyboardInterrupt" in said) == (number == signal.SIGINT)
