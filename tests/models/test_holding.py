"""Masks that hold: pruned weights stay at exactly 0 whatever trains, loads, copies or averages the model."""

import copy
import gc
import io
import pickle
import socket
import warnings
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import prunemark as pm
from prunemark.masks import MaskError, Masks
from prunemark.models.holding import HeldWarning
from prunemark.models.prunable import prunable

FEATURES, CLASSES = 5, 3


@pytest.fixture
def model() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES))


@pytest.fixture
def masks(model: nn.Module) -> Masks:
    source = torch.Generator().manual_seed(7)
    return Masks({name: torch.rand(w.shape, generator=source) < 0.3 for name, w in prunable(model).items()})


source = torch.Generator().manual_seed(1)
BATCHES = [(torch.randn(6, FEATURES, generator=source), torch.arange(6) % CLASSES) for _ in range(3)]


def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor] = BATCHES[0]) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def train(model: nn.Module, optimizer: torch.optim.Optimizer, masks: Masks | None = None) -> None:
    for batch in BATCHES:
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
        if masks is not None:
            masks.verify(model)


def assert_holds_and_violations_are_seen(masks: Masks, model: nn.Module) -> None:
    """Pruned weights are 0 and others have not all died with them; one that is not is named."""
    masks.verify(model)
    weights = prunable(model)
    assert any((weight[masks[name]] != 0).any() for name, weight in weights.items())
    name = list(masks)[-1]
    index = tuple(int(i) for i in (~masks[name]).nonzero()[-1])
    with torch.no_grad():
        weights[name][index] = 2.0**-100  # exact in every precision
    with pytest.raises(MaskError, match=rf"{name}\[{index[0]}, {index[1]}\] is pruned but holds 7.88861e-31 \(1 such"):
        masks.verify(model)
    with torch.no_grad():
        weights[name][index] = 0


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "sgd-maximize": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5, maximize=True),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, foreach=False),
    "adamw-foreach": lambda p: torch.optim.AdamW(p, lr=0.1, foreach=True),
    "adamw-fused": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
    "sgd-fused": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_step_of_every_optimizer(model, masks, name):
    keys = list(model.state_dict())
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, optimizer)  # momentum from before the masks would move the pruned weights
    handle = masks.hold(model, optimizer)
    assert all(w.grad is not None and (w.grad[~masks[n]] == 0).all() for n, w in prunable(model).items())
    train(model, optimizer, masks)
    assert list(model.state_dict()) == keys
    assert_holds_and_violations_are_seen(masks, model)
    handle.remove()
    train(model, optimizer)
    with pytest.raises(MaskError):
        masks.verify(model)


def test_momentum_of_pruned_weights_stays_zero(model, masks):
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    masks.hold(model, optimizer)
    train(model, optimizer, masks)
    for name, weight in prunable(model).items():
        assert (optimizer.state[weight]["momentum_buffer"][~masks[name]] == 0).all()


def test_a_closure_that_is_evaluated_several_times_a_step(model, masks):
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")
    masks.hold(model, optimizer)
    pruned_during_steps: list[bool] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        pruned_during_steps.append(all((w[~masks[n]] == 0).all() for n, w in prunable(model).items()))
        return loss

    before = loss_of(model).item()
    for _ in range(3):
        optimizer.step(closure)
    assert len(pruned_during_steps) > 3
    assert all(pruned_during_steps)
    assert loss_of(model) < before
    assert_holds_and_violations_are_seen(masks, model)


