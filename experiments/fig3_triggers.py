"""Fig. 3: trigger images, and what a mark makes of them: K, its gradient, S0 = K - gradient, and S = M(K). A minute.

    python experiments/fig3_triggers.py
"""

from watermark.lab import figures, scripts

LIMITS = (-1.0, 1.0)  # of the grey values shown


def main(lab, options):
    """Draws the figure fig3 for the profile's keys in the first host asked for."""
    host = scripts.one_host(options)
    keys = [lab.key(lab.profile.mark(host, seed)) for seed in range(min(lab.profile.trials, 3))]
    rows = []
    for key in keys:
        K = key.kind.base(key.trigger)
        rows.append([(key.trigger, ""), (abs(K - key.initial), ""), (key.initial, ""), (key.verification, "")])
    titles = ("trigger image K", "its gradient |∇K|", "S₀ = G(K)", "S = M(K), marked")
    names = [f"key of seed {seed}" for seed in range(len(rows))]
    figures.save(lab, "fig3", figures.panels(rows, titles, names, limits=LIMITS, width=5.2),
                 figures.grey_note(LIMITS))


if __name__ == "__main__":
    scripts.run_main(main, takes=["hosts", "trials"])
