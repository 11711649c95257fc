"""Recipes: the paper's table, overrides, and what is refused."""

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunemark.datasets import DATASETS
from prunemark.networks import NETWORKS
from prunemark.recipes import AUGMENTATIONS, DEFAULT, RECIPES, REPLICATES, Recipe, recipe_for
from prunemark.terms.steps import Step

PAPER = [
    ("lenet-300-100", "mnist", 40, 128, 0.1, 0, (), 0, 0, (), 5),
    ("resnet-20", "cifar-10", 160, 128, 0.1, 0.9, (80, 120), 0, 1e-4, ("crop", "flip"), 5),
    ("vgg-16", "cifar-10", 160, 128, 0.1, 0.9, (80, 120), 0, 1e-4, ("crop", "flip"), 5),
    ("resnet-18", "tinyimagenet", 200, 256, 0.2, 0.9, (100, 150), 5, 1e-4, ("paper-resized-crop", "flip"), 3),
    ("resnet-18-modified", "tinyimagenet", 200, 256, 0.2, 0.9, (100, 150), 5, 1e-4, ("crop", "flip"), 3),
    ("resnet-50", "imagenet", 90, 1024, 0.4, 0.9, (30, 60, 80), 5, 1e-4, ("paper-resized-crop", "flip"), 3),
]


@pytest.mark.parametrize("line", PAPER, ids=lambda line: line[0])
def test_the_table_is_the_papers(line):
    network, dataset, epochs, batch_size, lr, momentum, drops, warmup, weight_decay, augment, replicates = line
    recipe = RECIPES[network, dataset]
    assert (recipe.epochs, recipe.batch_size, recipe.lr) == (epochs, batch_size, lr)
    assert (recipe.momentum, recipe.weight_decay) == (momentum, weight_decay)
    assert (recipe.drops, recipe.warmup_epochs, recipe.augment) == (drops, warmup, augment)
    assert REPLICATES[network, dataset] == replicates


def test_the_table_of_replicates_has_the_papers_lines_only():
    assert REPLICATES.keys() == {line[:2] for line in PAPER}


@pytest.mark.parametrize("pair", RECIPES, ids=" on ".join)
def test_every_line_names_a_network_and_a_data_set_that_fit(pair):
    network, dataset = pair
    entry = DATASETS[dataset]
    NETWORKS[network].check(entry.input_shape, entry.classes)


def test_recipes_are_read_without_torch():
    program = "import sys; from prunemark.recipes import RECIPES; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(("pair", "recipe"), RECIPES.items())
def test_every_recipe_rewinds_to_a_step_before_the_first_drop(pair, recipe):
    examples = DATASETS[pair[1]].train_examples
    steps = recipe.steps_per_epoch(examples)
    rewind = recipe.rewind_to.at(steps_per_epoch=steps, total_steps=recipe.total_steps(examples))
    assert rewind < (recipe.drops[0] if recipe.drops else recipe.epochs) * steps


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_has_a_recipe_on_digits_that_needs_no_augmentation(network):
    assert recipe_for(network, "digits").augment == ()


def test_a_pair_that_is_not_in_the_table_gets_the_default():
    assert recipe_for("resnet-8", "fashion-mnist") is DEFAULT
    assert recipe_for("resnet-20", "cifar-10").augment == ("crop", "flip")
    assert recipe_for("resnet-20", "cifar-10").override({"augment": []}) == DEFAULT


def test_override_of_epochs_scales_drops_and_warmup_in_proportion():
    changed = recipe_for("resnet-18", "tinyimagenet").override({"epochs": 50})
    assert (changed.epochs, changed.drops, changed.warmup_epochs) == (50, (25, 37.5), 1.25)
    assert (changed.lr, changed.batch_size, str(changed.rewind_to)) == (0.2, 256, "1000it")


def test_override_keeps_drops_and_warmup_that_are_given():
    changed = recipe_for("resnet-18", "tinyimagenet").override({"epochs": 50, "drops": [10], "warmup_epochs": 0})
    assert (changed.drops, changed.warmup_epochs) == ((10,), 0)


def test_override_of_the_batch_size_leaves_the_rest():
    recipe = recipe_for("resnet-20", "cifar-10")
    changed = recipe.override({"batch_size": 256})
    assert changed.batch_size == 256
    assert changed.override({"batch_size": 128}) == recipe


def test_a_changed_batch_size_at_the_same_learning_rate_is_noted_with_what_scaling_would_make_it():
    recipe = recipe_for("resnet-20", "cifar-10")
    assert recipe.override({"batch_size": 512}).notes(recipe) == (
        "batch_size is 512 instead of 128, and the learning rate stays 0.1; scaled in proportion it would be lr = 0.4",
    )
    assert recipe.override({"batch_size": 48}).notes(recipe)[0].endswith("lr = 0.0375")


