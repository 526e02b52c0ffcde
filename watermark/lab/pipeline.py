"""Host -> marked model -> verdict, each stage made once and kept under a digest of what it depends on."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import keras

import watermark
from watermark import attacks, data, inference
from watermark.files import sha256, whole
from watermark.hosts import HOSTS, fold_batch_norm, get_host
from watermark.lab.profiles import Profile, Recipe
from watermark.lab.store import digest, essence
from watermark.tasks import TASKS, task_alone
from watermark.training import Compute, fit

SHIPPED = Path(__file__).parents[2] / "checkpoints"
SCHEMES = {"ours": watermark}  # a scheme is a module with make_key, embed and verify
ATTACKS = {"finetuned": 1, "overwritten": 2}  # their place among the seeds of batches
STAND_INS = {"train": "sample_train", "test": "sample_test"}


class CheckpointError(RuntimeError):
    """A checkpoint that is damaged or missing and cannot be made again on the spot."""


@dataclass(frozen=True)
class Plan:
    """A stage's product before it is made: all it depends on, and the name that follows from that."""

    name: str
    fields: dict

    @classmethod
    def of(cls, fields):
        name = f"{fields['host']}-{fields['stage']}-{fields['seed']}-{digest(fields, length=10)}"
        return cls(name, fields)

    @property
    def file(self):
        return f"{self.name}.keras"

    @property
    def host(self):
        return self.fields["host"]

    @property
    def stage(self):
        return self.fields["stage"]

    @property
    def seed(self):
        return self.fields["seed"]


