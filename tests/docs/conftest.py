"""Puts this folder on the path of imports, for the runner of pages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
