"""Names: the shipped ones spelt out, and what must and must not change one."""

import dataclasses
import itertools
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from watermark.attacks import ATTACKS, Bend, Dim, Finetune, Overwrite, Prune, Round, Serve
from watermark.checkpoints import SHIPPED, models
from watermark.files import digest
from watermark.lab.profiles import PROFILES, get_profile
from watermark.lab.runner import RESULTS
from watermark.lab.specs import UNNAMED, Marked, Trained, named
from watermark.lab.tables import Measure, Table
from watermark.lab.trial import identity
from watermark.recipes import PAPER, QUICK, Embedding, Recipe, Showing

PROFILE = PROFILES["quick"]
HOSTS = {"dncnn": "dncnn-host-0-c275a47804", "red": "red-host-0-d4177cc380", "vdsr": "vdsr-host-0-293e32feee",
         "srdncnn": "srdncnn-host-0-e56b7a788f"}
MARKS = {
    ("dncnn", 0, "deepsigns"): "dncnn-marked-deepsigns-0-fc69c5936b",
    ("dncnn", 0, "adi"): "dncnn-marked-adi-0-f7ced8ea61",
    ("red", 0, "deepsigns"): "red-marked-deepsigns-0-3a18d373ba",
    ("red", 0, "adi"): "red-marked-adi-0-90c7d74222",
    ("srdncnn", 0, "deepsigns"): "srdncnn-marked-deepsigns-0-98d2ca69ab",
    ("srdncnn", 0, "adi"): "srdncnn-marked-adi-0-bdd2e88358",
    ("vdsr", 0, "deepsigns"): "vdsr-marked-deepsigns-0-e6d9668ed2",
    ("vdsr", 0, "adi"): "vdsr-marked-adi-0-8b1abb1a71",
    ("dncnn", 0): "dncnn-marked-ours-0-a40732997d", ("dncnn", 1): "dncnn-marked-ours-1-ab23784b7e",
    ("dncnn", 2): "dncnn-marked-ours-2-2043112d90", ("red", 0): "red-marked-ours-0-76cfeab895",
    ("red", 1): "red-marked-ours-1-1081f0514b", ("vdsr", 0): "vdsr-marked-ours-0-bccfb0e11e",
    ("vdsr", 1): "vdsr-marked-ours-1-80385b514e", ("srdncnn", 0): "srdncnn-marked-ours-0-9660ceb865",
    ("srdncnn", 1): "srdncnn-marked-ours-1-da8775b167", ("red", 2): "red-marked-ours-2-52c750894c",
    ("vdsr", 2): "vdsr-marked-ours-2-dd19928b56", ("srdncnn", 2): "srdncnn-marked-ours-2-d99efcdafd",
}
GENERATORS = {("srdncnn", 0, "corner_sobel_xy_8bit"): "srdncnn-marked-ours-0-4fe92a045e"}  # of the key, not the default
SECOND = {"red": ("red-host-1-2621deb2ee", "red-marked-ours-1-7d4ace3995")}  # of another initialisation, and its mark
LONGER = {"red": "red-host-0-3e88146982"}
ATTACKED = {
    "finetune": Finetune(100, 1e-4, 32, None, "train400", 2000), "prune": Prune(0.3), "round": Round(8),
    "overwrite": Overwrite(500, QUICK, "train400", 3000), "serve": Serve("tflite_int8"),
    "dim": Dim(0.8), "bend": Bend(0.7),
}


def _shipped():
    """Those that git keeps, where it can be asked: experiments leave others beside them."""
    kept = subprocess.run(["git", "ls-files", "--error-unmatch", SHIPPED], cwd=SHIPPED, capture_output=True, text=True,
                          check=False)
    return {file: entry for file, entry in models(SHIPPED).items() if kept.returncode or file in kept.stdout.split()}


def test_the_names_of_all_shipped_models():
    """A changed default, a new field or a new axis must not rename what was made before it."""
    assert {name: PROFILE.host(name).name for name in HOSTS} == HOSTS
    assert {at: PROFILE.mark(*at).name for at in MARKS} == MARKS
    assert {at: PROFILE.mark(*at[:2], gradient=at[2]).name for at in GENERATORS} == GENERATORS
    second = {name: PROFILE.host(name, 1) for name in SECOND}
    assert {name: (host.name, dataclasses.replace(PROFILE.mark(name, 1), parent=host).name)
            for name, host in second.items()} == SECOND
    names = [*HOSTS.values(), *MARKS.values(), *GENERATORS.values(), *itertools.chain(*SECOND.values())]
    assert {f"{name}.keras" for name in names} == set(_shipped())


