"""What a module promises, as frozen values that travel: its methods, classes, data sets, and the types they mention.

A `ModuleSpec` is made at the backend by `landbridge.contract.read_module`, goes out as JSON, and is all that a caller
ever knows of a module. Types are JSON Schema (2020-12) with these additional keywords:

====================  ==============================================================================================
``x-landbridge``      what JSON has no type for: ``enum``, ``flag``, ``dataclass``, ``model``, ``typeddict``,
                      ``namedtuple``, ``ndarray``, ``xarray.DataArray``, ``datetime``, ``tuple``, ``set``, ``complex``,
                      ``function`` (of the caller) …
``x-lazy``            a reference arrives as a lazy data set
``x-unit``            unit of a number or array, as its author wrote it
``x-dtype``           dtype of an ndarray
``x-enum-names``      names of the members, in the order of ``enum``
``x-enum-aliases``    further names of members: alias → name
``x-enum-mixin``      ``str``, ``int`` or ``float`` if members are also that
``x-frozen``          the dataclass is frozen
``x-kw-only``         the field is given by name only
``x-field-names``     names of the places of a named tuple
``x-keys``            schema of the keys of a dict whose keys are not strings
``x-arguments``       schemas of what a function is called with
``x-returns``         schema of what a function returns
``x-awaited``         what a function returns is awaited
====================  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import InvalidName, Malformed
from ..names import check_member, parse_address
from .fields import list_of, object_of, text_of
from .methodspec import MAX_DOC_CHARS, MethodSpec
from .schema import JsonSchema, clean_types, measure, named_type

__all__ = ["ClassSpec", "DatasetSpec", "ModuleSpec"]

_MAX_CALLABLES = 2000


@dataclass(frozen=True)
class ClassSpec:
    """One class of a module, whose objects live at a backend.

    Attributes
    ----------
    name : str
        Its name in the module.
    doc : str
        The docstring without the sections that the fields of `init` hold.
    summary : str
        First sentence of it.
    init : MethodSpec
        What making an object takes; it has the name of the class.
    methods : mapping of str to MethodSpec
        Its methods, in the order of the owner, without the object among their parameters.
    """

    name: str
    doc: str
    summary: str
    init: MethodSpec
    methods: Mapping[str, MethodSpec] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, without what is as usual."""
        out: dict[str, Any] = {"name": self.name, "init": self.init.to_json()}
        for key in ("doc", "summary"):
            if value := getattr(self, key):
                out[key] = value
        out["methods"] = [method.to_json() for method in self.methods.values()]
        return out

    @staticmethod
    def from_json(obj: object, most: int) -> ClassSpec:
        """Return the spec that `obj`, from anywhere and measured already, describes, with at most so many methods."""
        entry = object_of(obj, "a class")
        init = MethodSpec.from_json(entry.get("init"))
        if entry.get("name") != init.name or init.streams or init.static:
            raise Malformed(f"the constructor of {init.name} is that of no class of this name")
        return ClassSpec(
            name=init.name,
            doc=text_of(entry, "doc", MAX_DOC_CHARS),
            summary=text_of(entry, "summary", 1000),
            init=init,
            methods=_methods(entry, most),
        )