def test_gradients_of_pruned_weights_do_not_count_when_gradients_are_clipped(model, masks):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masks.apply_(model)
    loss_of(model).backward()
    loss_of(model, BATCHES[1]).backward()
    kept = [w.grad[masks[n]] for n, w in prunable(model).items()]
    others = [p.grad for p in model.parameters() if p.ndim == 1]
    expected = torch.cat([g.flatten() for g in kept + others]).norm()
    model.zero_grad()
    masks.hold(model, optimizer)
    loss_of(model).backward()
    loss_of(model, BATCHES[1]).backward()  # accumulated
    norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    torch.testing.assert_close(norm, expected)
    optimizer.step()
    assert_holds_and_violations_are_seen(masks, model)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_where_a_weight_is_pruned(model, masks, bad):
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    masks.hold(model, optimizer)
    name, weight = next(iter(prunable(model).items()))
    poison = torch.zeros_like(weight).masked_fill_(~masks[name], bad)
    for _ in range(2):
        optimizer.zero_grad()
        (loss_of(model) + (weight * poison).nansum()).backward()
        assert torch.isfinite(nn.utils.clip_grad_norm_(model.parameters(), 1.0))
        optimizer.step()
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert_holds_and_violations_are_seen(masks, model)


def test_autocast_with_a_gradient_scaler(model, masks):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    masks.hold(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    before = copy.deepcopy(model.state_dict())
    for batch in BATCHES:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(model, batch)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        masks.verify(model)
    assert scaler.get_scale() == 2.0**8  # no step was skipped
    assert not torch.equal(model.state_dict()["0.weight"], before["0.weight"])
    assert_holds_and_violations_are_seen(masks, model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_models_in_other_precisions(model, masks, dtype):
    model.to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    masks.hold(model, optimizer)
    for inputs, targets in BATCHES:
        loss_of(model, (inputs.to(dtype), targets)).backward()
        optimizer.step()
    assert_holds_and_violations_are_seen(masks, model)


@pytest.mark.parametrize("assign", [False, True])
def test_loading_a_dense_state(model, masks, assign):
    dense = copy.deepcopy(model.state_dict())
    masks.hold(model, torch.optim.SGD(model.parameters(), lr=0.1))
    model.load_state_dict(dense, assign=assign)
    masks.verify(model)
    loss_of(model).backward()
    assert all((w.grad[~masks[n]] == 0).all() for n, w in prunable(model).items())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masks.hold(model, optimizer)
    train(model, optimizer, masks)
    assert_holds_and_violations_are_seen(masks, model)


def test_loading_a_dense_state_into_a_part_of_the_model_or_around_it(model, masks):
    dense = copy.deepcopy(model.state_dict())
    masks.hold(model, torch.optim.SGD(model.parameters(), lr=0.1))
    model[3].load_state_dict({"weight": dense["3.weight"], "bias": dense["3.bias"]})
    masks.verify(model)
    nn.ModuleDict({"inner": model}).load_state_dict({f"inner.{name}": value for name, value in dense.items()})
    assert_holds_and_violations_are_seen(masks, model)


def test_a_copy_is_masked_but_free_until_it_is_held(model, masks):
    dense = copy.deepcopy(model.state_dict())
    masks.hold(model, torch.optim.SGD(model.parameters(), lr=0.1))
    twin = copy.deepcopy(model)
    assert_holds_and_violations_are_seen(masks, twin)
    twin.load_state_dict(dense)
    assert torch.equal(twin[0].weight, dense["0.weight"])
    masks.verify(model)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.1)
    masks.hold(twin, optimizer)
    frozen = copy.deepcopy(model.state_dict())
    train(twin, optimizer, masks)
    assert all(torch.equal(value, frozen[name]) for name, value in model.state_dict().items())
    assert_holds_and_violations_are_seen(masks, twin)


def through_pickle(model: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(model))


def through_torch(model: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("through", [copy.deepcopy, through_pickle, through_torch])
def test_a_held_model_is_copied_and_stored_whole(model, masks, through):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    masks.hold(model, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twin = through(through(model))
        pickle.dumps(optimizer)
    assert list(twin.state_dict()) == list(model.state_dict())
    assert_holds_and_violations_are_seen(masks, twin)
    twin.load_state_dict(model.state_dict())
    again = torch.optim.AdamW(twin.parameters(), lr=0.1)
    masks.hold(twin, again)
    train(twin, again, masks)
    train(model, optimizer, masks)


def test_a_saved_state_holds_zeros(model, masks, tmp_path):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    with masks.hold(model, optimizer):
        train(model, optimizer)
        torch.save(model.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt")
    assert all((state[name][~mask] == 0).all() for name, mask in masks.items())


@pytest.mark.parametrize("how", ["mean", "exponential"])
def test_averages_of_weights(model, masks, how):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    masks.hold(model, optimizer)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9) if how == "exponential" else None)
    for batch in BATCHES:
        loss_of(model, batch).backward()
        optimizer.step()
        average.update_parameters(model)
    assert not torch.equal(average.module[0].weight, model[0].weight)
    masks.verify(model)
    assert_holds_and_violations_are_seen(masks, average)


def test_two_optimizers_over_one_model(model, masks):
    first = torch.optim.SGD(model[0].parameters(), lr=0.1, momentum=0.9)
    second = torch.optim.AdamW(model[3].parameters(), lr=0.1)
    train(model, first)
    train(model, second)
    masks.hold(model, first, second)
    for optimizer in (first, second, first):
        train(model, optimizer, masks)
    assert_holds_and_violations_are_seen(masks, model)


def others(masks: Masks) -> Masks:
    """Masks that keep exactly what these prune."""
    return Masks({name: ~mask for name, mask in masks.items()})


def hooks_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, int, int]:
    """Hooks on the optimizer, on parameters and on modules."""
    return (
        len(optimizer._optimizer_step_post_hooks),
        sum(len(p._post_accumulate_grad_hooks or ()) for p in model.parameters()),
        sum(len(module._load_state_dict_post_hooks) for module in model.modules()),
    )


def test_a_later_hold_replaces_an_earlier_one(model, masks):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    before = hooks_of(model, optimizer)
    dense = copy.deepcopy(model.state_dict())
    earlier = masks.hold(model, optimizer)
    train(model, optimizer, masks)
    with pytest.warns(HeldWarning, match=rf"{others(masks).kept} of the {others(masks).kept} weights .* are 0"):
        later = others(masks).hold(model, optimizer)
    earlier.remove()  # no longer has anything to remove
    others(masks).verify(model)
    model.load_state_dict(dense)
    train(model, optimizer, others(masks))
    assert all((weight[~masks[name]] != 0).any() for name, weight in prunable(model).items())
    later.remove()
    assert hooks_of(model, optimizer) == before
    train(model, optimizer)
    with pytest.raises(MaskError):
        others(masks).verify(model)


@pytest.mark.parametrize("loading", ["before the masks", "before the hold", "after the hold"])
def test_methods_compared_on_one_model_get_what_each_gets_on_its_own(model, loading):
    start = copy.deepcopy(model.state_dict())
    for method in ("magnitude", "snip", "random"):
        alone = copy.deepcopy(model)
        alone.load_state_dict(start)
        expected = pm.prune(alone, method, sparsity=0.5, data=BATCHES)
        optimizer = torch.optim.SGD(alone.parameters(), lr=0.1)
        expected.hold(alone, optimizer)
        train(alone, optimizer, expected)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HeldWarning)
            if loading == "before the masks":
                model.load_state_dict(start)
                masks = pm.prune(model, method, sparsity=0.5, data=BATCHES)
            else:
                masks = expected
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            if loading == "before the hold":
                model.load_state_dict(start)
            masks.hold(model, optimizer)
            if loading == "after the hold":
                model.load_state_dict(start)
        assert masks == expected
        train(model, optimizer, masks)
        assert all(torch.equal(alone.state_dict()[name], value) for name, value in model.state_dict().items())


