"""Host -> marked model -> verdict, each stage made once and kept under a digest of what it depends on."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

import watermark
from watermark import attacks, checkpoints, data, inference
from watermark.checkpoints import SHIPPED, CheckpointError
from watermark.files import sha256, whole
from watermark.hosts import HOSTS, fold_batch_norm, get_host
from watermark.lab.plan import Plan, phases
from watermark.lab.profiles import Profile
from watermark.lab.store import essence
from watermark.recipes import Recipe
from watermark.tasks import TASKS, task_alone
from watermark.training import Compute, fit, read_history
from watermark.verification import null_label
from watermark.visualizer import REFUSED, SHOWN, as_picture, train_visualizer

SCHEMES = {"ours": watermark}  # a scheme is a module with make_key, embed and verify
ATTACKS = {"finetuned": 1, "overwritten": 2}  # their place among the seeds of batches
STAND_INS = {"train": "sample_train", "test": "sample_test"}


@dataclass(frozen=True, eq=False)
class Lab:
    """The stages under one profile; each is a method that returns what it made or kept.

    Attributes:
      profile: a `Profile`.
      workdir: folder of `checkpoints/`, `results/`, `runs/` and `data/`.
      data_dir: local image sets, or None for the environment's WATERMARK_DATA.
      compute: precision and so on.
      deadline: `time.monotonic()` at which the training of a host stops, to be gone on with later; or None.
      pictures: copyright images, a set's name or a folder of the user's.
      say: prints a line for the user.
    """

    profile: Profile
    workdir: Path = Path(".")
    data_dir: str | None = None
    compute: Compute = Compute()
    deadline: float | None = None
    pictures: str = "drawn"
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

    def test_images(self, host, wanted=None):
        """(name, images) of a test set, by default the one that the robustness tables measure PSNR on."""
        name, images = self.images(wanted or get_host(host).test_sets[0], "test")
        side = self.profile.crop
        return name, [image[:side, :side] for image in images]

    def copyright_images(self):
        """{name: uint8 [320, 320]}: the copyright images that visualizers are trained to show."""
        if self.pictures in data.names():
            found = data.images(self.pictures, self.data_dir, Path(self.workdir) / "data")
        else:
            found = data.folder_images(self.pictures)
        return {name: as_picture(image) for name, image in found.items()}

    def _batches(self, plan, recipe, offset=0):
        spec = HOSTS[plan.host]
        _, images = self.images(plan.fields["train_set"], "train")
        # Stages of the same seed see other batches.
        seed = plan.seed if plan.stage == "host" else 1000 + plan.seed + 1000 * ATTACKS.get(plan.stage.split("-")[0], 0)
        return TASKS[spec.task].batches(images, seed=seed + offset, batch_size=recipe.batch_size,
                                        size=recipe.patch or spec.patch)

    # --- stages -------------------------------------------------------------------------------------------------

    def host(self, name):
        """The trained host: shipped, kept, or trained now."""
        return self._made(self.plan_host(name), self._train_host)

    def plan_host(self, name):
        """What the host depends on, before anything is made."""
        return self._plan(name, "host", 0, phases(self.profile.hosts[get_host(name).name]))

    def has_host(self, name):
        """Whether the host is trained already."""
        return self._has(name, "host", 0, phases(self.profile.hosts[get_host(name).name]))

    def has_marked(self, name, seed, scheme="ours"):
        """Whether the marked model of a trial is made already."""
        return self.has_host(name) and self._has(name, f"marked-{scheme}", seed, self._marking(name))

    def _has(self, host, stage, seed, fields):
        fields = self._fields(host, stage, seed, fields)
        return any(self._kept(Plan.of(fields | {"train_set": s})) for s in (HOSTS[host].train_set, STAND_INS["train"]))

    def host_course(self, name):
        """The history of the host's training in this work folder, phases in one row of steps; [] if shipped."""
        course, before = [], 0
        recipes, fields = self.profile.hosts[name], self.plan_host(name).fields
        for phase, recipe in enumerate(recipes):
            # A phase may have been trained for a host of fewer phases.
            plans = [Plan.of(fields | phases(recipes[:count])) for count in range(len(recipes), phase, -1)]
            histories = (read_history(Path(self.workdir) / "runs" / p.name / f"phase{phase}") for p in plans)
            course += [row | {"step": before + row["step"]} for row in next(filter(None, histories), [])]
            before += recipe.steps
        return course

    def _train_host(self, plan, folder):
        spec = HOSTS[plan.host]
        task = TASKS[spec.task]
        images = self.test_images(plan.host)[1]
        small = [image for image in images if max(image.shape) <= 256] or images[:1]

        def validate(M):
            return {"psnr": float(inference.evaluate(M, task, small, precision=self.compute.precision).mean())}

        model, done = self._earlier_host(plan)
        recipes = self.profile.hosts[plan.host]
        for phase, recipe in list(enumerate(recipes))[done:]:
            cosine = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.horizon or recipe.steps)
            fit(model, task_alone, self._batches(plan, recipe, 100 * phase), steps=recipe.steps, learning_rate=cosine,
                optimizer=recipe.optimizer, clip=spec.clip, folder=folder / f"phase{phase}", validate=validate,
                best="psnr", deadline=self.deadline, compute=self.compute,
                title=f"training {plan.host}, phase {phase + 1} of {len(recipes)}")
        return model

    def _earlier_host(self, plan):
        """(model, phases behind it): a kept host of the longest beginning of the recipe, or an untrained one."""
        recipe = self.profile.hosts[plan.host]
        for done in range(len(recipe) - 1, 0, -1):
            earlier = Plan.of(plan.fields | phases(recipe[:done]))
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
            return self.embed(self.host(host), key, plan, folder, scheme)

        marked = self._made(self.plan_marked(host, seed, scheme), make)
        return marked, SCHEMES[scheme].update_key(key, marked)

    def embed(self, model, key, plan, folder, scheme="ours", **watch):
        """`model` marked with `key` by the profile's recipe; `watch` is passed on."""
        recipe = self.profile.marking(plan.host)
        return SCHEMES[scheme].embed(
            model, key, self._batches(plan, recipe), steps=recipe.steps, folder=folder,
            learning_rate=recipe.learning_rate, optimizer=recipe.optimizer, strength=recipe.strength,
            copies=recipe.copies, fold=recipe.fold, reach=recipe.reach, boost=recipe.boost, others=recipe.others,
            compute=self.compute, title=f"embedding into {plan.host}, seed {plan.seed}", **watch)

    def plan_marked(self, host, seed, scheme="ours"):
        """What a marked model depends on, before anything is made."""
        return self._plan(host, f"marked-{scheme}", seed, self._marking(host))

    def _marking(self, host):
        return {"parent": self.plan_host(host).name, "recipe": essence(self.profile.marking(host))}

    def plan_attack(self, host, seed, attack, recipe, scheme="ours", train_set=None):
        """What an attacked model depends on."""
        fields = {"parent": self.plan_marked(host, seed, scheme).name, "recipe": essence(recipe)}
        return self._plan(host, attack, seed, fields, train_set)

    def finetuned(self, host, seed, *, steps, learning_rate, train_set=None, scheme="ours"):
        """The marked model of a trial after `steps` of fine-tuning on the host's own data, or on another set's."""
        embed = self.profile.marking(host)
        recipe = Recipe(steps, embed.batch_size, learning_rate, patch=embed.patch)

        def make(plan, folder):
            # The learning rate is constant: a longer fine-tuning goes on from a shorter one's last step.
            shared = folder.with_name(Plan.of(plan.fields | {"recipe": {**plan.fields["recipe"], "steps": 0}}).name)
            course = read_history(shared)
            folder = shared if not course or course[-1]["step"] <= steps else folder
            return attacks.finetune(self.marked(host, seed, scheme)[0], self._batches(plan, recipe), steps=steps,
                                    learning_rate=learning_rate, folder=folder, compute=self.compute)

        return self._made(self.plan_attack(host, seed, "finetuned", recipe, scheme, train_set), make)

    def overwritten(self, host, seed, *, keys=1, scheme="ours"):
        """The marked model of a trial after a thief has embedded `keys` keys of his own, each by the same recipe."""
        stage = "overwritten" if keys == 1 else f"overwritten-{keys}"

        def make(plan, folder):
            before = self.overwritten(host, seed, keys=keys - 1, scheme=scheme) if keys > 1 else None
            return self.embed(before or self.marked(host, seed, scheme)[0],
                               self.key(host, 500 * keys + seed, scheme), plan, folder, scheme)

        return self._made(self.plan_attack(host, seed, stage, self.profile.marking(host), scheme), make)

    def visualizer(self, host, seed, picture, *, scheme="ours"):
        """The visualizer that shows `picture`, uint8 [P, Q], to the key of a trial."""

        def make(plan, folder):
            key = self.marked(host, seed, scheme)[1]
            unmarked = inference.as_suspect(self.host(host), key.kind)(key.trigger[None])[0]
            return train_visualizer(key, picture, unmarked=unmarked, steps=self.profile.visualizer,
                                    folder=folder, compute=self.compute, title=f"visualizer of {host}, seed {seed}")

        return self._made(self.plan_visualizer(host, seed, picture, scheme), make)

    def plan_visualizer(self, host, seed, picture, scheme="ours"):
        """What a visualizer depends on."""
        fields = {"parent": self.plan_marked(host, seed, scheme).name, "steps": self.profile.visualizer,
                  "shown": SHOWN, "refused": REFUSED,
                  "picture": hashlib.sha256(np.ascontiguousarray(picture)).hexdigest()}
        return self._plan(host, "visualizer", seed, fields)

    def judge(self, host, scheme, model, key):
        """The numbers of a record: mean PSNR on the host's first test set, and the verdict on `model`."""
        verdict = SCHEMES[scheme].verify(model, key, null_keys=self.profile.null_keys, fresh_seed=null_label(key))
        psnr = inference.evaluate(model, TASKS[HOSTS[host].task], self.test_images(host)[1]).mean()
        names = ("distance", "ncc", "verified", "ncc_verified", "rho", "p_value")
        return {"psnr": float(psnr)} | {name: getattr(verdict, name) for name in names}

    # --- keeping ------------------------------------------------------------------------------------------------

    def _plan(self, host, stage, seed, fields, train_set=None):
        """The plan on the host's own train set if its product is kept or that set is here, else on the stand-in."""
        wanted = train_set or get_host(host).train_set
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
        folders = dict.fromkeys(folder.resolve() for folder in (self._folder(plan), SHIPPED))
        found = ((folder / plan.file, checkpoints.read_manifest(folder).get(plan.file)) for folder in folders)
        return [(path, entry) for path, entry in found if entry and path.exists()]

    def _made(self, plan, make):
        for path, entry in self._kept(plan):
            try:
                return checkpoints.load(path, entry)
            except CheckpointError as error:
                if plan.stage == "host":  # hours of training are not started unasked
                    raise
                self.say(f"NOTE: {error}; it is made again")
        model = make(plan, Path(self.workdir) / "runs" / plan.name)
        self._keep(model, plan)
        return model

    def _folder(self, plan):
        """Hosts and marked models can be shipped; what is made of them is for this work folder."""
        ship = plan.stage.startswith(("host", "marked"))
        return Path(self.workdir) / ("checkpoints" if ship else "runs/checkpoints")

    def _keep(self, model, plan):
        path = self._folder(plan) / plan.file
        with whole(path) as temporary:
            model.save(temporary)
        self.annotate(plan, plan.fields | {"sha256": sha256(path)})

    def annotate(self, plan, fields):
        """Adds fields to a checkpoint's entry in its manifest."""
        checkpoints.annotate(self._folder(plan), plan.file, fields)
