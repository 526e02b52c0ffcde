"""The networks that carry the watermark. Of frameworks, only Keras is imported: hosts run under any of its backends."""

from watermark.hosts.dncnn import dncnn, srdncnn
from watermark.hosts.folding import fold_batch_norm
from watermark.hosts.known import HOSTS, Host, get_host
from watermark.hosts.red import red
from watermark.hosts.vdsr import vdsr
from watermark.hosts.weights import WeightsError, load_pretrained

__all__ = ["HOSTS", "Host", "WeightsError", "dncnn", "fold_batch_norm", "get_host", "load_pretrained", "red", "srdncnn",
           "vdsr"]
