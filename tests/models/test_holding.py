"""Masks that hold: pruned weights stay at exactly 0 whatever trains, loads, copies or averages the model."""

import copy
import io
import pickle
import socket
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from prunemark.masks import MaskError, Masks
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


def test_two_holds_and_the_removal_of_one(model, masks):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    other = Masks({name: torch.ones_like(mask) for name, mask in masks.items()})
    outer, inner = masks.hold(model, optimizer), masks.hold(model, optimizer)
    other.hold(model, optimizer)
    train(model, optimizer, masks)
    inner.remove()
    inner.remove()
    train(model, optimizer, masks)
    outer.remove()
    train(model, optimizer)
    with pytest.raises(MaskError):
        masks.verify(model)
    loss_of(model).backward()
    assert all((weight.grad[~masks[name]] != 0).any() for name, weight in prunable(model).items())


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
    masks.hold(model, optimizer)
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
