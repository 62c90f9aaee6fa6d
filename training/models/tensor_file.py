"""Tensors with a typed header in one safetensors file. Never pickle: reading one runs no code."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from schemas.errors import RunFolderError
from schemas.model import Model
from schemas.settings import problems

_KEY = "mer"
H = TypeVar("H", bound=Model)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Model) -> None:
    """Write a file, whole or not at all; equal input gives equal bytes."""
    part = path.with_name(f"{path.name}.part")
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, part, metadata={_KEY: header.model_dump_json()})
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)


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
    except SafetensorError as error:
        raise RunFolderError(f"{path}: not a readable safetensors file ({error})") from error
    except ValidationError as error:
        raise RunFolderError(f"{path}: not a file that this version of mer reads: {problems(error)}") from error
