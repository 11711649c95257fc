"""No operand is dropped: whatever is effective is checked against weights that are changed one by one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prunemark.connectivity import topology
from prunemark.masks import Masks
from prunemark.models.prunable import prunable
from tests.connectivity.test_topology import draw_masks

Joining = Callable[[Tensor, Tensor], Tensor]


class Joined(nn.Module):
    """c(join(a(x), g(x))), without biases."""

    def __init__(self, join: Joining) -> None:
        super().__init__()
        self.a = nn.Linear(6, 5, bias=False)
        self.g = nn.Linear(6, 5, bias=False)
        self.c = nn.Linear(5, 3, bias=False)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.join(self.a(x), self.g(x)))


def that_change_outputs(model: nn.Module, masks: Masks, inputs: tuple[int, ...]) -> Masks:
    """The kept weights that, given other values one by one, change how outputs differ between inputs."""
    source = torch.Generator().manual_seed(3)
    found = {name: torch.zeros_like(mask) for name, mask in masks.items()}

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=source, dtype=torch.float64)

    def differences(x: Tensor) -> Tensor:
        outputs = torch.cat([model(x[at : at + 1]) for at in range(len(x))])
        return outputs - outputs[:1]

    model.double().eval()
    with torch.no_grad():
        for _ in range(8):
            for name, weight in model.named_parameters():
                weight.copy_(draw(*weight.shape) * masks[name])
            x = draw(6, *inputs)
            before = differences(x)
            for name, weight in model.named_parameters():
                for at in (masks[name] & ~found[name]).nonzero().tolist():
                    place = tuple(at)
                    own = weight[place].item()
                    weight[place] = 3 * draw().item()
                    found[name][place] = bool(((differences(x) - before).abs() > 1e-9).any())
                    weight[place] = own
    return Masks(found)


def written(change: Callable[[Tensor, Tensor], object]) -> Joining:
    """A copy of a, changed in place."""

    def join(a: Tensor, g: Tensor) -> Tensor:
        h = a.clone()
        change(h, g)
        return h

    return join


def through_a_view(h: Tensor, g: Tensor) -> None:
    view = h[:, :3]
    view += g[:, :3]


def through_nested_views(h: Tensor, g: Tensor) -> None:
    first, _ = h.unflatten(-1, (1, 5)).squeeze(1).split([3, 2], -1)
    first.detach().t()[1].mul_(g[:, 1])


def behind_a_view(a: Tensor, g: Tensor) -> Tensor:
    h = a.clone()
    view = h[:, 1:4]
    h += g
    return functional.pad(view, (1, 1))


def through_two_views(a: Tensor, g: Tensor) -> Tensor:
    h = a.clone()
    left, right = h[:, :4], h[:, 2:]
    left *= g[:, :4]
    return torch.cat([left, right[:, 2:]], 1) + functional.pad(right, (0, 2))


def into_a_sum(a: Tensor, g: Tensor) -> Tensor:
    total = torch.zeros_like(a)
    total += a
    total += g
    return total


FOLLOWED: dict[str, Joining] = {
    "lerp": lambda a, g: torch.lerp(a, 2 * a, torch.sigmoid(g)),
    "lerp by keywords": lambda a, g: a.lerp(end=2 * a, weight=torch.sigmoid(g)),
    "lerp by a number": lambda a, g: torch.lerp(a, g, 0.3),
    "lerp in place": written(lambda h, g: h.lerp_(2 * h, torch.sigmoid(g))),
    "masked_fill": lambda a, g: a.masked_fill(g > 1, 0.0),
    "masked_fill with a value": lambda a, g: a.masked_fill(mask=g > 1, value=2.0),
    "masked_fill in place": written(lambda h, g: h.masked_fill_(g > 1, 0.0)),
    "masked_fill of a tensor": lambda a, g: a.masked_fill(torch.arange(5) < 2, g.sum()),
    "where": lambda a, g: torch.where(g < 1, a, 0.0),
    "where as a method": lambda a, g: a.where(g < 1, torch.zeros_like(a)),
    "where by keywords": lambda a, g: torch.where(condition=torch.arange(5) < 2, input=a, other=g),
    "times a comparison": lambda a, g: a * (g > -1),
    "clamp max": lambda a, g: torch.clamp(a, max=g),
    "clamp min": lambda a, g: torch.clamp(input=a, min=g),
    "clip": lambda a, g: a.clip(min=-(g**2).exp(), max=g.exp()),
    "clamp_min": lambda a, g: torch.clamp_min(a, min=g),
    "clamp_max in place": written(lambda h, g: h.clamp_max_(g)),
    "gated by a clamp": lambda a, g: a * g.clamp(min=0.5, max=2),
    "gated by hardtanh": lambda a, g: a * functional.hardtanh(g, 0.5, 2),
    "prelu": lambda a, g: functional.prelu(a, g[0]),
    "add": lambda a, g: torch.add(a, other=g),
    "sub": lambda a, g: torch.sub(input=a, other=g, alpha=2),
    "mul": lambda a, g: torch.mul(input=a, other=g),
    "div": lambda a, g: a.div(other=g.exp()),
    "pow": lambda a, g: torch.pow(a.exp(), exponent=torch.sigmoid(g)),
    "maximum": lambda a, g: torch.maximum(input=a, other=g),
    "max of two": lambda a, g: torch.max(a, other=g),
    "addcmul": lambda a, g: torch.addcmul(a, g, tensor2=a, value=0.5),
    "addcdiv": lambda a, g: a.addcdiv(tensor1=a, tensor2=g.exp()),
    "addmm": lambda a, g: torch.addmm(a, mat1=a, mat2=g.mT @ g),
    "baddbmm": lambda a, g: torch.baddbmm(g[None], batch1=a[None], batch2=(a.mT @ a)[None])[0],
    "matmul": lambda a, g: torch.matmul(a, other=g.mT @ g),
    "linear": lambda a, g: functional.linear(input=a, weight=g.mT @ g, bias=None),
    "bias of linear": lambda a, g: functional.linear(a, torch.eye(5).to(a), bias=g[0]),
    "bias of a convolution": lambda a, g: functional.conv1d(a[:, :, None], torch.eye(5).to(a)[..., None], g[0])[..., 0],
    "scale of a normalisation": lambda a, g: functional.batch_norm(a, *torch.ones(2, 5).to(a), weight=g[0]),
    "bias of a normalisation": lambda a, g: functional.batch_norm(a, *torch.ones(2, 5).to(a), bias=g[0]),
    "cat": lambda a, g: torch.cat(tensors=(a[:, :2], g[:, :3]), dim=1),
    "stack": lambda a, g: torch.stack(tensors=[a, g], dim=-1).sum(-1),
    "einsum": lambda a, g: torch.einsum("bi,bj->bj", a, g),
    "indices of maxima": lambda a, g: a * g.max(1, keepdim=True).indices,
    "view": written(through_a_view),
    "nested views": written(through_nested_views),
    "base of a view": behind_a_view,
    "views that overlap": through_two_views,
    "copy into a view": written(lambda h, g: h[:, :3].copy_(g[:, :3])),
    "select": written(lambda h, g: h.select(1, 0).add_(g[:, 0])),
    "flat view": written(lambda h, g: h.view(-1).mul_(g.view(-1))),
    "unbind": written(lambda h, g: h.unbind(1)[2].add_(g[:, 0])),
    "chunk": written(lambda h, g: h.chunk(2, dim=1)[1].mul_(g[:, 3:])),
    "assignment into a view": written(lambda h, g: h[:, 1:].__setitem__((slice(None), 0), g[:, 0])),
    "data": written(lambda h, g: h.data.add_(g)),
    "activation in place": written(lambda h, g: functional.relu(h[:, :2].mul_(g[:, :2]), inplace=True)),
    "sum in place": into_a_sum,
}  # fmt: skip


@pytest.mark.parametrize("density", [0.4, 1.0])
@pytest.mark.parametrize("join", FOLLOWED.values(), ids=FOLLOWED.keys())
def test_every_operand_is_followed(join, density):
    model = Joined(join)
    masks = draw_masks(model, 2, density)
    found = topology(model, masks, input_shape=(6,))
    assert found.effective_masks == that_change_outputs(model, masks, (6,))


class Biased(nn.Module):
    """Attention whose mask is computed from the input."""

    def __init__(self, attend: Callable[["Biased", Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.states = nn.Linear(4, 4, bias=False)
        self.mask = nn.Linear(4, 3, bias=False)
        self.attention = nn.MultiheadAttention(4, 2, bias=False, batch_first=True)
        self.attend = attend

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(self, self.states(x), self.mask(x))


def multi_head(model: Biased, states: Tensor, **masks: Tensor) -> Tensor:
    return model.attention(states, states, states, need_weights=False, **masks)[0]


@pytest.mark.parametrize("density", [0.5, 1.0])
@pytest.mark.parametrize(
    "attend",
    [
        lambda model, s, mask: (s @ s.mT + mask).softmax(-1) @ multi_head(model, s),
        lambda model, s, mask: functional.scaled_dot_product_attention(s, s, multi_head(model, s), mask),
        lambda model, s, mask: functional.scaled_dot_product_attention(s, s, multi_head(model, s), attn_mask=mask),
        lambda model, s, mask: multi_head(model, s, attn_mask=mask.repeat(2, 1, 1)),
        lambda model, s, mask: multi_head(model, s, attn_mask=mask[0]),
        lambda model, s, mask: multi_head(model, s, key_padding_mask=mask[:, 0]),
    ],
    ids=["written out", "positional", "keyword", "mask of each head", "mask of all", "padding"],
)
def test_computed_attention_masks_are_followed(attend, density):
    model = Biased(attend)
    masks = draw_masks(model, 4, density)
    found = topology(model, masks, input_shape=(3, 4))
    assert found.effective_masks == that_change_outputs(model, masks, (3, 4))


class Reshaped(nn.Linear):
    """Its weight is used through a function that is not 0 at 0."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, torch.sigmoid(self.weight)) / torch.exp(self.weight).sum(1)


