"""What a mark looks like: K, S0, and the host's answer before and after embedding. Under a minute.

    python experiments/picture_mark.py
"""

from watermark.lab import figures, scripts
from watermark import blackbox, metrics

LIMITS = (-1.0, 1.0)  # of the grey values shown


def main(lab, options):
    """Draws the figure mark for the first host asked for."""
    host = scripts.one_host(options)
    mark = lab.profile.mark(host, 0)
    key = lab.key(mark)
    answers = [blackbox.answer(lab.get(spec), key) for spec in (mark.parent, mark)]
    d = [metrics.distance(answer, key.initial) * 1e3 for answer in answers]
    row = [(key.trigger, ""), (key.initial, f"η = {metrics.threshold(key.initial.size) * 1e3:.2f}·10⁻³"),
           (answers[0], f"d to S₀ = {d[0]:.2f}·10⁻³"), (answers[1], f"d to S₀ = {d[1]:.2f}·10⁻³")]
    titles = ("trigger image K", "wanted: S₀ = G(K)", "M(K) before embedding", "M(K) after embedding")
    figures.save(lab, "mark", figures.panels([row], titles, limits=LIMITS), figures.grey_note(LIMITS))


if __name__ == "__main__":
    scripts.run_main(main)