def test_the_names_of_hosts_that_are_trained_further():
    longer = dataclasses.replace(PROFILE, hosts=PROFILE.longer)
    assert {name: longer.host(name).name for name in longer.hosts} == LONGER
    assert {f"{name}.keras" for name in LONGER.values()} == set(models(SHIPPED / "longer"))
    assert all(PROFILE.longer[name][:len(PROFILE.hosts[name])] == PROFILE.hosts[name] for name in LONGER)


def test_what_is_kept_beside_a_model_is_what_it_is_named_by():
    for file, entry in _shipped().items():
        host, seed, scheme = entry["host"], entry["seed"], entry["stage"].removeprefix("marked-")
        spec = PROFILE.host(host, seed) if entry["stage"] == "host" else PROFILE.mark(host, seed, scheme,
                                                                                      gradient=entry.get("gradient"))
        if entry["stage"] != "host" and entry["parent"] != spec.parent.name:
            spec = dataclasses.replace(spec, parent=PROFILE.host(host, 1))
        assert file == f"{spec.name}.keras" and spec.fields.items() <= entry.items()


def _id(spec, row, seed=0, table="t"):
    """The id of a record whose subject is a spec."""
    one = Table(table, "", [row], lambda *_, **axes: spec, Measure(None, ()))
    return identity(SimpleNamespace(profile=PROFILE), one, row, seed)


@pytest.mark.parametrize(("table", "row", "seed", "expected"), [
    ("table6_pruning", {"host": "dncnn", "scheme": "ours", "rate": 0.25}, 0, "1fd84dd8e4e1"),
    ("table6_pruning", {"host": "srdncnn", "scheme": "ours", "rate": 0.4}, 1, "788d8f927347"),
])
def test_the_ids_of_some_records(table, row, seed, expected):
    """They are those of the records that ship."""
    assert _id(PROFILE.mark(row["host"], seed).under(Prune(row["rate"])), row, seed, table) == expected
    assert expected in (RESULTS / "quick" / f"{table}.jsonl").read_text()


@pytest.mark.parametrize(("profile", "rate"), [("quick", 3e-4), ("paper", PAPER.learning_rate)])
def test_a_plain_mark_is_by_the_papers_loss(profile, rate):
    """Whatever the profile's own recipe and the host's task: Adam, lambda constant, nothing ahead or held."""
    for host in HOSTS:
        recipe = get_profile(profile).plain(host, 0, 0.1).recipe
        assert (recipe.optimizer, recipe.learning_rate, recipe.strength, recipe.decay) == ("adam", rate, 0.1, 1.0)
        assert not (recipe.lookahead or recipe.preserving or recipe.shadow)
        assert recipe.steps == get_profile(profile).mark(host, 0).recipe.steps


def test_every_attack_is_here():
    assert set(ATTACKED) == set(ATTACKS)


def _otherwise(value):
    if isinstance(value, Recipe):
        return dataclasses.replace(value, steps=value.steps + 1)
    others = {str: lambda: f"{value}2", int: lambda: value + 1, float: lambda: value * 1.5 + 1e-3}
    return others.get(type(value), lambda: 7)()


@pytest.mark.parametrize(("name", "field"), [(name, field.name) for name, attack in ATTACKED.items()
                                              for field in dataclasses.fields(attack)])
def test_every_knob_of_every_attack_changes_names_and_ids(name, field):
    mark, attack = PROFILE.mark("dncnn", 0), ATTACKED[name]
    changed = dataclasses.replace(attack, **{field: _otherwise(getattr(attack, field))})
    before, after = mark.under(attack), mark.under(changed)
    assert before.name != after.name
    assert before.under(Prune(0.1)).name != after.under(Prune(0.1)).name
    assert _id(before, {"host": "dncnn"}) != _id(after, {"host": "dncnn"})


@pytest.mark.parametrize("kind", [Recipe, Embedding, Showing])
def test_every_field_of_a_recipe_changes_names(kind):
    recipe = {Recipe: PROFILE.hosts["dncnn"][0], Embedding: QUICK, Showing: PROFILE.visualizer}[kind]
    beside = {"lookahead": 0.0, "shadow": 9}
    needed = {"shadow": {"lookahead": 0.0}, "rivals": beside, "textures": beside, "near": {"preserving": 1e-3}}
    for field in dataclasses.fields(kind):
        value = getattr(recipe, field.name)
        other = {"fold": False, "schedule": "constant", "rivals": 0.5, "textures": 0.5, "projecting": 0.5,
                 "optimizer": "adam", "patch": 7, "clip": 0.7, "average": 0.7, "shown": 1.1}.get(field.name,
                                                                                               _otherwise(value))
        base = dataclasses.replace(recipe, **needed.get(field.name, {}))
        assert named(dataclasses.replace(base, **{field.name: other})) != named(base), field.name


