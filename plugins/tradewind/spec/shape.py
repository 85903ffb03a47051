"""Which keys may stand at a place: the models, walked by the path that pydantic gives an error."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def key_of(name: str, model: type[BaseModel]) -> str:
    """A field's key in a YAML."""
    return model.model_fields[name].alias or name


def fields(model: type[BaseModel]) -> dict[str, Any]:
    """Key → annotation of a model's fields."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def keys_at(annotation: Any, loc: tuple[str | int, ...]) -> list[str]:
    """The keys of the model, or of any of the models, at a path; none where there is no model."""
    return sorted({key for model in models_at(annotation, loc) for key in fields(model)})


def models_at(annotation: Any, loc: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """The models that may stand at a path below an annotation."""
    here = [annotation]
    for part in loc:
        here = [below for one in here for below in _step(one, part)]
    return list(dict.fromkeys(one for form in here for one in _forms(form) if _is_model(one)))


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _forms(annotation: Any) -> Iterator[Any]:
    """An annotation without Annotated, Optional and Union."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _forms(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _forms(one)
    elif annotation is not type(None):
        yield annotation


def _step(annotation: Any, part: str | int) -> Iterator[Any]:
    """What stands below an annotation at a key, an index, or the name of one form of a union."""
    for form in _forms(annotation):
        arguments = get_args(form)
        if _is_model(form):
            if form.__name__ == part:
                yield form
            elif part in fields(form):
                yield fields(form)[str(part)]
        elif get_origin(form) is dict:
            yield arguments[1]
        elif get_origin(form) is tuple and isinstance(part, int):
            yield arguments[0] if arguments[-1] is Ellipsis else arguments[min(part, len(arguments) - 1)]
        elif get_origin(form) is list:
            yield arguments[0]