@pytest.mark.parametrize("changes", [{}, {"lr": 0.3}, {"epochs": 10}, {"batch_size": 512, "lr": 0.4}])
def test_other_changes_need_no_note(changes):
    recipe = recipe_for("resnet-20", "cifar-10")
    assert recipe.override(changes).notes(recipe) == ()


def test_the_rewinding_step_is_a_step_however_it_is_given():
    assert DEFAULT.override({"rewind_to": "12it"}).rewind_to == Step(12, "it")
    assert DEFAULT.override({"rewind_to": Step(2, "ep")}).rewind_to == Step(2, "ep")
    assert Recipe(epochs=1).rewind_to.at(steps_per_epoch=7, total_steps=7) == 0
    assert all(isinstance(recipe.rewind_to, Step) for recipe in RECIPES.values())


def test_augmentations_have_known_names_and_are_named_once():
    assert DEFAULT.override({"augment": list(AUGMENTATIONS)}).augment == tuple(AUGMENTATIONS)
    with pytest.raises(ValueError, match=r'unknown augmentation "crp"; known: crop, .*did you mean "crop"'):
        DEFAULT.override({"augment": ["crp"]})
    with pytest.raises(ValueError, match="each augmentation once"):
        DEFAULT.override({"augment": ["flip", "flip"]})


def test_override_by_nothing_is_the_same_recipe():
    for recipe in RECIPES.values():
        assert recipe.override({}) == recipe


def test_override_names_an_unknown_field_and_suggests():
    with pytest.raises(ValueError, match=r'unknown recipe field "epoch"; known: .*did you mean "epochs"'):
        DEFAULT.override({"epoch": 3})


def test_override_reports_all_problems_at_once():
    with pytest.raises(ValueError, match=r"unknown recipe field.*epochs is .*not 0.*lr is .*not -1"):
        DEFAULT.override({"epoch": 3, "epochs": 0, "lr": -1})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("epochs", True),
        ("batch_size", 0),
        ("batch_size", "128"),
        ("lr", 0),
        ("lr", math.inf),
        ("lr", math.nan),
        ("momentum", 1),
        ("momentum", -0.1),
        ("weight_decay", -1e-4),
        ("warmup_epochs", -1),
        ("warmup_epochs", 200),
        ("drops", 80),
        ("drops", ["80"]),
        ("drops", [120, 80]),
        ("drops", [80, 80]),
        ("drops", [0]),
        ("drops", [160]),
        ("augment", "crop"),
        ("augment", [4]),
        ("rewind_to", "1000"),
        ("rewind_to", 1000),
        ("rewind_to", "161ep"),
    ],
)
def test_a_value_out_of_its_range_is_named(field, value):
    with pytest.raises(ValueError, match=field):
        DEFAULT.override({field: value})


def test_equal_numbers_make_equal_recipes_however_they_are_written():
    assert repr(Recipe(epochs=4, lr=1, drops=[2], augment=[])) == repr(
        Recipe(epochs=4, lr=1.0, drops=(2.0,), augment=())
    )


@pytest.mark.parametrize(
    ("examples", "batch_size", "steps"),
    [
        (256, 128, 2),
        (258, 128, 3),
        (257, 128, 2),
        (255, 128, 2),
        (1, 128, 1),
        (2, 128, 1),
        (3, 1, 3),
        (50_000, 128, 391),
        (1_297, 128, 11),
    ],
)
def test_steps_per_epoch(examples, batch_size, steps):
    recipe = Recipe(epochs=3, batch_size=batch_size)
    assert recipe.steps_per_epoch(examples) == steps
    assert recipe.total_steps(examples) == 3 * steps


@given(examples=st.integers(2, 2000), batch_size=st.integers(2, 300))
def test_no_batch_is_a_single_example(examples, batch_size):
    steps = Recipe(epochs=1, batch_size=batch_size).steps_per_epoch(examples)
    last = examples - (steps - 1) * batch_size
    assert 2 <= last <= batch_size + 1


def test_no_examples_is_an_error():
    with pytest.raises(ValueError, match="at least one example, not 0"):
        DEFAULT.steps_per_epoch(0)


def test_optimizers_bring_their_own_defaults():
    adam = Recipe(epochs=1, optimizer="Adam")
    assert (adam.optimizer, adam.lr, adam.momentum) == ("adam", 0.001, 0.0)
    assert (Recipe(epochs=1, optimizer="adam", lr=0.1).lr, Recipe(epochs=1).lr, Recipe(epochs=1).momentum) == (
        0.1,
        0.1,
        0.9,
    )
    changed = recipe_for("resnet-20", "cifar-10").override({"optimizer": "adamw", "weight_decay": 0.05})
    assert (changed.lr, changed.momentum, changed.weight_decay, changed.drops) == (0.001, 0.0, 0.05, (80, 120))
    assert changed.override({"optimizer": "sgd"}).momentum == 0.9
    assert recipe_for("resnet-20", "cifar-10").override({"optimizer": "sgd", "epochs": 160}) == recipe_for(
        "resnet-20", "cifar-10"
    )