def test_weights_behind_functions_that_are_never_0():
    model = Reshaped(4, 3, bias=False)
    masks = draw_masks(model, 1, 0.5)
    assert topology(model, masks, input_shape=(4,)).effective_masks == that_change_outputs(model, masks, (4,))


def test_parts_of_a_weight_can_be_overwritten():
    def forward(model: nn.Module, x: Tensor) -> Tensor:
        weight = model.weight.clone()
        weight[0] = 0
        weight[1:, :2].mul_(2)
        return functional.linear(x, weight)

    model = nn.Linear(4, 3, bias=False)
    masks = Masks.ones(prunable(model))
    found = topology(model, masks, input_shape=(4,), forward=forward).effective_masks
    assert found is not None
    assert found["weight"].tolist() == [[False] * 4, [True] * 4, [True] * 4]


def changed_after_a_conversion(a: Tensor, g: Tensor) -> Tensor:
    functional.dropout(a, 0.5, training=False).add_(g)
    return a


def written_into_a_constant(a: Tensor, g: Tensor) -> Tensor:
    constant = torch.zeros(1, 5)
    constant[:, :3].add_(g[:, :3])
    return a + constant


def handed_out(a: Tensor, g: Tensor) -> Tensor:
    constant = torch.zeros(1, 5)
    torch.mul(a, g, out=constant)
    return constant


