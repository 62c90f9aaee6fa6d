"""MADV-Net's config: every reading of the paper is a field here, with its equation."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from training.models.config import ModelConfig


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("must be odd, so that a kernel has a centre")
    return kernel


STREAMS: tuple[Literal["texture", "depth"], ...] = ("texture", "depth")
Positive = Annotated[int, Field(ge=1)]
Kernel = Annotated[Positive, AfterValidator(_odd)]
Weight = Annotated[float, Field(ge=0)]


class MADVNetConfig(ModelConfig):
    """Kong, You, Lv, Sensors 2025, 25(10), 3175, sections 3 and 4. The paper leaves most sizes open.

    Attributes:
        classes: C.
        frames: T that the temporal positions are learned for; other lengths interpolate them.
        size: H = W, px.
        action_units: A.
        texture: the texture stream (Eq. 2's RGB channels). Off: depth tokens alone.
        depth: the depth stream (Eq. 2's D, a depth channel). Off: texture tokens alone.
        au: the AU encoder, AU attention and L_AU (Eqs. 3-12, 18). Off: none of the three.
        discard: discarding of blocks with low attention weight (3.2.3). Off: every block stays.
        stage_heads: p_low, p_mid, p_high and L_freq (Eqs. 20-23). Off: Eq. 14's head alone.
        frame_difference: inter-frame difference with the dynamic adaptive factor. Off: plain tokens.
        stem_width: Eq. 2, channels of each stem.
        stem_kernel: Eq. 2, (frames, px, px) of the 3D convolution; its stride is (1, 2, 2).
        dims: tokens' width q in the three stages: the low, middle and high "dimensional" stream.
        depths: blocks of each stage.
        strides: of the convolution that starts each stage. The first one is ours: without it a frame of
            112 px has 2 x 28 x 28 tokens in stage one, and mixed attention there outweighs all the rest.
        head_dim: width of an attention head.
        mlp_ratio: hidden width of a block's MLP over its width.
        projection_kernel: Eq. 1's s.
        kv_stride: Eq. 1, stride of the key and value projection of mixed attention; 2 has a quarter of the keys.
        discard_keep: share of a frame's blocks that stays.
        discard_epochs: epochs over which that share falls linearly from 1; shorter runs fall by their last epoch.
        difference_reduction: the adaptive factor's MLP is this much narrower than the tokens.
        frequency_split: what Eqs. 20-23 call low, middle and high: the stages of the pyramid, or bands of a
            temporal DCT of the last stage.
        frequency_weights: Eq. 20's alpha, beta, gamma (renamed; the paper uses beta for three things).
        au_width: width of v_i in Eq. 3.
        au_layers: n in Eq. 3: hidden layers, each with a bottleneck term and each an AU token.
        au_logits: Eq. 11's logits are added to Eq. 14's in the answer. The paper trains that classifier, and never says
            what it is for in a test; without them the whole did no better than either of its parts.
        bottleneck_beta: Eqs. 4-8's beta. Without a task a gate settles at 1 / (1 + beta).
        bottleneck_scale: Eq. 8's r.
        au_classifier: Eq. 11: binary cross entropy on the one-hot label, as printed, or categorical.
        focal_lambda: Eq. 19's lambda; 0 is cross entropy.
        focal_mu: Eq. 19's mu: 1, or the inverse class frequency in the training part of the fold.
        weight_multiclass: of L_multiclass in Eq. 18.
        weight_frequency: of L_freq in Eq. 18.
        weight_au: of L_AU in Eq. 18.
        weight_coded: of a term of ours: which units were coded, told from Eq. 14's fused feature; 0 leaves it out.
            Annotated units are a target in training alone, never an input.
    """

    classes: int = Field(ge=2)
    frames: int = Field(default=16, ge=8, le=64)
    size: int = Field(default=112, ge=32)
    action_units: Positive = 20

    texture: bool = True
    depth: bool = True
    au: bool = True
    discard: bool = True
    stage_heads: bool = True
    frame_difference: bool = True

    stem_width: Positive = 32
    stem_kernel: tuple[Kernel, Kernel, Kernel] = (3, 7, 7)
    dims: tuple[Positive, Positive, Positive] = (64, 128, 256)
    depths: tuple[Positive, Positive, Positive] = (1, 2, 2)
    strides: tuple[Positive, Positive, Positive] = (2, 2, 2)
    head_dim: Positive = 32
    mlp_ratio: Positive = 4
    projection_kernel: Kernel = 3
    kv_stride: Positive = 1

    discard_keep: float = Field(default=0.7, gt=0, le=1)
    discard_epochs: int = Field(default=10, ge=0)
    difference_reduction: Positive = 4
    frequency_split: Literal["pyramid", "dct"] = "pyramid"
    frequency_weights: tuple[Weight, Weight, Weight] = (1 / 3, 1 / 3, 1 / 3)

    au_width: Positive = 128
    au_layers: Positive = 2
    au_logits: bool = True
    bottleneck_beta: Weight = 0.1
    bottleneck_scale: float = Field(default=1.0, gt=0)
    au_classifier: Literal["binary", "categorical"] = "binary"

    focal_lambda: Weight = 2.0
    focal_mu: Literal["one", "inverse_frequency"] = "one"
    weight_multiclass: Weight = 1.0
    weight_frequency: Weight = 1.0
    weight_au: Weight = 1.0
    weight_coded: Weight = 0.0

    @model_validator(mode="after")
    def _heads_divide_dims(self) -> Self:
        if any(dim % self.head_dim for dim in self.dims):
            raise ValueError(f"dims {self.dims} must be multiples of head_dim {self.head_dim}")
        return self

    @model_validator(mode="after")
    def _sees_something(self) -> Self:
        if not self.streams:
            raise ValueError("neither texture nor depth: for action units alone there is the model au-encoder")
        return self

    @property
    def streams(self) -> tuple[Literal["texture", "depth"], ...]:
        """Token streams of each frame."""
        return tuple(name for name in STREAMS if getattr(self, name))