def test_scoring_a_model_into_which_a_hold_lets_no_loaded_weights_says_so(model, masks):
    start = copy.deepcopy(model.state_dict())
    scores = pm.score(model, "magnitude")
    masks.hold(model, torch.optim.SGD(model.parameters(), lr=0.1))
    model.load_state_dict(start)
    hidden = masks.total - masks.kept
    with pytest.warns(HeldWarning, match=f"set {hidden} weights to 0 that were loaded into this model; .* as it was"):
        again = pm.score(model, "magnitude")
    assert all(torch.equal(scores[name], again[name]) for name in scores)
    masked = pm.score(copy.deepcopy(model), "magnitude")
    assert sum(int((score == 0).sum()) for score in masked.values()) == hidden
    with pytest.warns(HeldWarning, match=f"{hidden} weights that were loaded under this hold were set to 0 and stay"):
        pm.release(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pm.score(model, "magnitude")


def test_pruning_what_a_hold_has_left_warns_only_where_the_hold_decides(model, masks):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masks.hold(model, optimizer)
    train(model, optimizer, masks)
    further = pm.prune(model, "magnitude", sparsity=1 - masks.kept / masks.total / 2)
    assert all((further[name] <= masks[name]).all() for name in masks)
    further.hold(model, optimizer)
    with pytest.warns(HeldWarning, match=f"a hold in force keeps {further.total - further.kept} weights of this"):
        pm.prune(model, "magnitude", sparsity=further.sparsity)
    with pytest.warns(HeldWarning, match="it was pruned with these zeros"):
        pm.prune(model, "magnitude", sparsity=0.1)


def test_a_hold_is_back_in_force_in_its_own_block_when_a_later_one_is_removed(model, masks):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    before = hooks_of(model, optimizer)
    with masks.hold(model, optimizer):
        with pytest.warns(HeldWarning), others(masks).hold(model, optimizer):
            train(model, optimizer, others(masks))
        masks.verify(model)
        train(model, optimizer, masks)
    assert hooks_of(model, optimizer) == before


def test_a_released_model_is_free_inside_a_block_too(model, masks):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    before = hooks_of(model, optimizer)
    with masks.hold(model, optimizer):
        with pytest.warns(HeldWarning):
            others(masks).hold(model, optimizer)
        pm.release(model)
        assert hooks_of(model, optimizer) == before
        train(model, optimizer)
    with pytest.raises(MaskError):
        masks.verify(model)


def test_a_hold_of_a_part_replaces_another_only_there(model, masks):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    masks.hold(model, optimizer)
    part = Masks({"weight": ~masks["0.weight"]})
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HeldWarning)
            part.hold(model[0], optimizer)
        train(model, optimizer, Masks({"3.weight": masks["3.weight"]}))
        part.verify(model[0])
        assert hooks_of(model, optimizer)[:2] == (2, 2)
    with pytest.raises(MaskError, match=r"0\.weight.* is pruned but holds"):
        masks.verify(model)