@dataclass(frozen=True, eq=False)
class Lab:
    """The stages under one profile; each is a method that returns what it made or kept.

    Attributes:
      profile: a `Profile`.
      workdir: folder of `checkpoints/`, `results/`, `runs/` and `data/`.
      data_dir: local image sets, or None for the environment's WATERMARK_DATA.
      compute: precision and so on.
      say: prints a line for the user.
    """

    profile: Profile
    workdir: Path = Path(".")
    data_dir: str | None = None
    compute: Compute = Compute()
    say: object = print

    # --- images -------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _images(self):
        return {}

    def images(self, name, role):
        """(name of the set used, its images); the bundled sample stands in, with a line, where the profile lets it."""
        if name not in self._images:
            try:
                found = name, data.images(name, self.data_dir, Path(self.workdir) / "data")
            except data.DataError as error:
                if not self.profile.sample:
                    raise
                stand_in = STAND_INS[role]
                self.say(f"NOTE: {stand_in} (bundled images) stands in for {name}: {error}")
                found = stand_in, data.images(stand_in)
            self._images[name] = found[0], list(found[1].values())
        return self._images[name]

    def test_images(self, host):
        """(name, images) that the robustness tables measure PSNR on."""
        name, images = self.images(get_host(host).test_sets[0], "test")
        side = self.profile.crop
        return name, [image[:side, :side] for image in images]

    def _batches(self, plan, recipe, offset=0):
        spec = HOSTS[plan.host]
        _, images = self.images(plan.fields["train_set"], "train")
        # Stages of the same seed see other batches.
        seed = plan.seed if plan.stage == "host" else 1000 + plan.seed + 1000 * ATTACKS.get(plan.stage, 0)
        return TASKS[spec.task].batches(images, seed=seed + offset, batch_size=recipe.batch_size,
                                        size=recipe.patch or spec.patch)

    # --- stages -------------------------------------------------------------------------------------------------

    def host(self, name):
        """The trained host: shipped, kept, or trained now."""
        return self._made(self.plan_host(name), self._train_host)

    def plan_host(self, name):
        """What the host depends on, before anything is made."""
        return self._plan(name, "host", 0, _phases(self.profile.host))

    def has_host(self, name):
        """Whether the host is trained already."""
        fields = self._fields(name, "host", 0, _phases(self.profile.host))
        return any(self._kept(Plan.of(fields | {"train_set": s})) for s in (HOSTS[name].train_set, STAND_INS["train"]))

    def _train_host(self, plan, folder):
        spec = HOSTS[plan.host]
        task = TASKS[spec.task]
        images = self.test_images(plan.host)[1]
        small = [image for image in images if max(image.shape) <= 256] or images[:1]

        def validate(M):
            return {"psnr": float(inference.evaluate(M, task, small, precision=self.compute.precision).mean())}

        model, done = self._earlier_host(plan)
        for phase, recipe in list(enumerate(self.profile.host))[done:]:
            cosine = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.horizon or recipe.steps)
            fit(model, task_alone, self._batches(plan, recipe, 100 * phase), steps=recipe.steps, learning_rate=cosine,
                clip=spec.clip, folder=folder / f"phase{phase}", validate=validate, compute=self.compute,
                title=f"training {plan.host}, phase {phase + 1} of {len(self.profile.host)}")
        return model

    def _earlier_host(self, plan):
        """(model, phases behind it): a kept host of the longest beginning of the recipe, or an untrained one."""
        recipe = self.profile.host
        for done in range(len(recipe) - 1, 0, -1):
            earlier = Plan.of(plan.fields | _phases(recipe[:done]))
            if self._kept(earlier):
                return self._made(earlier, None), done
        keras.utils.set_random_seed(plan.seed)
        model = HOSTS[plan.host].build()
        return fold_batch_norm(model) if recipe[0].fold else model, 0

    def key(self, host, seed, scheme="ours"):
        """The key of a trial, as it is before embedding."""
        spec = get_host(host)
        return SCHEMES[scheme].make_key(seed, size=spec.trigger, task=spec.task)

    def marked(self, host, seed, scheme="ours"):
        """(marked model, key with its S updated)."""
        key = self.key(host, seed, scheme)

        def make(plan, folder):
            return self._embed(self.host(host), key, plan, folder, scheme)

        marked = self._made(self.plan_marked(host, seed, scheme), make)
        return marked, SCHEMES[scheme].update_key(key, marked)

    def _embed(self, model, key, plan, folder, scheme="ours"):
        recipe = self.profile.embed
        return SCHEMES[scheme].embed(
            model, key, self._batches(plan, recipe), steps=recipe.steps, folder=folder,
            learning_rate=recipe.learning_rate, strength=recipe.strength, copies=recipe.copies, fold=recipe.fold,
            reach=recipe.reach, boost=recipe.boost, compute=self.compute,
            title=f"embedding into {plan.host}, seed {plan.seed}")

    def plan_marked(self, host, seed, scheme="ours"):
        """What a marked model depends on, before anything is made."""
        fields = {"parent": self.plan_host(host).name, "recipe": essence(self.profile.embed)}
        return self._plan(host, f"marked-{scheme}", seed, fields)

    def plan_attack(self, host, seed, attack, recipe, scheme="ours"):
        """What an attacked model depends on."""
        fields = {"parent": self.plan_marked(host, seed, scheme).name, "recipe": essence(recipe)}
        return self._plan(host, attack, seed, fields)

    def finetuned(self, host, seed, *, steps, learning_rate, scheme="ours"):
        """The marked model of a trial after fine-tuning on the host's own data."""
        embed = self.profile.embed
        recipe = Recipe(steps, embed.batch_size, learning_rate, patch=embed.patch)

        def make(plan, folder):
            return attacks.finetune(self.marked(host, seed, scheme)[0], self._batches(plan, recipe), steps=steps,
                                    learning_rate=learning_rate, folder=folder, compute=self.compute)

        return self._made(self.plan_attack(host, seed, "finetuned", recipe, scheme), make)

    def overwritten(self, host, seed, *, scheme="ours"):
        """The marked model of a trial after a thief has embedded a key of his own by the same recipe."""

        def make(plan, folder):
            marked, _ = self.marked(host, seed, scheme)
            return self._embed(marked, self.key(host, 500 + seed, scheme), plan, folder, scheme)

        return self._made(self.plan_attack(host, seed, "overwritten", self.profile.embed, scheme), make)

    def judge(self, host, scheme, model, key):
        """The numbers of a record: mean PSNR on the host's first test set, and the verdict on `model`."""
        verdict = SCHEMES[scheme].verify(model, key, null_keys=self.profile.null_keys)
        psnr = inference.evaluate(model, TASKS[HOSTS[host].task], self.test_images(host)[1]).mean()
        names = ("distance", "ncc", "verified", "ncc_verified", "rho", "p_value")
        return {"psnr": float(psnr)} | {name: getattr(verdict, name) for name in names}

    # --- keeping ------------------------------------------------------------------------------------------------

    def _plan(self, host, stage, seed, fields):
        """The plan on the host's own train set if its product is kept or that set is here, else on the stand-in."""
        wanted = get_host(host).train_set
        fields = self._fields(host, stage, seed, fields)
        plan = Plan.of(fields | {"train_set": wanted})
        if self._kept(plan):
            return plan
        return Plan.of(fields | {"train_set": self.images(wanted, "train")[0]})

    def _fields(self, host, stage, seed, fields):
        # A host is the same host in every precision, or another flag would mean hours of training.
        precision = {} if stage == "host" else {"precision": self.compute.precision}
        return fields | precision | {"host": host, "stage": stage, "seed": seed}

    def _kept(self, plan):
        """Paths and manifest entries under which the product of `plan` is kept."""
        folders = dict.fromkeys(folder.resolve() for folder in (Path(self.workdir) / "checkpoints", SHIPPED))
        found = ((folder / plan.file, read_manifest(folder).get(plan.file)) for folder in folders)
        return [(path, entry) for path, entry in found if entry and path.exists()]

    def _made(self, plan, make):
        for path, entry in self._kept(plan):
            if sha256(path) == entry["sha256"]:
                return keras.saving.load_model(path, compile=False, safe_mode=True)
            damaged = f"{path} is damaged (its SHA-256 is not the manifest's)"
            if plan.stage == "host":  # hours of training are not started unasked
                raise CheckpointError(f"{damaged}; restore it with 'git checkout', or delete it to train it again")
            self.say(f"NOTE: {damaged}; it is made again")
        model = make(plan, Path(self.workdir) / "runs" / plan.name)
        self._keep(model, plan)
        return model

    def _keep(self, model, plan):
        path = Path(self.workdir) / "checkpoints" / plan.file
        with whole(path) as temporary:
            model.save(temporary)
        self.annotate(plan.file, plan.fields | {"sha256": sha256(path)})

    def annotate(self, file, fields):
        """Adds fields to a checkpoint's entry in the manifest."""
        folder = Path(self.workdir) / "checkpoints"
        manifest = read_manifest(folder)
        manifest[file] = manifest.get(file, {}) | fields
        with whole(folder / "manifest.json") as temporary:
            temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def _phases(recipes):
    return {"recipe": [essence(recipe) for recipe in recipes]}


def read_manifest(folder):
    """{file: {"sha256", "recipe", ...}} of a checkpoint folder."""
    path = Path(folder) / "manifest.json"
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}); restore it with 'git checkout {path}'") from error
