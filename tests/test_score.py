"""The score against the paper, counted by hand."""

import pytest

from watermark.lab.paper import Paper, PaperError, paper
from watermark.lab.score import Count, Score, score, unmarked_in

# Table VI as ours was printed when the score was written: trials of a row, and how many passed by d and by NCC.
PASSED = {
    "dncnn": {0.25: (3, 3, 2), 0.30: (3, 3, 1), 0.35: (3, 3, 0), 0.40: (3, 2, 0)},
    "red": {0.08: (2, 2, 2), 0.10: (2, 2, 2), 0.15: (2, 2, 2), 0.20: (2, 2, 2)},
    "vdsr": {0.25: (2, 2, 2), 0.30: (2, 2, 2), 0.35: (2, 2, 2), 0.40: (2, 2, 2)},
    "srdncnn": {0.25: (2, 2, 2), 0.30: (2, 2, 2), 0.35: (2, 2, 2), 0.40: (2, 2, 2)},
}


def _rows():
    for host, rates in PASSED.items():
        for rate, (n, d, ncc) in rates.items():
            yield ({"host": host, "scheme": "ours", "rate": rate},
                   [{"verified": trial < d, "ncc_verified": trial < ncc, "psnr": 29.0} for trial in range(n)])


def test_table6_as_counted_by_hand():
    found = score(_rows(), paper("table6_pruning"))
    assert found.d == Count(12, 16, 28, 36)  # the paper fails all four hosts at their highest rate, and only there
    assert found.ncc == Count(11, 16, 24, 36)  # wrong: DnCNN .30, .35; RED .15, .20; SR-DnCNN .40
    assert found.psnr == Count()  # after an attack, none is asked for
    assert str(found) == ("d verdicts agree in 12 of 16 cells (28 of 36 trials), "
                          "NCC verdicts in 11 of 16 (24 of 36 trials)")
    wrong = {(d.row["host"], d.row["rate"]) for d in found.disagreements if d.value == "verified"}
    assert wrong == {("dncnn", 0.4), ("red", 0.2), ("vdsr", 0.4), ("srdncnn", 0.4)}
    wrong = {(d.row["host"], d.row["rate"]) for d in found.disagreements if d.value == "ncc_verified"}
    assert wrong == {("dncnn", 0.3), ("dncnn", 0.35), ("red", 0.15), ("red", 0.2), ("srdncnn", 0.4)}
    assert len(found.disagreements) == 9


def test_a_disagreement_says_what_is_known():
    lines = [str(d) for d in score(_rows(), paper("table6_pruning")).disagreements]
    assert lines[0] == ("host dncnn, scheme ours, rate 0.3: NCC > .95 in 1 of 3 trials, in the paper yes; rate printed "
                        "0.22, read as 0.30: it stands between 0.25 and 0.35, and so do its numbers")
    assert "host dncnn, scheme ours, rate 0.4: d ≤ η in 2 of 3 trials, in the paper no" in lines


PRUNED = {"host": "dncnn", "scheme": "ours", "rate": 0.25}  # verified in the paper, by both rules
ADI = PRUNED | {"scheme": "adi"}  # failed by NCC; no verdict by d printed


def test_half_of_the_trials_is_no_agreement():
    found = score([(PRUNED, [{"verified": True}, {"verified": False}])], paper("table6_pruning"))
    assert found.d == Count(0, 1, 1, 2) and len(found.disagreements) == 1


def test_what_was_not_measured_or_not_printed_does_not_count():
    table = paper("table6_pruning")
    nothing = [(PRUNED, []), (PRUNED, [{"psnr": 30.0}]), (PRUNED, [{"verified": None}]), (ADI, [{"verified": True}]),
               (PRUNED | {"rate": 0.5}, [{"verified": True, "ncc_verified": True}])]
    for row in nothing:
        assert score([row], table) == Score(), row
    assert score([(PRUNED, [{"verified": True}])], Paper()) == Score()
    assert str(Score()) == "no cell to compare"
    assert score([(ADI, [{"ncc_verified": False}])], table).ncc == Count(1, 1, 1, 1)


def _fidelity(*psnrs):
    return [({"host": "dncnn", "lam": lam, "test_set": "set12"}, [{"psnr": psnr} for psnr in trials])
            for lam, trials in zip((0, 1e-3, 1e-2, 1.0), psnrs, strict=True)]


