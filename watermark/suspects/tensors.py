"""A served model's input, as the server's metadata have it.

Those of the Open Inference Protocol, with Triton's configuration, and of TensorFlow Serving
(https://www.tensorflow.org/tfx/serving/api_rest#model_metadata_api).
"""

from __future__ import annotations

from dataclasses import dataclass

from watermark.errors import printable

# INT8 is none of them: pixels go out as bytes less 128, or as they are up to 127, and nothing tells which.
TYPES = {"FP16": "float16", "FP32": "float32", "FP64": "float64"} | {
    f"{sign.upper()}{bits}": f"{sign}{bits}" for sign in ("uint", "int") for bits in (8, 16, 32, 64)
    if (sign, bits) != ("int", 8)}
SERVING = {"FLOAT": "FP32", "HALF": "FP16", "DOUBLE": "FP64", "BFLOAT16": "FP32", "STRING": "BYTES"}  # after DT_
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
      answered: datatype of the answer, where the metadata say it beforehand.
    """

    name: str | None = None
    datatype: str = "FP32"
    shape: tuple | None = None
    most: int | None = None
    exact: int | None = None
    answered: str = "FP32"

    @classmethod
    def of(cls, metadata: dict, name: str | None = None, config: dict | None = None) -> Tensor:
        """From the parsed metadata of a model, and Triton's configuration; for the input `name` or the first one."""
        found = [tensor for tensor in metadata["inputs"] if name in (None, tensor["name"])][0]
        shape = tuple(int(side) for side in found["shape"])
        exact = shape[0] if len(shape) == 4 and shape[0] > 0 else None
        most = 1 if len(shape) == 3 else int((config or {}).get("max_batch_size") or 0)
        return cls(str(found["name"]), printable(found["datatype"])[:20], shape, most if most > 0 else None, exact)

    @classmethod
    def served(cls, metadata: dict, name: str | None, signature: str | None, output: str | None) -> Tensor:
        """From TensorFlow Serving's parsed metadata of a model; it has the given name only, one input needs none.

        An error of any kind where they do not have that signature, or where no name tells which of several inputs.
        """
        found = metadata["metadata"]["signature_def"]["signature_def"][signature or "serving_default"]
        inputs, outputs = found["inputs"], found["outputs"]
        ((_, entry),) = [(key, entry) for key, entry in inputs.items() if name in (None, key)]
        exits = [entry for key, entry in outputs.items() if output in (None, key)]
        shape = tuple(int(side["size"]) for side in entry["tensor_shape"]["dim"])
        if len(shape) != 4:  # of an unknown rank, with no sides
            shape = None
        answered = _datatype(exits[0]["dtype"]) if len(exits) == 1 else "FP32"
        return cls(name, _datatype(entry["dtype"]), shape, None, shape[0] if shape and shape[0] > 0 else None, answered)

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


def _datatype(text):
    kind = str(text).removeprefix("DT_")
    return printable(SERVING.get(kind, kind))[:20]
