"""A served model's input, as the server's metadata have it (Open Inference Protocol, and Triton's configuration)."""

from __future__ import annotations

from dataclasses import dataclass

from watermark.errors import printable

# INT8 is none of them: pixels go out as bytes less 128, or as they are up to 127, and nothing tells which.
TYPES = {"FP16": "float16", "FP32": "float32", "FP64": "float64"} | {
    f"{sign.upper()}{bits}": f"{sign}{bits}" for sign in ("uint", "int") for bits in (8, 16, 32, 64)
    if (sign, bits) != ("int", 8)}
WHITE = {"UINT16": 65535.0}  # what 1.0 is in whole numbers; 255 in the other types


@dataclass(frozen=True)
class Tensor:
    """A model's input, as a server's metadata have it.

    Attributes:
      name: of the tensor, or None.
      datatype: of the tensor, in the words of the Open Inference Protocol.
      shape: with -1 for a free side, or None where the server does not tell.
      most: images that a request may hold, or None.
      exact: images that a request must hold, or None.
    """

    name: str | None = None
    datatype: str = "FP32"
    shape: tuple | None = None
    most: int | None = None
    exact: int | None = None

    @classmethod
    def of(cls, metadata: dict, name: str | None = None, config: dict | None = None) -> Tensor:
        """From the parsed metadata of a model, and Triton's configuration; for the input `name` or the first one."""
        found = [tensor for tensor in metadata["inputs"] if name in (None, tensor["name"])][0]
        shape = tuple(int(side) for side in found["shape"])
        exact = shape[0] if len(shape) == 4 and shape[0] > 0 else None
        most = 1 if len(shape) == 3 else int((config or {}).get("max_batch_size") or 0)
        return cls(str(found["name"]), printable(found["datatype"])[:20], shape, most if most > 0 else None, exact)

    def sides(self, channels: int) -> tuple[int | None, int | None]:
        """(H, W) that the model asks for, None for a free one."""
        sides = (self.shape or ())[-3:]
        if len(sides) < 3:
            return None, None
        height, width = sides[1:] if self.channels_first(channels) else sides[:2]
        return (height if height > 0 else None), (width if width > 0 else None)

    def channels_first(self, channels: int) -> bool:
        """Whether the axes are [N, C, H, W]."""
        sides = (self.shape or ())[-3:]
        return len(sides) == 3 and sides[0] == channels != sides[2]
