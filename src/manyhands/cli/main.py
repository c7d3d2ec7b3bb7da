"""``manyhands``: finds the subcommand, and turns every error a user can mend into one line."""

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "train": "train one model with one strategy",
    "compare": "train with several strategies and report them side by side",
    "evaluate": "evaluate the model of a run",
    "report": "make one HTML page of runs",
    "data": "list, fetch, check and show data sets",
    "strategies": "list the strategies, their papers and options",
    "doctor": "show what this machine has and what is missing",
}


def usage() -> str:
    lines = [f"  {name:<12}{about}" for name, about in COMMANDS.items()]
    return "\n".join(
        ["usage: manyhands COMMAND [OPTIONS]", "", "One laboratory for distributed deep learning.", "", *lines, ""]
        + ["'manyhands COMMAND --help' tells the options of a command. 'manyhands --version' tells the version."]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 well, 2 an error of the user's or a stopped run, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if words else 2
    if words[0] == "--version":
        from manyhands import __version__

        print(f"manyhands {__version__}")
        return 0
    from manyhands.cli.arguments import fail
    from manyhands.errors import RunError, UserError

    if words[0] not in COMMANDS:
        return fail(f"unknown command '{words[0]}': choose from {', '.join(COMMANDS)}")
    try:
        command = importlib.import_module(f"manyhands.cli.{words[0]}")
        status: int = command.run(words[1:])
        return status
    except (UserError, RunError) as error:
        return fail(str(error))
    except KeyboardInterrupt as stop:
        print(f"manyhands: interrupted{f'; {stop}' if str(stop) else ''}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # e.g. manyhands strategies | head
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
