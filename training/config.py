"""The config of a training run: every choice that changes its result, and nothing else."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from schemas.config import canonical_sha256
from schemas.model import Model
from schemas.weights import Weights
from training.protocols.tasks import Counts

Cache = Literal["ram", "device", "none"]
Amp = Literal["auto", "off", "fp16", "bf16"]
Sampling = Literal["shuffled", "balanced"]
RecipeName = Literal["paper", "fast", "native"]


class Augmentation(Model):
    """What is varied in training; the same draw for all frames of a clip, and for texture and depth alike."""

    flip: float = Field(0.5, ge=0, le=1, description="probability of a mirror image; left and right AUs change places")
    crop: float = Field(0.1, ge=0, lt=0.5, description="largest share of the side that a random crop leaves out")
    brightness: float = Field(0.2, ge=0, lt=1, description="largest relative change; texture only")
    contrast: float = Field(0.2, ge=0, lt=1, description="largest relative change; texture only")
    saturation: float = Field(0.2, ge=0, lt=1, description="largest relative change; texture only")
    mixup: float = Field(0, ge=0, description="alpha of the beta distribution of a blend of two clips; 0: none")
    cutmix: float = Field(0, ge=0, description="alpha of that of a box of another clip; 0: none; one of both a batch")
    frame_jitter: bool = Field(True, description="draw each frame from its part of the clip, instead of its middle")


class Optimisation(Model):
    """How long and how fast a model is fitted: AdamW, linear warm-up, cosine (the paper's section 4.3)."""

    optimiser: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="adam and sgd add the weight decay to the gradient"
    )
    momentum: float = Field(0.9, gt=0, lt=1, description="of sgd")
    schedule: Literal["cosine", "step"] = Field("cosine", description="of the learning rate, after the warm-up")
    step_epochs: int = Field(40, ge=1, description="of the step schedule: epochs from one step to the next")
    step_factor: float = Field(0.1, gt=0, le=1, description="of the step schedule: on the learning rate, at each step")
    epochs: int = Field(300, ge=1, description="fixed budget, also T_max of the cosine")
    warmup_epochs: float = Field(10, ge=0, description="linear from 0 to lr; at most half of the epochs")
    batch_size: int = Field(64, ge=2, description="clips")
    lr: float = Field(5e-5, gt=0)
    lr_min: float = Field(1e-6, ge=0, description="end of the cosine")
    weight_decay: float = Field(0.05, ge=0, description="not of biases, norms and other vectors")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="on the learning rate, from each layer to the one below it; 1: none"
    )
    label_smoothing: float = Field(0, ge=0, lt=1, description="share of a label that is spread over all classes")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.lr_min > self.lr:
            raise ValueError(f"lr_min {self.lr_min} is above lr {self.lr}")
        return self


class TrainConfig(Model):
    """Where a run executes (workers, cache, paths) is not in here: it must not change the result."""

    model: str = Field("madv_net", description="name in the registry")
    model_options: dict[str, Any] = Field(default_factory=dict, description="fields of the model's own config")
    protocol: str | None = Field(None, description="task/split or a TOML file; by default the stores' own, by subject")
    counts: Counts = Field("published", description="any: accept stores without the published number of clips")
    frames: int = Field(16, ge=3, le=256, description="T, sampled from each clip")
    size: int = Field(112, ge=32, le=518, description="side of the frames, px")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    validation: float | None = Field(
        None, gt=0, le=0.5, description="share of the training subjects held back to choose the epoch; none: the last"
    )
    sampling: Sampling = Field("shuffled", description="balanced: every class equally often, with replacement")
    amp: Amp = Field("auto", description="autocast; auto: fp16 on a GPU, off on a CPU")
    optimisation: Optimisation = Optimisation()
    augmentation: Augmentation = Augmentation()
    pretrained: str | None = Field(None, description="sha256 of the run whose weights folds start from")
    published: Weights | None = Field(None, description="published weights that folds start from")

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"a seed stands there twice: {self.seeds}")
        return self

    @model_validator(mode="after")
    def _starts_once(self) -> Self:
        if self.pretrained is not None and self.published is not None:
            raise ValueError("folds start from a pre-training run or from published weights, not from both")
        return self

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON form."""
        return canonical_sha256(self.model_dump(mode="json"))
