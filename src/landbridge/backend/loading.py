"""From what a person names on the command line to a loaded Python module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from ..errors import NothingToServe

__all__ = ["load", "source_of"]


def load(what: str) -> ModuleType:
    """Return the module that `what` names, run as ``python`` would import it.

    Parameters
    ----------
    what : str
        A Python file, the folder of a package, or the dotted name of something importable.

    Raises
    ------
    NothingToServe
        When there is no such thing. What the module itself raises while it is loaded passes through.
    """
    path = Path(what)
    if path.suffix == ".py":
        if not path.is_file():
            raise NothingToServe(f"There is no file {what!r} (looked in {path.resolve().parent}). Check the path.")
        return _load_file(path.resolve(), path.stem)
    if path.is_dir() and (path / "__init__.py").is_file():
        return _load_file(path.resolve() / "__init__.py", path.resolve().name)
    if path.exists():
        raise NothingToServe(f"{what!r} is not a Python module. Serve a .py file, the folder of a package, or a name.")
    try:
        known = importlib.util.find_spec(what)
    except (ImportError, ValueError):
        known = None
    if known is None:
        raise NothingToServe(f"{what!r} is neither a file nor a module that can be imported here. Check its name.")
    return importlib.import_module(what)


def source_of(module: ModuleType) -> str | None:
    """Return what `load` can be given in another process to load the same module; None if it came from no file."""
    spec = module.__spec__
    if spec is None or not spec.has_location or not spec.origin:
        return None
    if "." in module.__name__ or not spec.origin.endswith(".py"):
        return module.__name__
    file = Path(spec.origin).resolve()
    return str(file.parent if file.name == "__init__.py" else file)


def _load_file(file: Path, stem: str) -> ModuleType:
    # Its neighbours can be imported, as when it is run itself.
    folder = str(file.parent.parent if file.name == "__init__.py" else file.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # A name that something else has already (a file called statistics.py, say) must not be taken over.
    name = stem if stem not in sys.modules and stem.isidentifier() else f"landbridge_served_{stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise NothingToServe(f"{file} cannot be loaded as a Python module.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