REFUSED: dict[str, tuple[Joining, str]] = {
    "computed indices": (lambda a, g: a.gather(1, g.argsort(1)), "argsort"),
    "indices of maxima": (lambda a, g: a.gather(1, g.max(1, keepdim=True)[1]), "torch's gather where argument 3 is"),
    "index by keyword": (lambda a, g: torch.index_select(a, 1, index=g.long()[0]), "index_select where index is"),
    "items": (lambda a, g: a[:, g.long()[0]], "torch's getitem where argument 2 is computed"),
    "masked assignment": (written(lambda h, g: h.__setitem__(g < 0, 0.0)), "setitem where argument 2 is computed"),
    "masked_scatter": (lambda a, g: a.masked_scatter(g < 0, g), "no rule for torch's masked_scatter"),
    "scatter": (lambda a, g: a.scatter(1, g.long(), g), "no rule for torch's scatter"),
    "index_fill": (lambda a, g: a.index_fill(1, g.long()[0], 0), "no rule for torch's index_fill"),
    "full_like": (lambda a, g: torch.full_like(a, g.sum()), "torch's full_like where argument 2 is computed"),
    "alpha": (lambda a, g: torch.add(a, a, alpha=g.sum()), "torch's add where alpha is computed"),
    "statistics": (lambda a, g: functional.batch_norm(a, g[0], g[0].exp()), "batch_norm where argument 2 is"),
    "a computed bias of a recurrent layer": (
        lambda a, g: torch.rnn_tanh_cell(a, a, g.mT @ a, a.mT @ a, g[0], a[0]),
        "torch's rnn_tanh_cell where argument 5 is computed",
    ),
    "out=": (handed_out, "topology cannot follow torch's mul with out=; use what it returns"),
    "a change after a conversion": (changed_after_a_conversion, "another that may share its memory was changed in pla"),
    "a constant": (written_into_a_constant, "written into a tensor that does not depend on the input; use the result"),
    "data": (written(lambda h, g: setattr(h, "data", g)), "no rule for torch's assignment to .data"),
    "a shape in place": (written(lambda h, g: h.squeeze_(1)), "torch's squeeze_, which changes a shape in place"),
}  # fmt: skip


@pytest.mark.parametrize(("join", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_followed_is_refused(join, message):
    model = Joined(join)
    with pytest.raises(ValueError, match=message):
        topology(model, Masks.ones(prunable(model)), input_shape=(6,))


def test_a_constant_that_was_overwritten_is_no_output():
    model = Joined(lambda a, g: a)
    constant = torch.zeros(1, 3)
    with pytest.raises(ValueError, match="written into a tensor that does not depend on the input"):
        topology(
            model,
            Masks.ones(prunable(model)),
            input_shape=(6,),
            forward=lambda model, x: (constant.add_(model(x)), constant)[1],
        )
