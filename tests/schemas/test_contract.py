"""The contract: configs, provenance, layout."""

import pytest
from pydantic import ValidationError

from schemas.config import PreprocessConfig
from schemas.layout import ARRAYS, SPECS, array_names, object_path
from schemas.manifest import Provenance
from schemas.weights import Weights

CONFIG = PreprocessConfig(dataset="samm")


def test_config_hash_depends_on_values_alone() -> None:
    """Not on the order of fields, nor on whether a default was given."""
    assert CONFIG.sha256 == PreprocessConfig(size=224, dataset="samm").sha256
    assert CONFIG.sha256 != PreprocessConfig(dataset="samm", size=225).sha256


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", 111), ("size", 519), ("depth_size", 500), ("depth", "../midas"), ("au", ""), ("limit", 0), ("x", 1)],
)
def test_config_refuses_what_it_does_not_know(field: str, value: object) -> None:
    """Out of range, unknown choice, unknown field."""
    with pytest.raises(ValidationError, match=field):
        PreprocessConfig.model_validate({"dataset": "samm", field: value})


def test_provenance_names_each_difference() -> None:
    """Down to the field of the config and the version of the package."""
    weights = Weights(name="w", repository="r", revision=None, file="f", sha256="0")
    one = Provenance(
        config=CONFIG, layout="raw", annotation="a", device="cpu", packages={"torch": "1", "zarr": "3"}, weights=()
    )
    other = Provenance(
        config=CONFIG.model_copy(update={"size": 112}), layout="raw", annotation="b", device="cuda",
        packages={"torch": "2"}, weights=(weights,),
    )  # fmt: skip
    assert one.differences(one) == {}
    assert one.differences(other) == {
        "config.size": (224, 112),
        "annotation": ("a", "b"),
        "device": ("cpu", "cuda"),
        "weights": ((), (weights,)),
        "packages.torch": ("1", "2"),
        "packages.zarr": ("3", None),
    }


def test_every_clip_array_has_one_object_a_clip() -> None:
    """Its path has one part for each dimension."""
    assert object_path("texture", 7) == "texture/c/7/0/0/0/0"
    assert object_path("depth", 7) == "depth/c/7/0/0/0"
    for spec in ARRAYS:
        assert spec.dims[0] == "clip" or len(spec.dims) == 1
        assert spec.name not in spec.dims or len(spec.dims) == 1, "xarray takes no such variable"


def test_arrays_of_a_store_follow_its_config() -> None:
    """No depth, no depth arrays; action units of every frame only on request."""
    assert set(array_names(depth=True, au_frames=True)) == set(SPECS)
    lean = set(array_names(depth=False, au_frames=False))
    assert set(SPECS) - lean == {"depth", "depth_scale", "depth_offset", "au_frames"}