def test_a_hold_that_shares_a_tensor_replaces_another(model, masks):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    masks.hold(model, optimizer)
    tied = nn.Sequential(nn.Linear(FEATURES, 8))
    tied[0].weight = model[0].weight
    dense = Masks({"0.weight": torch.ones_like(masks["0.weight"])})
    with pytest.warns(HeldWarning):
        dense.hold(tied, optimizer)
    train(model, optimizer)
    assert (model[0].weight[~masks["0.weight"]] != 0).any()
    Masks({"3.weight": masks["3.weight"]}).verify(model)


def test_a_model_sparser_than_the_masks_is_found(model, masks):
    with torch.no_grad():
        model[3].weight.zero_()  # an initialisation is no other hold
    denser = Masks(
        {name: mask | (torch.arange(mask.numel()).view(mask.shape) % 2 == 0) for name, mask in masks.items()}
    )
    missing = denser.kept - masks.kept
    denser.apply_(model)
    denser.verify(model)
    handle = masks.hold(model, torch.optim.SGD(model.parameters(), lr=0.1))
    message = rf"the model is sparser than these masks: .* keeps {missing} of their {denser.kept} kept weights at 0"
    with pytest.raises(MaskError, match=message):
        denser.verify(model)
    masks.verify(model)
    handle.remove()
    denser.verify(model)
    masks.to_torch_prune(model)
    masks.verify(model)
    message = rf"sparser than these masks: torch.nn.utils.prune prunes {missing} of their {denser.kept} kept weights"
    with pytest.raises(MaskError, match=message):
        denser.verify(model)


def test_forty_rounds_leave_as_many_hooks_as_one(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    counts = set()
    for n in range(40):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HeldWarning)
            masks = pm.prune(model, "random", sparsity=0.02 * (n + 1), seed=n)
            masks.hold(model, optimizer)
        train(model, optimizer, masks)
        counts.add(hooks_of(model, optimizer))
    assert len(counts) == 1


