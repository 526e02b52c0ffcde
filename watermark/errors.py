"""What can go wrong, under one name: `except watermark.WatermarkError` catches every refusal of this project's own."""


class WatermarkError(Exception):
    """Base of the project's errors; each is a ValueError or a RuntimeError too, and its text one line for a user."""
