"""Hosts of a few layers and channels, for tests of what is around them; or a script of the project with such hosts:

    python tests/tiny_hosts.py experiments/table6_pruning.py --profile=smoke
"""

import dataclasses
import runpy
import sys
from functools import partial
from pathlib import Path

from watermark import hosts

BUILDERS = {"dncnn": partial(hosts.dncnn, 4), "red": partial(hosts.red, 5), "vdsr": partial(hosts.vdsr, 4),
            "srdncnn": partial(hosts.dncnn, 4, name="srdncnn")}
TINY = {name: dataclasses.replace(hosts.HOSTS[name], build=partial(build, filters=16))
        for name, build in BUILDERS.items()}


def run(script):
    """Runs a script as the main program, with tiny hosts."""
    hosts.HOSTS.update(TINY)
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    sys.argv.pop(0)
    run(sys.argv[0])
