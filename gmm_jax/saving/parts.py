"""What results are made of: taken apart into JSON and arrays, and put together again."""

import dataclasses
import importlib
import math
import types
from collections.abc import Iterable
from typing import Any, Union, get_args, get_origin

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import AbstractArray

from gmm_jax import _sharding
from gmm_jax._pytree import rebuild
from gmm_jax.saving.archive import UnreadableError

CLASSES = {
    name: f"gmm_jax.{module}"
    for module, names in {
        "_data": "Frame",
        "_sets": "Sets",
        "chunked_fit": "ChunkedFit",
        "convergence": "Quality",
        "em": "Fit",
        "evidence": "Evidence",
        "families": "Bernoulli Categorical Exponential Gamma Heterogeneous MultivariateNormal "
        "MultivariateStudentT Normal PointMass Poisson Product StudentT Uniform Wrapped",
        "families.categorical": "Levels",
        "families.heterogeneous": "HeterogeneousOf",
        "families.incomplete": "SecondMoments",
        "families.incomplete_t": "WeighedMoments",
        "families.limits": "Limits Sharing",
        "families.normal": "Moments",
        "families.parts": "PartStatistics",
        "families.product": "ProductOf",
        "families.separable": "Sums",
        "families.wrapped": "Slopes WrappedOf",
        "many_fits": "ManyFits",
        "mixture": "Mixture",
        "model_posterior": "ModelPosterior",
        "posterior_fit": "PosteriorFit",
        "priors.conjugate_rates": "GammaExponential GammaPoisson",
        "priors.conjugate_shares": "BetaBernoulli DirichletCategorical",
        "priors.gamma_inverse_gamma": "GammaInverseGamma",
        "priors.hierarchical_normal": "HierarchicalNormal",
        "priors.independent": "Entries IndependentPrior",
        "priors.mixtures": "MixturePrior",
        "priors.normal_gamma": "DirichletNormalGamma NormalGamma",
        "priors.normal_inverse_gamma": "NormalInverseGamma",
        "priors.normal_inverse_wishart": "NormalInverseWishart",
        "priors.products": "ProductPrior",
        "priors.semiconjugate_normal": "SemiconjugateNormal",
        "results": "PointFit",
        "selection": "Selection",
    }.items()
    for name in names.split()
}
"""All that a file may be made of: the name of each class, and its module."""
GROUPS: dict[str, Any] = {"tuple": tuple, "list": list, "set": frozenset}
NUMBERS: dict[Any, Any] = {
    bool: bool | np.bool_,
    int: int | np.integer,
    float: int | float | np.number,
}