@dataclass(frozen=True)
class DatasetSpec:
    """One data set of a module. What can be asked of it is the same for all: ``spec/datasets.md``.

    Attributes
    ----------
    name : str
        Its name in the module.
    doc : str
        What its owner says of it.
    summary : str
        First sentence of it.
    """

    name: str
    doc: str = ""
    summary: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, without what is empty."""
        return {key: value for key in ("name", "doc", "summary") if (value := getattr(self, key))}

    @staticmethod
    def from_json(obj: object) -> DatasetSpec:
        """Return the spec that `obj`, from anywhere and measured already, describes."""
        entry = object_of(obj, "a data set")
        try:
            name = check_member(text_of(entry, "name", 100))
        except InvalidName as error:
            raise Malformed(f"the name of a data set: {error}") from None
        return DatasetSpec(name, text_of(entry, "doc", MAX_DOC_CHARS), text_of(entry, "summary", 1000))


@dataclass(frozen=True)
class ModuleSpec:
    """All that a caller knows of a module.

    Attributes
    ----------
    name : str
        ``institute/module``.
    doc : str
        Docstring of the module.
    summary : str
        First sentence of it.
    version : str
        As its owner states it.
    methods : mapping of str to MethodSpec
        Its methods, in the order of the owner.
    types : dict of str to dict
        Schemas of the types that the signatures mention, by name: the ``$defs`` of all other schemas.
    classes : mapping of str to ClassSpec
        Its classes, in the order of the owner.
    datasets : mapping of str to DatasetSpec
        Its data sets, in the order of the owner.
    """

    name: str
    doc: str = ""
    summary: str = ""
    version: str = ""
    methods: Mapping[str, MethodSpec] = field(default_factory=dict)
    types: dict[str, JsonSchema] = field(default_factory=dict)
    classes: Mapping[str, ClassSpec] = field(default_factory=dict)
    datasets: Mapping[str, DatasetSpec] = field(default_factory=dict)

    def callables(self) -> dict[str, MethodSpec]:
        """Return all that can be called: methods, classes (their constructor), and ``Class.method``.

        Examples
        --------
        >>> grid = ClassSpec("Grid", "", "", MethodSpec("Grid"), {"mean": MethodSpec("mean")})
        >>> list(ModuleSpec("geomar/ocean", classes={"Grid": grid}).callables())
        ['Grid', 'Grid.mean']
        """
        found = dict(self.methods)
        for name, cls in self.classes.items():
            found[name] = cls.init
            found.update((f"{name}.{member}", method) for member, method in cls.methods.items())
        return found

    def only(self, names: Iterable[str]) -> ModuleSpec:
        """Return the spec with these members, and with no types but those that they mention.

        Examples
        --------
        >>> spec = ModuleSpec("geomar/ocean", methods={"mean": MethodSpec("mean"), "raw": MethodSpec("raw")})
        >>> list(spec.only(["mean"]).methods)
        ['mean']
        """
        known: dict[str, MethodSpec | ClassSpec | DatasetSpec] = {**self.methods, **self.classes, **self.datasets}
        members = {name: known[name] for name in names}
        wanted: set[str] = set()
        to_read: list[Any] = [member.to_json() for member in members.values()]
        while to_read:
            part = to_read.pop()
            if isinstance(part, dict):
                name = named_type(part)
                if name in self.types and name not in wanted:
                    wanted.add(name)
                    to_read.append(self.types[name])
                to_read.extend(part.values())
            elif isinstance(part, list | tuple):
                to_read.extend(part)
        return replace(
            self,
            methods={name: member for name, member in members.items() if isinstance(member, MethodSpec)},
            types={name: self.types[name] for name in self.types if name in wanted},
            classes={name: member for name, member in members.items() if isinstance(member, ClassSpec)},
            datasets={name: member for name, member in members.items() if isinstance(member, DatasetSpec)},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the form that travels: dicts, lists, texts, numbers, None."""
        out: dict[str, Any] = {"name": self.name}
        for key in ("doc", "summary", "version"):
            if value := getattr(self, key):
                out[key] = value
        out["methods"] = [method.to_json() for method in self.methods.values()]
        if self.classes:
            out["classes"] = [cls.to_json() for cls in self.classes.values()]
        if self.datasets:
            out["datasets"] = [dataset.to_json() for dataset in self.datasets.values()]
        out["types"] = dict(self.types)
        return out

    @staticmethod
    def from_json(obj: object) -> ModuleSpec:
        """Return the spec that `obj`, from anywhere, describes.

        Keys that are not known are left out, so that a newer backend may say more.

        Parameters
        ----------
        obj : object
            What `to_json` gave, as it arrived.

        Raises
        ------
        Malformed
            When sizes, names, types or nesting are not those of a spec.

        Examples
        --------
        >>> spec = ModuleSpec("geomar/ocean", methods={"mean": MethodSpec("mean")})
        >>> ModuleSpec.from_json(spec.to_json()) == spec
        True
        """
        measure(obj)
        top = object_of(obj, "a module")
        types = clean_types(object_of(top.get("types", {}), "types"))
        methods = _methods(top, _MAX_CALLABLES)
        classes: dict[str, ClassSpec] = {}
        left = _MAX_CALLABLES - len(methods)
        for entry in list_of(top.get("classes", []), "classes", left):
            cls = ClassSpec.from_json(entry, max(left, 0))
            left -= 1 + len(cls.methods)
            if cls.name in classes or cls.name in methods or cls.name in types:
                raise Malformed(f"two members or types of a module have the name {cls.name}")
            classes[cls.name] = cls
        datasets: dict[str, DatasetSpec] = {}
        for entry in list_of(top.get("datasets", []), "data sets", max(left, 0)):
            dataset = DatasetSpec.from_json(entry)
            if any(dataset.name in others for others in (datasets, classes, methods, types)):
                raise Malformed(f"two members or types of a module have the name {dataset.name}")
            datasets[dataset.name] = dataset
        name = top.get("name")
        try:
            address = parse_address(name) if isinstance(name, str) else None
        except InvalidName as error:
            raise Malformed(f"the name of a module: {error}") from None
        if address is None or address.member is not None:
            raise Malformed("a module's name must look like institute/module")
        return ModuleSpec(
            name=str(address),
            doc=text_of(top, "doc", MAX_DOC_CHARS),
            summary=text_of(top, "summary", 1000),
            version=text_of(top, "version", 100),
            methods=methods,
            types=types,
            classes=classes,
            datasets=datasets,
        )


def _methods(entry: dict[str, Any], most: int) -> dict[str, MethodSpec]:
    methods = [MethodSpec.from_json(each) for each in list_of(entry.get("methods", []), "methods", most)]
    by_name = {method.name: method for method in methods}
    if len(by_name) < len(methods):
        raise Malformed("two methods of a module or class have the same name")
    return by_name
