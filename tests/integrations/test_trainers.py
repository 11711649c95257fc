"""Masks held in the training loops of transformers, accelerate, peft and Lightning, and layers of other packages."""

import lightning
import peft
import pytest
import torch
import transformers
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.nn import GCN, HeteroLinear

import prunemark as pm
from prunemark.models.prunable import prunable

FEATURES, CLASSES = 5, 3
INPUTS = torch.randn(24, FEATURES, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(24) % CLASSES


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, 8)
        self.last = nn.Linear(8, CLASSES)

    def forward(self, inputs, labels=None):
        outputs = self.last(torch.relu(self.first(inputs)))
        if labels is None:
            return outputs
        return {"loss": nn.functional.cross_entropy(outputs, labels), "logits": outputs}


@pytest.fixture
def model() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def masks(model) -> pm.Masks:
    return pm.prune(model, "snip", sparsity=0.6, data=[(INPUTS, TARGETS)])


def assert_trained_and_held(model: nn.Module, masks: pm.Masks, before: torch.Tensor) -> None:
    masks.verify(model)
    after = next(iter(prunable(model).values()))
    assert not torch.equal(after[masks["first.weight"]], before[masks["first.weight"]])
    assert int((after != 0).sum()) == int(masks["first.weight"].sum())


def test_the_trainer_of_transformers(model, masks, tmp_path):
    class Holding(transformers.TrainerCallback):
        def on_train_begin(self, args, state, control, *, model, optimizer, **_):
            masks.hold(model, optimizer)

        def on_step_end(self, args, state, control, *, model, **_):
            masks.verify(model)

    before = model.first.weight.detach().clone()
    examples = [{"inputs": x, "labels": y} for x, y in zip(INPUTS, TARGETS, strict=True)]
    arguments = transformers.TrainingArguments(
        tmp_path, num_train_epochs=2, per_device_train_batch_size=8, learning_rate=0.1, weight_decay=0.1,
        max_grad_norm=0.5, gradient_accumulation_steps=2, report_to=[], use_cpu=True, save_strategy="no",
    )  # fmt: skip
    transformers.Trainer(model, arguments, train_dataset=examples, callbacks=[Holding()]).train()
    assert_trained_and_held(model, masks, before)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_accelerate_before_and_after_prepare(model, masks, moment):
    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    before = model.first.weight.detach().clone()
    if moment == "before":
        masks.hold(model, optimizer)
    prepared, optimizer, loader = accelerator.prepare(
        model, optimizer, DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=8)
    )
    if moment == "after":
        masks.hold(prepared, optimizer)
    for inputs, targets in loader:
        optimizer.zero_grad()
        accelerator.backward(nn.functional.cross_entropy(prepared(inputs), targets))
        accelerator.clip_grad_norm_(prepared.parameters(), 0.5)
        optimizer.step()
        masks.verify(prepared)
    assert_trained_and_held(model, masks, before)


class Module(lightning.LightningModule):
    def __init__(self, model: Net, masks: pm.Masks) -> None:
        super().__init__()
        self.model, self.masks = model, masks

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.model.parameters(), lr=0.1)

    def on_train_start(self):
        self.masks.hold(self.model, self.optimizers())

    def on_train_batch_end(self, *_):
        self.masks.verify(self.model)


@pytest.mark.filterwarnings("ignore")
def test_lightnings_trainer(model, masks, tmp_path):
    before = model.first.weight.detach().clone()
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, gradient_clip_val=0.5, accumulate_grad_batches=2, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(model, masks), DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=8))
    assert_trained_and_held(model, masks, before)


def test_lightning_fabric(model, masks):
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    before = model.first.weight.detach().clone()
    wrapped, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters(), lr=0.1))
    named = pm.Masks({f"_forward_module.{name}": mask for name, mask in masks.items()})
    for given in (masks, named):
        given.hold(wrapped, optimizer)
        optimizer.zero_grad()
        fabric.backward(nn.functional.cross_entropy(wrapped(INPUTS), TARGETS))
        optimizer.step()
        given.verify(wrapped)
    assert list(prunable(wrapped)) == list(masks)
    assert_trained_and_held(model, masks, before)


def test_a_model_that_peft_wrapped_after_the_masks_were_made(model, masks):
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["first", "last"], r=2))
    for held in (wrapped, model):
        optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
        with pytest.raises(
            ValueError, match=r"wrapped by peft after the masks were made: first\.weight is now .*base_layer"
        ):
            masks.hold(held, optimizer)
    merged = wrapped.merge_and_unload().requires_grad_(True)
    optimizer = torch.optim.SGD(merged.parameters(), lr=0.1)
    masks.hold(merged, optimizer)
    nn.functional.cross_entropy(merged(INPUTS), TARGETS).backward()
    optimizer.step()
    masks.verify(merged)


def test_every_matrix_of_gpt2_is_prunable():
    config = transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, vocab_size=40, n_positions=16, bos_token_id=0, eos_token_id=0
    )
    masks = pm.prune(transformers.GPT2LMHeadModel(config), "magnitude", sparsity=0.9)
    blocks = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert list(masks) == [
        "transformer.wte.weight", *(f"transformer.h.{n}.{block}.weight" for n in range(2) for block in blocks),
    ]  # fmt: skip
    assert masks.left_out == ()


def test_linear_maps_of_graph_networks_are_prunable():
    net = nn.ModuleList([GCN(4, 8, 2, 3), HeteroLinear(4, 2, 3)])
    assert list(prunable(net)) == ["0.convs.0.lin.weight", "0.convs.1.lin.weight", "1.weight"]
