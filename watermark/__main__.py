"""python -m watermark, which runs nothing that lies in the current folder."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # where Python looks first, were it a folder that someone sent

from watermark.cli import main

if __name__ == "__main__":
    sys.exit(main())
