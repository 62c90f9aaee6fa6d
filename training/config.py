"""The config of a training run: every choice that changes its result, and nothing else."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from schemas.config import Execution, canonical_sha256
from schemas.model import Model
from schemas.weights import Weights
from training.protocols.tasks import Counts

Cache = Literal["ram", "device", "none"]
Amp = Literal["auto", "off", "fp16", "bf16"]
Sampling = Literal["shuffled", "balanced"]
Motion = Literal["none", "onset", "adjacent", "flow"]
RecipeName = Literal["paper", "fast", "native"]
LoggerName = Literal["tensorboard", "wandb", "mlflow"]


class TrainExecution(Execution):
    """Where a training command runs."""

    workers: int | None = Field(
        None,
        ge=0,
        description="Folds trained at once; 0: one after the other in this process. By default as cores allow.",
    )
    together: int = Field(
        1, ge=1, description="Folds whose updates are made in one pass, in this process: for small networks on a GPU."
    )
    cache: Cache = Field("ram", description="Where decoded clips are kept: ram, on the device, or none.")
    logger: LoggerName = Field(
        "tensorboard", description="Where the metrics of epochs go beside metrics.csv: tensorboard, wandb or mlflow."
    )


class Augmentation(Model):
    """What is varied in training; the same draw for all frames of a clip, and for texture and depth alike."""

    flip: float = Field(0.5, ge=0, le=1, description="Probability of a mirror image; left and right AUs change places.")
    crop: float = Field(0.1, ge=0, lt=0.5, description="Largest share of the side that a random crop leaves out.")
    brightness: float = Field(0.2, ge=0, lt=1, description="Largest relative change; texture only.")
    contrast: float = Field(0.2, ge=0, lt=1, description="Largest relative change; texture only.")
    saturation: float = Field(0.2, ge=0, lt=1, description="Largest relative change; texture only.")
    mixup: float = Field(0, ge=0, description="Alpha of the beta distribution of a blend of two clips; 0: none.")
    cutmix: float = Field(
        0, ge=0, description="Alpha of that of a box from another clip; 0: none. A batch has one of both."
    )
    frame_jitter: bool = Field(True, description="Draw each frame from its part of the clip, instead of its middle.")


class Optimisation(Model):
    """How long and how fast a model is fitted: AdamW, linear warm-up, cosine (the paper's section 4.3)."""

    optimiser: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="Optimiser; adam and sgd add the weight decay to the gradient."
    )
    momentum: float = Field(0.9, gt=0, lt=1, description="Momentum of sgd.")
    schedule: Literal["cosine", "step"] = Field(
        "cosine", description="Schedule of the learning rate after the warm-up."
    )
    step_epochs: int = Field(40, ge=1, description="Epochs from one step of the step schedule to the next.")
    step_factor: float = Field(
        0.1, gt=0, le=1, description="Factor on the learning rate at each step of the step schedule."
    )
    epochs: int = Field(300, ge=1, description="Training epochs per fold, also T_max of the cosine.")
    warmup_epochs: float = Field(
        10, ge=0, description="Epochs in which the rate rises from 0 to lr; at most half of all."
    )
    batch_size: int = Field(64, ge=2, description="Clips per batch.")
    lr: float = Field(5e-5, gt=0, description="Learning rate after the warm-up.")
    lr_min: float = Field(1e-6, ge=0, description="Learning rate at the end of the cosine.")
    weight_decay: float = Field(0.05, ge=0, description="Weight decay of all but biases, norms and other vectors.")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="Factor on the learning rate from each layer to the one below; 1: none."
    )
    label_smoothing: float = Field(0, ge=0, lt=1, description="Share of a label that is spread over all classes.")
    clip_norm: float = Field(1.0, gt=0, description="Largest norm of the gradient.")

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.lr_min > self.lr:
            raise ValueError(f"lr_min {self.lr_min} is above lr {self.lr}")
        return self


class TrainConfig(Model):
    """Where a run executes (workers, cache, paths) is not in here: it must not change the result."""

    model: str = Field("madv_net", description="Network, as `mer models` lists it.")
    model_options: dict[str, Any] = Field(default_factory=dict, description="Fields of the model's own config.")
    protocol: str | None = Field(
        None, description="Protocol, such as loso, casme2-5/kfold-10, megc2019, or a TOML file."
    )
    counts: Counts = Field("published", description="Accept stores without the published number of clips: any.")
    motion: Motion = Field(
        "flow",
        description="What a model sees of the texture: raw frames (none), each minus the onset or minus the frame "
        "before (adjacent), or optical flow from the onset.",
    )
    depth_motion: Literal["none", "onset", "adjacent"] = Field("adjacent", description="The same of depth.")
    frames: int = Field(16, ge=3, le=256, description="Frames sampled from each clip.")
    size: int = Field(112, ge=32, le=518, description="Side of the frames, px.")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="Random seeds; each is a run of all folds.")
    validation: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="Share of the training subjects held back to choose the epoch; by default the last is taken.",
    )
    sampling: Sampling = Field("shuffled", description="Shuffle the clips, or draw every class equally often.")
    amp: Amp = Field("auto", description="Mixed precision; auto: fp16 on a GPU, off on a CPU.")
    optimisation: Optimisation = Optimisation()
    augmentation: Augmentation = Augmentation()
    pretrained: str | None = Field(None, description="sha256 of the run whose weights folds start from.")
    published: Weights | None = Field(None, description="Published weights that folds start from.")

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
