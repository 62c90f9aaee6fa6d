"""How a spotting run is made."""

from pydantic import Field

from schemas.model import Model


class SpotConfig(Model):
    """How a spotter is made; part of what decides a run's result."""

    method: str = Field("flow-peaks", description="Method of spotting: flow-peaks, madv-spot, or another package's.")
    seeds: int = Field(
        1, ge=1, description="Runs with the random seeds 0, 1, ...; a method without chance has one, whatever is asked."
    )
    epochs: int = Field(20, ge=1, description="Training epochs per fold of a method that has any.")
