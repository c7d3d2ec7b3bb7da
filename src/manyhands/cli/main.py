"""``manyhands``: finds the subcommand, and turns every error a user can mend into one line."""

import importlib
import os
import sys
from collections.abc import Sequence

from manyhands import __version__, terminal
from manyhands.errors import RunError, UserError

COMMANDS = {
    "train": "train one model with one strategy",
    "compare": "train with several strategies and report them side by side",
    "evaluate": "evaluate the model of a run again",
    "calibrate": "measure this machine for predictions: two processes, two minutes",
    "predict": "predict time, speedup and bytes of strategies, without training",
    "retime": "put a finished run on another network or device, without training again",
    "advise": "rank strategies, workers and batch sizes by predicted time to an accuracy",
    "validate": "hold predictions against real runs on emulated hosts",
    "report": "make one HTML page of runs and studies",
    "export": "write runs for TensorBoard or MLflow",
    "ui": "watch, compare and start runs on a local page",
    "bench": "measure communication, batch sizes, scaling and large batches",
    "data": "list, fetch, check and show data sets",
    "strategies": "list the strategies, their papers and options",
    "doctor": "show what this machine has and what is missing",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0 well, 2 an error of the user's or a stopped run, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with terminal.silenced(not {"--quiet", "--json"}.isdisjoint(words)):
            status = _run(words)
        sys.stdout.flush()
        return status
    except (UserError, RunError) as error:
        print(f"manyhands: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except SystemExit as end:  # how tyro ends after --help
        return int(end.code or 0)
    except KeyboardInterrupt as stop:
        print(f"manyhands: interrupted{f'; {stop}' if str(stop) else ''}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # e.g. manyhands strategies | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit must not fail again
        return 0


def _run(words: Sequence[str]) -> int:
    if not words:
        raise UserError(f"no command: choose from {', '.join(COMMANDS)} (see manyhands --help)")
    if words[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if words[0] == "--version":
        print(f"manyhands {__version__}")
        return 0
    if words[0] not in COMMANDS:
        raise UserError(f"unknown command '{words[0]}': choose from {', '.join(COMMANDS)}")
    status: int = importlib.import_module(f"manyhands.cli.{words[0]}").run(words[1:])
    return status


def _usage() -> str:
    commands = "\n".join(f"  {name:<12}{about}" for name, about in COMMANDS.items())
    return f"""usage: manyhands COMMAND [OPTIONS]

One laboratory for distributed deep learning: every way of sharing the training, simulated and for real.

{commands}

'manyhands COMMAND --help' tells the options of a command, 'manyhands --version' the version."""


if __name__ == "__main__":
    sys.exit(main())