def test_a_dropped_model_is_freed_though_its_optimizer_lives(model, masks):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    twin = copy.deepcopy(model)
    optimizer.add_param_group({"params": list(twin.parameters())})
    gone = weakref.ref(twin), weakref.ref(twin[0])
    masks.hold(twin, optimizer)
    train(twin, optimizer, masks)
    del twin
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert hooks_of(model, optimizer) == (0, 0, 0)
    assert not any(p._post_accumulate_grad_hooks for group in optimizer.param_groups for p in group["params"])
    train(model, optimizer)


def test_a_hold_outlives_the_container_it_was_made_with(model, masks):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    masks.hold(nn.Sequential(*model), optimizer)
    gc.collect()
    train(model, optimizer, masks)


def test_layers_that_are_all_replaced_are_held_on(model, masks):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masks.hold(model, optimizer)
    model[0], model[3] = nn.Linear(FEATURES, 8), nn.Linear(8, CLASSES)
    gc.collect()
    optimizer.add_param_group({"params": [*model[0].parameters(), *model[3].parameters()]})
    train(model, optimizer)
    masks.verify(model)
    model[0].load_state_dict(nn.Linear(FEATURES, 8).state_dict())
    masks.verify(model)


def test_a_hold_that_fails_leaves_model_optimizer_and_the_earlier_hold_as_they_were(model, masks):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    masks.hold(model, optimizer)
    train(model, optimizer, masks)
    with torch.inference_mode():
        frozen = torch.ones(CLASSES, 8)
    model[3].weight = nn.Parameter(frozen, requires_grad=False)
    state, hooks = copy.deepcopy(model.state_dict()), hooks_of(model, optimizer)
    with pytest.raises(RuntimeError, match="inference tensor"):
        others(masks).hold(model, optimizer)

    class Broken(torch.optim.SGD):
        def register_step_post_hook(self, hook):
            raise RuntimeError("no hooks here")

    part = Masks({"0.weight": ~masks["0.weight"]})
    with pytest.raises(RuntimeError, match="no hooks here"):
        part.hold(model, optimizer, Broken([nn.Parameter(torch.ones(1))], lr=0.1))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert hooks_of(model, optimizer) == hooks


def test_masked_weights_that_no_given_optimizer_steps(model, masks):
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)
    second = torch.optim.SGD(model[3].parameters(), lr=0.1, momentum=0.9)
    message = r"no given optimizer steps 3\.weight: if another one does, .*, so pass it too .* allow_unstepped=True"
    with pytest.raises(ValueError, match=message):
        masks.hold(model, first)
    with masks.hold(model, first, second):
        train(model, second, masks)
    with masks.hold(model, first, allow_unstepped=True):
        train(model, first, masks)
    model[3].requires_grad_(False)
    with masks.hold(model, first):
        train(model, first, masks)


class Wrapper(torch.optim.Optimizer):
    """A wrapper as accelerate makes it: a subclass that never calls the constructor of the class."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    param_groups = property(lambda self: self.optimizer.param_groups)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure=None):
        return self.optimizer.step(closure)


class Reviving(torch.optim.Optimizer):
    """A whole optimizer around another one, which writes weights after the step of the one inside."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(optimizer.param_groups, {})
        self.optimizer = optimizer

    @torch.no_grad()
    def step(self, closure=None):
        self.optimizer.step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(0.5)


