"""python -m watermark, which imports nothing else from the current folder."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # where Python looks first, were it a folder that someone sent

from watermark.cli import main

if __name__ == "__main__":
    sys.exit(main())
