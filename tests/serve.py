"""A real model server for the tests: KServe's, in front of an exported SavedModel, on loopback.

    python tests/serve.py SAVED_MODEL PORT
"""

import base64
import io
import sys

import numpy as np
import tensorflow as tf
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from PIL import Image


class Denoiser(Model):
    """Serves both protocols, numbers and PNG."""

    def __init__(self, path):
        super().__init__("denoiser")
        self.network = tf.saved_model.load(path)
        self.ready = True

    def predict(self, payload, headers=None):
        """TensorFlow Serving's dict or the Open Inference Protocol's `InferRequest`."""
        if isinstance(payload, InferRequest):
            tensor = payload.inputs[0]
            if tensor.datatype == "BYTES":
                data = [item.decode() if isinstance(item, bytes) else item for item in tensor.data]
                images, png = np.concatenate([decoded(item) for item in data]), True
            else:
                images, png = np.float32(tensor.data).reshape(tensor.shape), False
            answers = self.network.serve(images).numpy()
            if png:
                output = InferOutput("image", [len(answers)], "BYTES", data=[encoded(answer) for answer in answers])
            else:
                output = InferOutput("image", list(answers.shape), "FP32", data=answers.ravel().tolist())
            return InferResponse(payload.id or "1", self.name, [output])
        rows = payload["instances"]
        if isinstance(rows[0], dict):
            answers = self.network.serve(np.concatenate([decoded(row["b64"]) for row in rows])).numpy()
            return {"predictions": [{"b64": encoded(answer)} for answer in answers]}
        return {"predictions": self.network.serve(np.float32(rows)).numpy().tolist()}


def decoded(text):
    """float32 [1, H, W, 1] of a base64 PNG."""
    return np.float32(Image.open(io.BytesIO(base64.b64decode(text))))[None, ..., None] / 255.0


def encoded(image):
    """Base64 PNG of [H, W, 1]."""
    file = io.BytesIO()
    Image.fromarray(np.uint8(np.round(np.clip(image[..., 0], 0, 1) * 255))).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, workers=1).start([Denoiser(sys.argv[1])])