@pytest.mark.parametrize("wrap", [Wrapper, lambda o: Wrapper(Wrapper(o)), Reviving, lambda o: Wrapper(Reviving(o))])
def test_optimizers_that_wrap_others(model, masks, wrap):
    optimizer = wrap(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    train(model, optimizer)
    masks.hold(model, optimizer)
    train(model, optimizer, masks)
    assert_holds_and_violations_are_seen(masks, model)


def test_an_optimizer_that_cannot_be_followed(model, masks):
    class Hollow(torch.optim.Optimizer):
        def __init__(self) -> None: ...

    with pytest.raises(ValueError, match=r"hold cannot follow the steps of this Hollow: .* pass the optimizer that it"):
        masks.hold(model, Hollow())


def test_parameters_added_frozen_thawed_and_replaced_later(model, masks):
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model[3].parameters(), lr=0.1, momentum=0.9)
    masks.hold(model, optimizer)
    train(model, optimizer, masks)
    model[0].requires_grad_(True)
    optimizer.add_param_group({"params": list(model[0].parameters()), "lr": 0.2})
    train(model, optimizer, masks)
    assert (model[0].weight.grad[~masks["0.weight"]] == 0).all()
    model[3] = nn.Linear(8, CLASSES)
    optimizer.add_param_group({"params": list(model[3].parameters())})
    train(model, optimizer, masks)
    assert (model[3].weight.grad[~masks["3.weight"]] == 0).all()
    assert_holds_and_violations_are_seen(masks, model)
    model[3] = nn.Linear(8, CLASSES + 1)
    with pytest.raises(ValueError, match=r"3\.weight has shape \(4, 8\), its mask \(3, 8\)"):
        optimizer.step()


def test_sparse_gradients_of_embeddings():
    model = nn.Sequential(nn.Embedding(7, 4, sparse=True), nn.Flatten(), nn.Linear(8, 2))
    source = torch.Generator().manual_seed(0)
    weights = prunable(model, include=[nn.Embedding, nn.Linear])
    masks = Masks({name: torch.rand(w.shape, generator=source) < 0.5 for name, w in weights.items()})
    optimizer = torch.optim.SparseAdam([model[0].weight], lr=0.1)
    masks.hold(model, optimizer, allow_unstepped=True)
    tokens, targets = torch.tensor([[1, 2], [2, 2], [5, 1]]), torch.tensor([0, 1, 1])
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tokens), targets).backward()
        gradient = model[0].weight.grad.to_dense()
        assert (gradient[~masks["0.weight"]] == 0).all()
        assert (gradient != 0).any()
        optimizer.step()
        masks.verify(model)


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
def test_gradients_of_gradients_pass_through_the_mask(model, masks):
    masks.hold(model, torch.optim.SGD(model.parameters(), lr=0.1))
    loss_of(model).backward(create_graph=True)
    penalty = sum(p.grad.square().sum() for p in model.parameters())
    model.zero_grad()
    penalty.backward()
    assert all((w.grad[~masks[n]] == 0).all() and (w.grad != 0).any() for n, w in prunable(model).items())


