"""Many suspects, many keys: one table, in whose evidence every pair that was tried counts; and what to note on each."""

import contextlib
import dataclasses
import json
import secrets
import sys
from pathlib import Path

from watermark import blackbox, evidence, judgement, verification
from watermark.cli import common, results
from watermark.errors import FAILURES, one_line, told
from watermark.fitting import RANGES
from watermark.keys import KeyFileError, load_key
from watermark.ports import SuspectError

# By the noncentral t: the best of some 1e5 keys, and then seeds that happen to draw its fresh keys close together.
NAMED = ("the fresh keys follow from a seed that was named, by --fresh_seed or with the questions: unless you drew it, "
         "it may have been chosen, and a claim then takes about a million answers' work")
FOR_ONE = ("report", "verifier", "commitment", "timestamp", "tsa_roots", "visualizer", "unmarked", "write_queries")


def several(values):
    """Whether the flags name more than one suspect or key."""
    return len(values.suspect or ()) > 1 or any(Path(key).is_dir() for key in values.key)


def named(values):
    """Whether the fresh keys for the one suspect in the flags follow from what others may have chosen."""
    return bool(values.fresh_seed) or results.is_folder(values.suspect)


def notes(suspect, verdict, keys=1):
    """What was done to make question and answer fit, a line each; so many keys are put to the suspect."""
    ways = (f"with the question {verdict.turn}" * bool(verdict.turn), verdict.asked,
            f"with the answer {verdict.reading}" * bool(verdict.reading))
    if verdict.tries == keys or verdict.stands_out and not any(ways):  # nothing but the answer as it stands
        return suspect.notes
    tries, z = verdict.tries, verdict.z_needed
    among = f", of {keys} keys," if keys > 1 else ","
    found = f"found {' and '.join(filter(None, ways))}" if any(ways) else "found in none"
    return [*suspect.notes, f"the mark was looked for in {tries // keys} ways of asking and of reading the "
            f"answer, {found}; p is {tries} times that of one{among} and z must reach {z:.2f}"]


def range_hint(suspect, key, known):
    """A line where a mark that was not found would be, were the suspect asked on another range of pixels; or none."""
    found = []
    for pixels in RANGES[1:] if suspect.readable and not (suspect.pixels or known.stands_out) else ():
        with contextlib.suppress(SuspectError):  # numbers so large may end in none
            verdict = verification.verify(blackbox.as_suspect(suspect, key.kind, pixels=pixels), key,
                                          null_keys=evidence.RANKED)
            if verdict.among(len(RANGES)).stands_out and verdict.rho > known.rho:
                found.append(f"on {pixels} its rho is {verdict.rho:.3f}: verify with --range={pixels.told}")
    return found


def run(values, open_suspect, judge):
    """Asks every suspect for every key and prints a table.

    Args:
      values: the flags; --suspect and --key are lists.
      open_suspect: function of the flags, with one suspect in them, as for one verification.
      judge: likewise, of flags, suspect and key.

    Returns:
      0 where a mark was found, 2 where none was and something could not be asked, 1 otherwise.
    """
    common.required(values, "suspect")
    common.check_unused(values, FOR_ONE, "is for one suspect and one key")
    keys, rows = _keys(values.key)
    given, drawn = values.fresh_seed, secrets.token_hex(16)  # one for all: asked twice, nobody sees what comes again
    for spec in list(values.suspect):
        values.suspect, values.fresh_seed = spec, given
        by_others = named(values)
        if not results.is_folder(spec):
            values.fresh_seed = given or drawn
        rows += [{"seed_named": by_others} | row for row in _rows(values, spec, keys, open_suspect, judge)]
    tried = sum("error" not in row for row in rows)
    rows = [row if "error" in row else _corrected(row, values.rule, tried) for row in rows]
    found = any(row.get("found") for row in rows)
    if values.json:
        print(json.dumps(results.plain({"found": found, "rule": values.rule, "tried": tried, "rows": rows}), indent=1,
                         ensure_ascii=False))
    else:
        print(_words(rows, tried))
    return 0 if found else 2 if any("error" in row for row in rows) else 1