def test_values_left_out_of_names_do_not_follow_the_defaults():
    """By hand: were the default of `strength` 2e-3, a recipe that has it would still be named by it."""
    later = dataclasses.make_dataclass("Later", [("strength", float, 2e-3)], bases=(Recipe,), frozen=True)
    assert named(later(1, 1, 1.0))["strength"] == 2e-3 and "strength" not in named(later(1, 1, 1.0, strength=1e-3))
    assert UNNAMED["strength"] == 1e-3


def test_seed_size_scheme_and_precision_are_in_the_name():
    host = PROFILE.host("red")
    base = Marked(host, QUICK, 0, "train400", "bfloat16")
    others = [dataclasses.replace(base, **change) for change in (
        {"seed": 1}, {"size": 80}, {"scheme": "adi"}, {"precision": "float32"}, {"train_set": "sample_train"},
        {"parent": PROFILE.host("red", seed=1)}, {"gradient": "sobel_xy"})]
    assert len({spec.name for spec in (base, *others)}) == 8
    assert base.name == dataclasses.replace(base, size=None).name


def test_a_mark_of_another_generator_has_a_key_of_it():
    """The default's name is the shipped mark's, asked for or not."""
    usual, other = (PROFILE.mark("vdsr", 0, gradient=name) for name in ("sobel_xy_8bit", "corner_sobel_xy_8bit"))
    assert usual == PROFILE.mark("vdsr", 0) and usual.name != other.name
    assert [PROFILE.kind(mark).gradient for mark in (usual, other)] == ["sobel_xy_8bit", "corner_sobel_xy_8bit"]


def test_a_mark_by_another_recipe():
    assert PROFILE.mark("dncnn", 0, recipe=PAPER).recipe == PAPER
    assert PROFILE.mark("dncnn", 0, recipe=QUICK) == PROFILE.mark("dncnn", 0)


def test_chains():
    mark = PROFILE.mark("dncnn", 3)
    twice = mark.under(*PROFILE.overwriting(mark, 2), Prune(0.5))
    assert twice.root == mark and twice.trained == PROFILE.host("dncnn") and (twice.host, twice.seed) == ("dncnn", 3)
    assert twice.parent.parent == mark.under(*PROFILE.overwriting(mark, 1))
    assert PROFILE.host("red").under(Prune(0.1)).root == PROFILE.host("red")  # an unmarked host can be attacked too


def test_stand_ins_are_named():
    mark = PROFILE.mark("dncnn", 0)
    assert mark.with_sets(lambda name: "sample_train").train_set == "sample_train" and mark.train_set == "train400"
    tuned = mark.under(ATTACKED["finetune"])
    assert tuned.with_sets(lambda name: "other").attack.data == "other" and tuned.attack.image_sets() == ["train400"]
    assert mark.under(Prune(0.1)).with_sets(lambda name: 1 / 0) == mark.under(Prune(0.1))


def test_naming_reads_no_file_and_imports_no_tensorflow():
    code = ("import sys; sys.modules['tensorflow'] = None; sys.modules['keras'] = None\n"
            "import importlib.util as u, watermark.files, watermark.recipes\n"
            "spec = u.spec_from_file_location('specs', sys.argv[1]); specs = u.module_from_spec(spec)\n"
            "sys.modules['specs'] = specs; spec.loader.exec_module(specs)\n"
            "import builtins, os; builtins.open = os.open = None\n"
            "from watermark.recipes import Recipe\n"
            "print(specs.Trained('red', (Recipe(3, 4, 1e-3),), 'train400').name)")
    path = SHIPPED.parent / "watermark" / "lab" / "specs.py"
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False,
                            cwd=SHIPPED.parent)
    assert result.stdout.strip() == Trained("red", (Recipe(3, 4, 1e-3),), "train400").name, result.stderr


def test_digest_and_profiles():
    assert digest({"a": 1, "b": 2.0}) == digest({"b": 2.0, "a": 1}) != digest({"a": 1, "b": 2.5})
    with pytest.raises(ValueError, match="smoke, quick, paper"):
        get_profile("fast")
    for profile in PROFILES.values():
        assert json.dumps(profile.mark("vdsr", 0).fields)


def test_super_resolution_is_marked_otherwise():
    assert PROFILE.mark("dncnn", 0).recipe == QUICK and PROFILE.mark("vdsr", 0).recipe.preserving > 0
    assert PROFILE.mark("vdsr", 0, preserving=0.0).recipe == QUICK
