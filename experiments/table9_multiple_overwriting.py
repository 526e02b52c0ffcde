"""Table IX: does the mark survive up to five further keys, one after the other?

In the paper it does. Here one key is survived by all hosts, by RED all five (d = 4.4, 5.4, 5.8, 6.0, 5.9·10⁻³);
of DnCNN's are expected 5.1, 6.3, 7.0, 7.0 and 7.2, beyond η from the second on; the evidence finds it up to the third
(z = 7.1), RED's up to the third (9.5), and by .03 after the fourth (6.09 of 6.06). Each embedding takes 5 to 10
minutes on 2 cores with AVX512-BF16; it resumes.

    python experiments/table9_multiple_overwriting.py
"""

from watermark.lab import measures, scripts
from watermark.hosts import HOSTS
from watermark.lab.paper import paper
from watermark.lab.tables import Table, grid

GRID = grid(host=tuple(HOSTS), keys=(1, 2, 3, 4, 5))


def subject(profile, seed, host, keys):
    """A marked host after further keys, each by the owner's own recipe."""
    mark = profile.mark(host, seed)
    return mark.under(*profile.overwriting(mark, keys))


TABLE = Table("table9_multiple_overwriting", "Table IX. Verification after further keys, beside the paper's numbers.",
              GRID, subject, measures.OVERWRITING, paper("table9_multiple_overwriting"))

if __name__ == "__main__":
    scripts.run(TABLE)
