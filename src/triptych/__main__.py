"""`python -m triptych`: the same as the command."""

from triptych.cli.main import run

if __name__ == "__main__":
    run()