def test_schedules_bring_their_own_defaults_and_say_which_drops_they_leave_out():
    base = recipe_for("resnet-20", "cifar-10")
    changed = base.override({"schedule": "cosine"})
    assert changed.drops == ()
    assert changed.notes(base) == ("schedule is cosine, so the drops at epochs 80, 120 do not apply",)
    note = base.override({"optimizer": "adam"}).notes(base)
    assert note == ("optimizer is adam instead of sgd, with lr = 0.001 and weight_decay = 0.0001",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adm"}, r'unknown optimizer "adm"; known: .*did you mean "adam"'),
        ({"optimizer": "LBFGS"}, r'optimizer "lbfgs" evaluates the loss several times for each step'),
        ({"optimizer": 3}, "optimizer is a name, not 3"),
        ({"optimizer": "adam", "momentum": 0.9}, "adam has no momentum"),
        ({"optimizer": "rprop"}, "rprop has no weight decay: set weight_decay = 0"),
        ({"optimizer_options": {"nesterov": 1}}, r"optimizer_options.nesterov is true or false, not 1"),
        ({"optimizer_options": {"nesterov": True}, "momentum": 0}, "nesterov needs momentum above 0"),
        ({"optimizer_options": {"lr": 1}}, "lr is a field of the recipe itself"),
        ({"optimizer_options": [1]}, "optimizer_options is a table of options"),
        (
            {"optimizer": "adam", "optimizer_options": {"betas": [0.9]}},
            r"betas is two numbers in \[0, 1\), not \[0.9\]",
        ),
        ({"schedule": "cosin"}, r'unknown schedule "cosin".*did you mean "cosine"'),
        ({"schedule": "cosine", "drops": [80]}, 'drops and drop_factor are of the schedule "steps", not of "cosine"'),
        ({"final_lr": 0.01}, 'final_lr is of the schedules "cosine" and "linear", not of "steps"'),
        ({"schedule": "linear", "final_lr": 1}, r"final_lr must be in \[0, lr\], not 1 with lr = 0.1"),
        ({"drop_factor": 1}, "drop_factor is a number above 1"),
        ({"loss": "mse", "label_smoothing": 0.1}, 'label_smoothing is of the loss "cross-entropy", not of "mse"'),
        ({"loss": "none.py:loss"}, "loss: .*there is no file"),
        ({"label_smoothing": 1}, "label_smoothing"),
        ({"clip_norm": -1}, "clip_norm"),
        ({"mixup": -0.1}, "mixup"),
        ({"ema": 1}, "ema"),
        ({"augment": ["cutout:0.5"]}, 'takes a side in pixels, such as "cutout:8"'),
        ({"augment": ["flip:3"]}, 'augmentation "flip" has no size'),
        ({"augment": ["cutout:3", "cutout:4"]}, "each augmentation once"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        recipe_for("resnet-20", "cifar-10").override(changes)


def test_what_asks_for_more_than_sgd_is_named():
    assert DEFAULT.override({"schedule": "cosine", "augment": ["cutout"]}).beyond_sgd() == ()
    changed = DEFAULT.override({"optimizer": "adam", "loss": "mse", "ema": 0.9})
    assert changed.beyond_sgd() == ("optimizer = adam", "loss = mse", "ema = 0.9")


def test_a_recipe_as_json_is_the_same_recipe_and_names_what_is_not_as_ever():
    assert DEFAULT.to_dict().keys() == {
        *("epochs", "batch_size", "lr", "momentum", "weight_decay", "drops", "warmup_epochs", "augment", "rewind_to"),
    }
    other = DEFAULT.override(
        {"optimizer": "adam", "optimizer_options": {"betas": [0, 0.9]}, "schedule": "linear", "mixup": 1}
    )
    assert Recipe(**json.loads(json.dumps(other.to_dict()))) == other
    assert hash(other) == hash(Recipe(**other.to_dict()))


@pytest.mark.parametrize("fields", [{"drops": (2,)}, {"warmup_epochs": 1}, {"schedule": "cosine"}])
def test_what_rprop_makes_nothing_of_is_noted(fields):
    plain = Recipe(epochs=4, optimizer="rprop", weight_decay=0)
    assert plain.notes(plain) == ()
    (note,) = (note for note in plain.override(fields).notes(plain) if note.startswith("rprop"))
    assert "first step alone" in note
