"""Print the newest Python, 3.12 or later, that is installed; nothing if there is none."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess


def candidates() -> list[str]:
    """Return Pythons on the path, and those that pyenv keeps beside it."""
    names = [f"python3.{minor}" for minor in range(12, 20)]
    on_path = [path for name in names if (path := shutil.which(name))]
    root = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    kept = [path for name in names for path in glob.glob(f"{root}/versions/*/bin/{name}")]
    return [*on_path, *kept]


def version(path: str) -> tuple[int, ...] | None:
    """Return the version of the Python at `path`; None if it cannot be run or cannot make environments."""
    command = [path, "-c", "import ensurepip, ssl, sys, venv; print(*sys.version_info[:3])"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else None


found = [(known, path) for path in candidates() if (known := version(path))]
if found:
    print(max(found)[1])
