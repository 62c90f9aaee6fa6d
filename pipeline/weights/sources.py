"""Published weights by name: where they are, and under which terms. The entry point group ``mer.weights`` adds more."""

from dataclasses import dataclass

from schemas.registry import Registry

_DEPTH_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
_FRESH = "leave out --weights, and the model starts from random ones"


@dataclass(frozen=True)
class ModelSource:
    """A model on the hub.

    Attributes:
        name: as the command line and the models folder call it.
        repository: ``owner/name`` on the hub.
        revision: pinned commit; ``None`` takes the newest, and its sha256 is then recorded at fetch.
        files: all that is needed, the weights last.
        sha256: of the weights at that commit, where it is known.
        licence: of the weights.
        instead: options that do without them.
    """

    name: str
    repository: str
    revision: str | None
    files: tuple[str, ...]
    sha256: str | None
    licence: str
    instead: str = "--depth mesh --au mesh"

    @property
    def weights_file(self) -> str:
        """Name of the safetensors file."""
        return self.files[-1]


# Commits and hashes as published by several independent projects that pin the same files. For Base and for VideoMAE's
# fine-tuned one no hash, and for py-feat neither (its file of this name is younger than any lock that we found), is
# public to our knowledge. First what preprocessing reads, then what models are trained from.
WEIGHTS: Registry[ModelSource] = Registry("weights", "pipeline.weights", "published weights")
for _source in (
    ModelSource(
        name="depth-anything-v2-small",
        repository="depth-anything/Depth-Anything-V2-Small-hf",
        revision="5426e4f0f36572d16453bbda7a8389317b1bef99",
        files=_DEPTH_FILES,
        sha256="3152477ce0d8d6978d76b995120de97cb5b928701fd0f817769f59e249a16b70",
        licence="Apache-2.0",
    ),
    ModelSource(
        name="depth-anything-v2-base",
        repository="depth-anything/Depth-Anything-V2-Base-hf",
        revision="b1958afc87fb45a9e3746cb387596094de553ed8",
        files=_DEPTH_FILES,
        sha256=None,
        licence="CC-BY-NC-4.0",
    ),
    ModelSource(
        name="depth-anything-v2-large",
        repository="depth-anything/Depth-Anything-V2-Large-hf",
        revision="7581137eff8d4e94f6e796d3baea0e9fa79b22d2",
        files=_DEPTH_FILES,
        sha256="4e01e34ed5549b529b70b92d53226bc370f03041977b390d3dde45d47f516cf9",
        licence="CC-BY-NC-4.0",
    ),
    ModelSource(
        name="py-feat",
        repository="py-feat/face_multitask_v2",
        revision=None,
        files=("face_multitask_v28.safetensors",),
        sha256=None,
        licence="non-commercial research only",
    ),
    ModelSource(
        name="resnet18-imagenet",
        repository="timm/resnet18.tv_in1k",  # torchvision's, with its names
        revision="bbd144b3e5565108aad885f145491d11bc6ce807",
        files=("model.safetensors",),
        sha256="694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
        licence="BSD-3-Clause",
        instead=_FRESH,
    ),
    ModelSource(
        name="videomae-base",
        repository="MCG-NJU/videomae-base",
        revision="dc740ceda42fce44faed2ea03c6d447db72f6af9",
        files=("model.safetensors",),
        sha256="bc053ca2840a038b1068269a4eec06ca569689e9a1ed9376a5b2b8a111be5290",
        licence="CC-BY-NC-4.0",
        instead=_FRESH,
    ),
    ModelSource(
        name="videomae-base-kinetics",
        repository="MCG-NJU/videomae-base-finetuned-kinetics",
        revision="488eb9a0565f257b32866000305c8178965eb9f6",
        files=("model.safetensors",),
        sha256=None,
        licence="CC-BY-NC-4.0",
        instead=_FRESH,
    ),
):
    WEIGHTS.register(_source.name)(_source)
