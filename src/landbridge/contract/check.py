"""A method at its backend: arguments from elsewhere become those of the function, its result becomes plain."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator, ValidationError, core_schema

from ..errors import InvalidArguments, Problem
from .arrays import plain_scalars
from .growth import MAX_ENTRIES, may_grow, to_list
from .lowering import lower_arguments
from .methodspec import MethodSpec
from .schema import JsonSchema
from .verdict import MAX_PROBLEMS, problems_from, shown

__all__ = ["Method", "arguments_schema"]

_MAX_ITEMS_FOR_ALL_PROBLEMS = 10_000
_MAX_UNKNOWN = 100
_MAX_COUNTED = 20_000


class Method:
    """A callable with its spec, ready to check calls.

    Parameters
    ----------
    target : str
        ``institute/module.method``, for messages.
    spec : MethodSpec
        What it promises.
    function : callable
        What runs.
    schema : CoreSchema
        Validator's schema of the arguments by name; ends at the first wrong item of a container.
    explain : callable
        Makes the schema that finds every wrong item, when first needed.
    defaults : mapping
        Defaults of parameters that may have to be given so that ``*args`` come into place.
    types : mapping
        Shared types of the module.

    Attributes
    ----------
    spec : MethodSpec
        What it promises.
    function : callable
        What runs. For a method of a class it takes the object first, unless the spec says that it is static.
    """

    def __init__(
        self,
        target: str,
        spec: MethodSpec,
        function: Callable[..., Any],
        schema: CoreSchema,
        *,
        explain: Callable[[], CoreSchema],
        defaults: Mapping[str, Any],
        types: Mapping[str, JsonSchema],
    ) -> None:
        self.spec = spec
        self.function = function
        self._target = target
        self._validate: Callable[[Any], dict[str, Any]] = SchemaValidator(schema).validate_python
        self._explain = explain
        self._defaults = defaults
        self._types = types
        self._by_place = _places(spec)

    def __repr__(self) -> str:
        """Return the target."""
        return f"<method {self._target}>"

    def check(self, arguments: Mapping[str, object]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what to call the function with.

        Parameters
        ----------
        arguments : mapping of str to object
            Values by name of parameter; those of ``*args`` as a list under its name, those of ``**kwargs`` among them.
            What is not given keeps the function's own default.

        Returns
        -------
        args, kwargs : tuple and dict
            For ``function(*args, **kwargs)``.

        Raises
        ------
        InvalidArguments
            With all problems and their places; the function did not run.
        """
        if type(arguments) is not dict:
            arguments = self._as_dict(arguments)
        if may_grow.get() != MAX_ENTRIES:  # asking costs less than setting
            may_grow.set(MAX_ENTRIES)
        try:
            values = self._validate(arguments)
        except ValidationError as error:
            values = self._check_again(arguments, error)
        except RecursionError:
            raise InvalidArguments(self._target, [Problem("arguments", "nest too deep")]) from None
        except BaseException as error:
            if type(error).__module__ != "pyo3_runtime":
                raise
            # A panic of the validator is no Exception, and would end the backend.
            raise InvalidArguments(self._target, [Problem("arguments", "can not be checked")]) from None
        if self._by_place is None:
            return (), values
        return self._placed(values)

    def _as_dict(self, arguments: object) -> dict[str, Any]:
        if not isinstance(arguments, Mapping):
            problem = Problem("arguments", f"must come by name, in a dict; got {shown(arguments)}")
            raise InvalidArguments(self._target, [problem])
        return dict(arguments)

    def _check_again(self, arguments: Mapping[str, object], error: ValidationError) -> dict[str, Any]:
        """Check with NumPy scalars made Python ones, then say everything that is wrong."""
        if len(arguments) > len(self.spec.parameters) + _MAX_UNKNOWN and not self.spec.plan.takes_any_name:
            problem = Problem(
                "arguments", f"are {len(arguments)}, but there are {len(self.spec.parameters)} parameters"
            )
            raise InvalidArguments(self._target, [problem])
        try:
            plain, items = _with_plain_scalars(arguments, error)
            may_grow.set(MAX_ENTRIES)
            try:
                return self._validate(plain)
            except ValidationError as still:
                error = still
            if items <= _MAX_ITEMS_FOR_ALL_PROBLEMS:
                may_grow.set(MAX_ENTRIES)
                return SchemaValidator(self._explain()).validate_python(plain)  # type: ignore[no-any-return]
        except ValidationError as every:
            error = every
        except RecursionError:
            raise InvalidArguments(self._target, [Problem("arguments", "nest too deep")]) from None
        if error.error_count() > _MAX_COUNTED:  # listing a million would cost the backend more than the caller
            problem = Problem("arguments", f"have {error.error_count():,} problems")
            raise InvalidArguments(self._target, [problem]) from None
        problems = problems_from(error.errors(include_url=False), arguments_schema(self.spec), self._types)
        if len(problems) > MAX_PROBLEMS:
            rest = len(problems) - MAX_PROBLEMS
            problems[MAX_PROBLEMS:] = [Problem("arguments", f"have {rest} more problems")]
        raise InvalidArguments(self._target, problems) from None

    def _placed(self, values: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        by_place, only_by_place, variadic = self._by_place or ((), 0, None)
        rest = values.pop(variadic, ()) if variadic else ()
        count = len(by_place) if rest else only_by_place
        # Behind the last one that is given, nothing needs a place.
        while not rest and count and by_place[count - 1] not in values:
            count -= 1
        args = [values.pop(name) if name in values else self._defaults[name] for name in by_place[:count]]
        return (*args, *rest), values

    def lower(self, result: Any) -> Any:
        """Return a result as it travels: enum members, dataclasses, models and named tuples in it made plain."""
        return lower_arguments(result)

    def lower_item(self, item: Any) -> Any:
        """Return an item of a generator as it travels."""
        return lower_arguments(item)


def _with_plain_scalars(arguments: Mapping[str, object], error: ValidationError) -> tuple[dict[str, Any], int]:
    """Return the arguments with NumPy scalars made Python ones where they did not fit, and how many items they have.

    Only there: a method without hints gets a ``np.float32`` as the ``np.float32`` that was sent.
    """
    if error.error_count() > _MAX_COUNTED:
        return dict(arguments), _MAX_ITEMS_FOR_ALL_PROBLEMS + 1
    wrong = {detail["loc"][0] for detail in error.errors(include_url=False, include_input=False) if detail["loc"]}
    budget = [0]
    plain = {str(name): plain_scalars(value, budget) if name in wrong else value for name, value in arguments.items()}
    return plain, -budget[0]


def _places(spec: MethodSpec) -> tuple[tuple[str, ...], int, str | None] | None:
    """Return the parameters that can be given by place, how many of them must, and the name of ``*args``."""
    by_place = tuple(p.name for p in spec.parameters if p.kind in ("positional_only", "positional_or_keyword"))
    only = sum(p.kind == "positional_only" for p in spec.parameters)
    variadic = next((p.name for p in spec.parameters if p.kind == "var_positional"), None)
    return None if not only and variadic is None else (by_place, only, variadic)


def arguments_schema(spec: MethodSpec) -> JsonSchema:
    """Return the JSON Schema of the object that holds all arguments of a method.

    Examples
    --------
    >>> from landbridge.contract import ParameterSpec
    >>> spec = MethodSpec("mean", parameters=(ParameterSpec("first", schema={"type": "integer"}),))
    >>> arguments_schema(spec)["properties"]
    {'first': {'type': 'integer'}}
    """
    properties: dict[str, JsonSchema] = {}
    additional: bool | JsonSchema = False
    for parameter in spec.parameters:
        if parameter.kind == "var_keyword":
            additional = parameter.schema or True
        elif parameter.kind == "var_positional":
            properties[parameter.name] = {"type": "array"} | ({"items": parameter.schema} if parameter.schema else {})
        else:
            properties[parameter.name] = parameter.schema
    required = [p.name for p in spec.parameters if p.required]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": additional}


def arguments_core(parameters: list[tuple[inspect.Parameter, CoreSchema]], *, fail_fast: bool) -> CoreSchema:
    """Return the validator's schema of the arguments of a function, by name.

    Parameters
    ----------
    parameters : list of (inspect.Parameter, CoreSchema)
        Each with the schema of its value, or of each of its values.
    fail_fast : bool
        End at the first wrong item of ``*args``.
    """
    fields: dict[str, core_schema.TypedDictField] = {}
    extras: CoreSchema | None = None
    for parameter, core in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            extras = core
            continue
        required = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL
        if parameter.kind is parameter.VAR_POSITIONAL:
            core = core_schema.tuple_schema([core], variadic_item_index=0, strict=False, fail_fast=fail_fast)
            core = core_schema.no_info_before_validator_function(to_list, core)
        fields[parameter.name] = core_schema.typed_dict_field(core, required=required)
    if extras is None:
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid")
    return core_schema.typed_dict_schema(fields, extras_schema=extras, extra_behavior="allow")
