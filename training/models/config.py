"""What the config of every model has."""

from pydantic import Field

from schemas.model import Model


class ModelConfig(Model):
    """The clips that a model is built for; its own options are fields of a subclass.

    Attributes:
        classes: C.
        frames: T.
        size: H = W, px.
        action_units: A.
    """

    classes: int = Field(ge=2)
    frames: int = Field(ge=2)
    size: int = Field(ge=32)
    action_units: int = Field(ge=1)
