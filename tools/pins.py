"""Write requirements/dev.txt: the exact versions of everything that tests and development use."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TOOLS = [
    "hypothesis",
    "import-linter",
    "ipykernel",
    "mypy",
    "nats-py",  # what our connection is tested against and measured beside
    "nbclient",
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "pytest-xdist",
    "ruff",
    "trustme",
]
# What the values and files of tests are made with, beyond the extras.
OTHERS_DATA = ["cfgrib", "eccodes", "h5netcdf", "h5py", "scipy"]
ROOT = Path(__file__).resolve().parent.parent
HEAD = f"""\
# What tests and development use, exactly; made by `make pins` from the ranges in pyproject.toml and the tools below.
# Tools: {" ".join(TOOLS)}
"""

with tempfile.TemporaryDirectory() as folder:
    venv.create(folder, with_pip=True)
    python = f"{folder}/bin/python"
    wanted = [f"{ROOT}[demo,table,polars,geo,compress,dask,zarr,ws]", *OTHERS_DATA, *TOOLS]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    frozen = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
# Our own package appears with the path of this machine.
lines = [line for line in frozen.splitlines() if not line.startswith("landbridge") and "@" not in line]
(ROOT / "requirements" / "dev.txt").write_text(HEAD + "\n".join(lines) + "\n")
print(f"{len(lines)} packages pinned", file=sys.stderr)
