"""``python -m manyhands``, e.g. under torchrun."""

import sys

from manyhands.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
