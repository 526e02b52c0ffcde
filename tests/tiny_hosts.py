"""Hosts of a few layers and channels, for tests of what is around them; or a script of the project with such hosts:

    python tests/tiny_hosts.py experiments/table6_pruning.py --profile=smoke
"""

import dataclasses
import runpy
import sys
from functools import partial
from pathlib import Path

from watermark import hosts

DEPTHS = {"dncnn": 4, "red": 5, "vdsr": 4, "srdncnn": 4}
TINY = {name: dataclasses.replace(host, build=partial(host.build, depth=DEPTHS[name], filters=16))
        for name, host in hosts.HOSTS.items()}


def run(script):
    """Runs a script as the main program, with tiny hosts."""
    hosts.HOSTS.update(TINY)
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    sys.argv.pop(0)
    run(sys.argv[0])
