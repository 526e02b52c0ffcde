"""Experiments: profiles, specs, kept models, records, tables, and the flags and folders of the scripts.

specs -> cache and makers -> lab; lab and tables -> measures; lab, tables and store -> trial -> runner -> scripts. A
script imports this package first, so that its own words are the first that are seen.
"""

from watermark.quiet import import_tensorflow

import_tensorflow()
