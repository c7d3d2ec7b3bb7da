"""Puts this folder on the path of imports, where the processes of a cluster find the toy task too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