class Writer:
    """Takes a result apart."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.functions: dict[str, Any] = {}

    def node(self, value: Any, path: str) -> Any:
        """The JSON that stands for a value; `path` says where the value is."""
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, np.ndarray | np.generic | Array):
            return self._stored(value, path)
        if isinstance(value, int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"is": "float", "value": str(value)}
        if isinstance(value, type):
            return {"is": "class", "class": _name_of(value, path)}
        if isinstance(value, dict):
            names = [key if str(key).isidentifier() else i for i, key in enumerate(value)]
            keys = [self.node(key, path) for key in value]
            return {"is": "dict", "keys": keys, "items": self._items(value.values(), names, path)}
        for word, group in GROUPS.items():
            if type(value) is group:
                items = sorted(value) if group is frozenset else value
                return {"is": word, "items": self._items(items, range(len(items)), path)}
        return self._object(value, path)

    def _items(self, items: Iterable[Any], names: Iterable[Any], path: str) -> list[Any]:
        return [self.node(own, f"{path}.{name}") for own, name in zip(items, names, strict=True)]

    def _object(self, value: Any, path: str) -> Any:
        cls = type(value)
        name, fields = _name_of(cls, path), {}
        for field in _fields(cls):
            own = getattr(value, field)
            foreign = (name, field) == ("WrappedOf", "distribution")
            fields[field] = self._function(own) if foreign else self.node(own, f"{path}.{field}")
        return {"is": "object", "class": name, "fields": fields}

    def _stored(self, value: Any, path: str) -> Any:
        if isinstance(value, Array) and not value.is_fully_addressable:
            raise ValueError(
                f"{path} lies on several machines, and one machine writes a file: save what each "
                f"of them has, such as the `mixture`."
            )
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise TypeError(f"{path} is of {array.dtype}, and a file keeps numbers: leave it out.")
        form = "scalar" if isinstance(value, np.generic) else "numpy"
        if isinstance(value, Array) and not _sharding.is_sharded(value):
            form = "jax"
        name = path.partition(".")[2]
        self.arrays[name] = array
        shape = list(array.shape)
        return {"is": form, "array": name, "dtype": array.dtype.name, "shape": shape}

    def _function(self, function: Any) -> Any:
        name = getattr(function, "__name__", type(function).__name__)
        if self.functions.setdefault(name, function) is not function:
            raise TypeError(
                f"two distributions that are wrapped have the name {name!r}, and a file keeps only "
                f"that: write them as functions of different names."
            )
        return {"is": "function", "name": name}


class Builder:
    """Puts a result together again, and leaves in `arrays` those that it does not need."""

    def __init__(self, arrays: dict[str, np.ndarray], functions: dict[str, Any]) -> None:
        self.arrays, self.functions = arrays, functions
        self.narrow = False
        """Whether JAX, as it is set, would have rounded an array."""

    def value(self, node: Any) -> Any:
        """What a node stands for."""
        if node is None or isinstance(node, bool | int | float | str):
            return node
        match node["is"]:
            case "float":
                return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[node["value"]]
            case "numpy" | "scalar" | "jax":
                return self._restored(node)
            case "class":
                return _class(node["class"])
            case "function":
                return self._function(node["name"])
            case "dict":
                keys = [self.value(key) for key in node["keys"]]
                return dict(zip(keys, map(self.value, node["items"]), strict=True))
            case "object":
                return self._object(_class(node["class"]), node["fields"])
        return GROUPS[node["is"]](map(self.value, node["items"]))

    def _restored(self, node: dict[str, Any]) -> Any:
        array = self.arrays.pop(node["array"])
        found, wanted = (array.dtype.name, list(array.shape)), (node["dtype"], node["shape"])
        if found != wanted:
            raise UnreadableError(
                f"{node['array']} should be {wanted[0]} of shape {wanted[1]}, and is {found[0]} of "
                f"shape {found[1]}; save the result again"
            )
        if node["is"] == "scalar":
            return array[()]
        rounded = jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype
        self.narrow |= node["is"] == "jax" and rounded
        return array if node["is"] == "numpy" or rounded else jnp.asarray(array)

    def _function(self, name: str) -> Any:
        if name not in self.functions:
            raise UnreadableError(
                f"its components wrap {name}, which no file holds: pass it, as in "
                f"gmm_jax.load(path, functions={{{name!r}: {name}}})"
            )
        return self.functions[name]

    def _object(self, cls: Any, given: dict[str, Any]) -> Any:
        fields = _fields(cls)
        values = {name: self.value(node) for name, node in given.items()}
        needed = {name for name, (_, default) in fields.items() if default is dataclasses.MISSING}
        if not needed <= set(values) <= set(fields):
            raise UnreadableError(
                f"{cls.__name__} has the fields {', '.join(fields)}, and here are "
                f"{', '.join(values)}; save the result again"
            )
        for name, value in values.items():
            if not _suits(value, fields[name][0]):
                raise UnreadableError(
                    f"{name} of {cls.__name__} is {type(value).__name__}; save the result again"
                )
        values = {name: default for name, (_, default) in fields.items()} | values
        return cls(**values) if issubclass(cls, tuple) else rebuild(cls, **values)


def _fields(cls: Any) -> dict[str, tuple[Any, Any]]:
    """Annotation and default of every field."""
    if dataclasses.is_dataclass(cls):
        return {field.name: (field.type, field.default) for field in dataclasses.fields(cls)}
    return {name: (cls.__annotations__[name], dataclasses.MISSING) for name in cls._fields}


def _suits(value: Any, annotation: Any) -> bool:
    """Whether a field may hold a value, as far as its annotation tells."""
    if annotation is Any:
        return True
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(_suits(value, one) for one in get_args(annotation))
    if annotation is types.NoneType:
        return value is None
    if isinstance(annotation, str):  # a family, or its kind
        return dataclasses.is_dataclass(value) and not isinstance(value, type)
    own = NUMBERS.get(annotation, origin or annotation)
    if isinstance(own, type) and issubclass(own, AbstractArray):
        return isinstance(value, np.ndarray | Array)
    return isinstance(value, own)


def _name_of(cls: type, path: str) -> str:
    """The name under which a class is listed."""
    name = cls.__name__
    if name in CLASSES and _class(name) is cls:
        return name
    raise TypeError(
        f"{path} is {cls.__qualname__} of {cls.__module__}, and a file keeps only what gmm_jax "
        f"brings along: save a `Mixture` alone, such as the result's `mixture` or `draws`."
    )


def _class(name: str) -> Any:
    return getattr(importlib.import_module(CLASSES[name]), name)