def _keys(names):
    """({path: key} of the files named, those in folders included; a row for each that cannot be read)."""
    keys, rows = {}, []
    for name in names:
        inside = sorted(Path(name).glob("*.npz")) if Path(name).is_dir() else [Path(name)]
        if not inside:
            raise ValueError(f"--key={name}: no key file (.npz) in this folder")
        for path in map(str, inside):
            try:
                keys[path] = load_key(path)
            except KeyFileError as error:
                rows.append({"suspect": "", "key": path, "error": told(error)})
    if not keys:
        raise ValueError(rows[0]["error"])
    return keys, rows


def _rows(values, spec, keys, open_suspect, judge):
    """A row for each key; what cannot be asked is said in its row and ends nothing."""
    name = results.name(spec)
    try:
        suspect = open_suspect(values)
    except FAILURES as error:
        return [{"suspect": name, "key": path, "error": told(error)} for path in keys]
    rows = []
    for path, key in keys.items():
        row = {"suspect": name, "key": path}
        try:
            asked = blackbox.as_suspect(suspect, key.kind, pixels=common.pixels(values), batch=values.batch)
            judged = judge(values, asked, key)
        except FAILURES as error:
            rows.append(row | {"error": told(error)})
            continue
        handed = [judgement.HANDED] if judged.handed and judged.verdict.stands_out else []
        row |= {"verdict": judged.verdict, "notes": [*notes(asked, judged.verdict), *handed]}
        verdict = judged.verdict  # a table comes at the end, if no kill comes first
        print(one_line(f"asked: {name}, {path}: ρ = {verdict.rho:.3f}, z = {verdict.z_score:.1f}"), file=sys.stderr)
        for line in row["notes"]:
            print(f"note: {one_line(f'{name}, {path}: {line}')}", file=sys.stderr)
        rows.append(row)
    return rows


def _corrected(row, rule, tried):
    """The row with its numbers, and what they are worth among so many pairs."""
    verdict = row["verdict"]
    among = verdict.among(tried)
    found = judgement.RULES[rule](among)
    return row | {"verdict": dataclasses.asdict(verdict), "p_corrected": among.p_value,
                  "z_needed_corrected": among.z_needed, "found": found,
                  "notes": row["notes"] + ([NAMED] if found and row["seed_named"] else [])}


def _words(rows, tried):
    """The table for a terminal."""
    head = ("suspect", "key", "ρ", "z", "p", f"p x {tried}", "d <= η", "found")
    cells = [head]
    for row in rows:
        if "error" in row:
            cells.append((*_pair(row), "", "", "", "", "", "error"))
            continue
        v = row["verdict"]
        cells.append((*_pair(row), f"{v['rho']:.3f}", f"{v['z_score']:.1f}", f"{v['p_value']:.2g}",
                      f"{row['p_corrected']:.2g}", "yes" if v["within_threshold"] else "no",
                      "YES" if row["found"] else "no"))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    lines += [f"error: {one_line(row['suspect'] or row['key'])}: {row['error']}" for row in rows if "error" in row]
    lines += [f"{', '.join(_pair(row))}: nothing can be claimed with this key: {one_line(row['verdict']['refusal'])}"
              for row in rows if "error" not in row and row["verdict"]["refusal"]]
    lines += [f"{', '.join(_pair(row))}: {note}" for note in (NAMED, judgement.HANDED) for row in rows
              if note in row.get("notes", ())]
    lines.append(f"{tried} pairs were tried: p x {tried} is the chance that any of them looks so good for nothing, and "
                 "the bar on z is that of one try in so many. The threshold η knows no such correction.")
    return "\n".join(lines)


def _pair(row):
    """What was asked for what, each in one line."""
    return one_line(row["suspect"]), one_line(row["key"])
