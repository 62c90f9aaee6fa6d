"""The base of every model in the contract."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Immutable, closed Pydantic model: an unknown field is an error, not a surprise."""

    model_config = ConfigDict(frozen=True, extra="forbid")
