"""What a stage's product depends on, and the name that follows from it."""

from dataclasses import dataclass

from watermark.lab.store import digest, essence


@dataclass(frozen=True)
class Plan:
    """A stage's product before it is made: all it depends on, and the name that follows from that."""

    name: str
    fields: dict

    @classmethod
    def of(cls, fields):
        name = f"{fields['host']}-{fields['stage']}-{fields['seed']}-{digest(fields, length=10)}"
        return cls(name, fields)

    @property
    def file(self):
        return f"{self.name}.keras"

    @property
    def host(self):
        return self.fields["host"]

    @property
    def stage(self):
        return self.fields["stage"]

    @property
    def seed(self):
        return self.fields["seed"]


def phases(recipes):
    """The field of a plan that says how a host is trained."""
    return {"recipe": [essence(recipe) for recipe in recipes]}