def test_psnr_is_compared_with_the_unmarked_row_of_the_table():
    rows = _fidelity([30.41], [30.36], [30.46], [30.30])  # -.05 and +.05 are within, rounding or not
    found = score(rows, paper("table1_fidelity_denoising"), unmarked_in(rows, lam=0))
    assert found.psnr == Count(2, 3, 2, 3)
    assert str(found) == "PSNR within 0.05 dB of the unmarked host in 2 of 3 cells"
    assert [str(d) for d in found.disagreements] == [
        "host dncnn, lam 1.0, test_set set12: PSNR 30.30 dB, -0.11 dB from the unmarked host"]


def test_psnr_is_the_mean_over_trials():
    rows = _fidelity([30.40], [30.30, 30.50], [30.40, 30.52], [])  # one cell within by its mean, by neither trial
    found = score(rows, paper("table1_fidelity_denoising"), unmarked_in(rows, lam=0.0))
    assert found.psnr == Count(1, 2, 1, 4)


def test_psnr_where_the_papers_own_mark_costs_more_is_counted_apart():
    """Here at every λ but 0.001, by an unmarked host that is made up."""
    rows = _fidelity([30.41], [30.36], [30.20], [30.41])
    found = score(rows, paper("table1_fidelity_denoising"), unmarked_in(rows, lam=0),
                  lambda row: paper("table1_fidelity_denoising").find(row).get("psnr", 0.0) + (
                      0.0 if row["lam"] == 1e-3 else 0.2))
    assert found.psnr == Count(1, 1, 1, 1) and found.dearer == Count(1, 2, 1, 2)
    assert str(found) == ("PSNR within 0.05 dB of the unmarked host in 1 of 1 cells, in 1 of 2 of those where the "
                          "paper's own mark costs more")
    assert not found.disagreements


def test_cells_of_one_measurement_are_told():
    rows = [(PRUNED, [{"verified": True, "distance": 4e-3}]), (PRUNED | {"rate": 0.3}, [{"verified": True}])]
    one = score(rows, paper("table6_pruning"))
    assert str(one) == "d verdicts agree in 2 of 2 cells"
    assert str(one + score(rows[:1], paper("table6_pruning"))) == (
        "d verdicts agree in 3 of 3 cells (at most 2 measurements: tables share some)")


def test_verdicts_that_a_repeat_may_turn_are_told():
    near, far, own = ({"verified": d < 6e-3, "distance": d, "threshold": 6e-3} for d in (6.2e-3, 4e-3, 1e-3))
    one = score([(PRUNED, [near])], paper("table6_pruning"))
    assert str(one).endswith("(1 of them with a d within 5% of η)") and "within 5% of η" in one.disagreements[0].says
    assert not score([(PRUNED, [far]), (PRUNED | {"rate": 0.3}, [own])], paper("table6_pruning")).edge


def test_the_quality_of_other_schemes_is_no_cell():
    """Ours and the unmarked host's are."""
    rows = [({"host": "dncnn", "scheme": scheme}, [{"psnr": 30.4}]) for scheme in ("none", "deepsigns", "adi", "ours")]
    table = paper("table3_fidelity_schemes")
    assert score(rows, table, unmarked_in(rows, scheme="none")).psnr == Count(1, 1, 1, 1)


def test_no_unmarked_host_no_count():
    rows = _fidelity([], [30.36], [30.46], [30.30])
    assert score(rows, paper("table1_fidelity_denoising"), unmarked_in(rows, lam=0)) == Score()


def test_scores_add_up():
    rows = _fidelity([30.41], [30.36], [30.46], [30.30])
    first = score(_rows(), paper("table6_pruning"))
    second = score(rows, paper("table1_fidelity_denoising"), unmarked_in(rows, lam=0))
    both = sum([first, second], Score())
    assert (both.d, both.ncc, both.psnr) == (first.d, first.ncc, second.psnr)
    assert both.disagreements == first.disagreements + second.disagreements
    assert (first + first).d == Count(24, 32, 56, 72)


def test_a_row_that_leaves_the_line_open():
    with pytest.raises(PaperError, match="without scheme, rate"):
        score([({"host": "dncnn"}, [{"verified": True}])], paper("table6_pruning"))
