"""Tensors with a typed header in one safetensors file. Never pickle: reading one runs no code."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from schemas.errors import RunFolderError
from schemas.model import Model
from schemas.output import replacing
from schemas.settings import problems

_KEY = "mer"
H = TypeVar("H", bound=Model)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Model) -> None:
    """Write a file, whole or not at all; equal input gives equal bytes."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as file:
        file.write(save(contiguous, metadata={_KEY: header.model_dump_json()}))


def read_tensors(path: Path, header: type[H], *, device: torch.device | str = "cpu") -> tuple[dict[str, Tensor], H]:
    """Read all tensors and the header.

    Raises:
        RunFolderError: there is no such file, or it is none that this version reads.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            text = (file.metadata() or {}).get(_KEY)
            if text is None:
                raise RunFolderError(f"{path}: a safetensors file, but not one made by mer")
            return {name: file.get_tensor(name) for name in file.keys()}, header.model_validate_json(text)  # noqa: SIM118
    except FileNotFoundError as error:
        raise RunFolderError(f"{path}: no such file; is the training finished?") from error
    except (SafetensorError, OSError, RuntimeError) as error:  # the last is PyTorch's word for the second
        raise RunFolderError(f"{path}: not a readable safetensors file ({error})") from error
    except ValidationError as error:
        raise RunFolderError(f"{path}: not a file that this version of mer reads: {problems(error)}") from error