def test_what_hold_refuses_leaves_the_model_alone(model, masks):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="hold needs the optimizer whose steps it should follow"):
        masks.hold(model)
    with pytest.raises(ValueError, match="hold takes torch optimizers, not StepLR"):
        masks.hold(model, torch.optim.lr_scheduler.StepLR(torch.optim.SGD(model.parameters(), lr=1.0), 1))
    with pytest.raises(ValueError, match="no masked weight is among the optimizer's parameters"):
        masks.hold(model, torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1))
    with pytest.raises(ValueError, match=r"these masks are of another model: it has no parameter '3\.weight'"):
        masks.hold(model[:2], torch.optim.SGD(model.parameters(), lr=0.1))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def rank(number: int, port: int, state: dict[str, Tensor], masks: Masks, results) -> None:
    """One process of a data-parallel run; puts what went wrong, or the weights it ends with, into the queue."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=number, world_size=2)
    try:
        model = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES))
        model.load_state_dict(state)
        parallel = nn.parallel.DistributedDataParallel(model)
        optimizer = torch.optim.SGD(parallel.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
        train(parallel, optimizer)
        masks.hold(parallel, optimizer)
        for inputs, targets in BATCHES:
            optimizer.zero_grad()
            loss_of(parallel, (inputs[number::2], targets[number::2])).backward()
            assert all((w.grad[~masks[n]] == 0).all() for n, w in prunable(parallel).items())
            nn.utils.clip_grad_norm_(parallel.parameters(), 0.5)
            optimizer.step()
            masks.verify(parallel)
        parallel.load_state_dict({f"module.{name}": value for name, value in state.items()})
        assert_holds_and_violations_are_seen(masks, parallel)
        train(parallel, optimizer, masks)
        results.put((number, model[0].weight.detach().numpy()))
        torch.distributed.barrier()  # one that leaves while the other still talks to it takes that one down
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.soak
def test_two_data_parallel_processes(model, masks):
    context = torch.multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(rank, (port, model.state_dict(), masks, results), nprocs=2)
    (_, first), (_, second) = results.get(), results.get()
    assert (first == second).all()


def wrapped_blocks(net: nn.Sequential) -> nn.Module:
    net[0] = checkpoint_wrapper(net[0])
    net[3] = torch.compile(checkpoint_wrapper(net[3]))
    return net


WRAPPERS = {
    "nothing": lambda net: net,
    "data parallel": nn.DataParallel,
    "data parallel twice": lambda net: nn.DataParallel(nn.DataParallel(net)),
    "compiled": torch.compile,
    "data parallel, compiled": lambda net: torch.compile(nn.DataParallel(net)),
    "blocks": wrapped_blocks,
    "blocks, data parallel": lambda net: nn.DataParallel(wrapped_blocks(net)),
    "own wrapper": lambda net: nn.ModuleDict({"module": net}),
}


@pytest.mark.parametrize("made_on", WRAPPERS)
@pytest.mark.parametrize("held_on", WRAPPERS)
def test_masks_keyed_by_the_names_of_wrappers_fit_on_either_side(model, masks, made_on, held_on):
    named = dict(WRAPPERS[made_on](copy.deepcopy(model)).named_parameters())
    renamed = Masks(dict(zip((n for n, p in named.items() if p.ndim == 2), masks.values(), strict=True)))
    wrapped = WRAPPERS[held_on](model)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    with renamed.hold(wrapped, optimizer):
        weights = [weight for weight in wrapped.parameters() if weight.ndim == 2]
        for _ in range(2):
            assert all((w[~mask] == 0).all() for w, mask in zip(weights, masks.values(), strict=True))
            for weight in weights:
                weight.grad = torch.ones_like(weight)
            optimizer.step()
        renamed.verify(wrapped)
        with torch.no_grad():
            weights[0][~masks["0.weight"]] = 1
        with pytest.raises(MaskError):
            renamed.verify(wrapped)
        renamed.apply_(wrapped)
        renamed.verify(wrapped)


def test_a_block_that_is_wrapped_while_it_is_held(model, masks):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    masks.hold(model, optimizer)
    wrapped_blocks(model)
    for weight in (w for w in model.parameters() if w.ndim == 2):
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    masks.verify(model)


def test_names_that_fit_two_parameters_are_of_another_model(masks):
    net = nn.ModuleDict({"module": nn.ModuleDict({"module": nn.Linear(5, 8)}), "weight": nn.Linear(5, 8)})
    net["module"].weight = nn.Parameter(torch.zeros(8, 5))
    with pytest.raises(ValueError, match=r"these masks are of another model: it has no parameter 'weight'"):
        Masks({"weight": masks["0.weight"]}).apply_(net)


@pytest.fixture
def single_process():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("single_process")
@pytest.mark.filterwarnings("ignore")
def test_weights_in_shards_are_refused_in_one_true_sentence(model, masks):
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    sentence = r"0\.weight is in shards, because the model was wrapped by {}: .* use DistributedDataParallel"
    flat = FullyShardedDataParallel(copy.deepcopy(model), device_id=torch.device("cpu"))
    sharded = copy.deepcopy(model)
    fully_shard(sharded)
    for wrapped, name in ((flat, "FullyShardedDataParallel"), (sharded, "fully_shard")):
        optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
        for use in (lambda m=wrapped, o=optimizer: masks.hold(m, o), lambda m=wrapped: masks.apply_(m)):
            with pytest.raises(ValueError, match=sentence.format(name)):
                use()
        with pytest.raises(ValueError, match=sentence.format(name)):
            masks.verify(wrapped)
