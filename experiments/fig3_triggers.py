"""Fig. 3: trigger images, and what a mark makes of them: K, its gradient, S0 = K - gradient, and S = M(K). A minute.

    python experiments/fig3_triggers.py
"""

from watermark.lab import figures, runner


def main(lab):
    """Draws the figure fig3 for the profile's keys in the first host asked for."""
    host = (runner.FLAGS.hosts or ["dncnn"])[0]
    keys = [lab.marked(host, seed)[1] for seed in range(min(lab.profile.trials, 3))]
    rows = []
    for key in keys:
        K = key.kind.base(key.trigger)
        rows.append([(key.trigger, ""), (abs(K - key.initial), ""), (key.initial, ""), (key.verification, "")])
    titles = ("trigger image K", "its gradient |∇K|", "S₀ = K − ∇K" if keys[0].kind.task != "sr" else "S₀ = K̂ + ∇K̂",
              "S = M(K), marked")
    names = [f"key of seed {seed}" for seed in range(len(rows))]
    figures.save(lab, "fig3", figures.panels(rows, titles, names, limits=(-1.0, 1.0), width=5.2))


if __name__ == "__main__":
    runner.run_main(main)
