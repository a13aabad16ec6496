"""The version of this distribution, readable without importing anything else."""

from typing import Final

VERSION: Final = "0.1.0"
