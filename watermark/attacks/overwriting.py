"""Overwriting (section V-E4): the thief embeds a key of his own, by the owner's own method."""

from watermark.embedding import embed as overwrite

__all__ = ["overwrite"]
