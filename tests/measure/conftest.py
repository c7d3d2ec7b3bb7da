"""Puts the folder of the toy tasks on the path of imports."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
