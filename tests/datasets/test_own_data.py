"""Data sets of one's own: tensors, functions, files of arrays, folders of images, text."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from prunemark.datasets import OverlapWarning, dataset, entry_for, form_of
from prunemark.datasets.from_tensors import from_tensors
from prunemark.datasets.text import load_sums, words

NUMBERS = torch.arange(24.0).view(8, 3)
CLASSES = torch.tensor([0, 1, 2, 1, 0, 2, 1, 0])
PAIRS = {"train": (NUMBERS[:5], CLASSES[:5]), "test": (NUMBERS[5:], CLASSES[5:])}


def written(folder: Path, text: str) -> str:
    path = folder / "mine.py"
    path.write_text(f"import torch\n\nNUMBERS = torch.arange(24.0).view(8, 3)\n\n\ndef data():\n{text}\n")
    return f"{path}:data"


@pytest.mark.parametrize(
    ("inputs", "targets", "task", "classes"),
    [
        (NUMBERS, CLASSES, "classification", 3),
        (NUMBERS.numpy().astype("float64"), CLASSES.tolist(), "classification", 3),
        (NUMBERS, NUMBERS[:, 0], "regression", 1),
        (NUMBERS, NUMBERS[:, :2], "regression", 2),
        (torch.zeros(8, 1, 2, 2), torch.zeros(8, 2, 2).long(), "segmentation", 1),
        (torch.arange(24).view(8, 3), torch.arange(24).view(8, 3) + 1, "next-token", 25),
    ],
)
def test_what_the_targets_are_says_what_the_task_is(inputs, targets, task, classes):
    data = from_tensors("mine", train=(inputs[:5], targets[:5]), test=(inputs[5:], targets[5:]))
    assert (data.task, data.classes) == (task, classes)
    assert data.train.inputs.dtype == (torch.int64 if task == "next-token" else torch.float32)


def test_images_of_bytes_are_normalised_by_the_training_images():
    images = torch.randint(256, (40, 2, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = from_tensors("mine", train=(images[:30], torch.zeros(30).long()), test=(images[30:], torch.zeros(10).long()))
    torch.testing.assert_close(data.train.inputs.mean((0, 2, 3)), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(data.train.inputs.std((0, 2, 3), correction=0), torch.ones(2))
    ratio = data.test.inputs[:, 0] * images[:30, 0].double().std(correction=0) + images[:30, 0].double().mean()
    torch.testing.assert_close(ratio, images[30:, 0].double(), check_dtype=False)


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (NUMBERS, CLASSES[:4], r"of one length, not \(8, 3\) and \(4,\)"),
        (NUMBERS / 0, CLASSES, 'the inputs of the train split of "mine" hold values that are not finite'),
        (NUMBERS, NUMBERS[:, 0] / 0, "the targets of the train split"),
        ([[1, 2], [3]], CLASSES[:2], "are not numbers of one shape"),
        (NUMBERS, CLASSES - 1, "has targets -1 to 1"),
        (NUMBERS.to(torch.complex64), CLASSES, "complex"),
    ],
)
def test_what_is_no_data_set_is_said(inputs, targets, message):
    with pytest.raises(ValueError, match=message):
        from_tensors("mine", train=(inputs, targets), test=PAIRS["test"])


def test_splits_of_different_types_are_refused():
    images, fractions = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.rand(4, 1, 2, 2)
    images[0] = 255
    with pytest.raises(ValueError, match=r"are torch.uint8 in train, and torch.float32 in test"):
        from_tensors("mine", train=(images, CLASSES[:4]), test=(fractions, CLASSES[:4]))


def test_the_fingerprint_is_that_of_the_data():
    def fingerprint(**changes):
        return from_tensors("mine", **(PAIRS | changes)).fingerprint

    assert fingerprint() == fingerprint()
    assert fingerprint() != fingerprint(class_names=["a", "b", "c"])
    assert fingerprint() != fingerprint(train=(NUMBERS[:5] + 1, CLASSES[:5]))
    assert fingerprint() != fingerprint(train=(NUMBERS[:5].long(), CLASSES[:5]), test=(NUMBERS[5:].long(), CLASSES[5:]))


def test_test_examples_among_the_training_examples_are_counted_and_said(tmp_path):
    name = written(tmp_path, "    return (NUMBERS[:6], torch.arange(6)), (NUMBERS[4:], torch.arange(4))")
    with pytest.warns(OverlapWarning, match=r"2 of 4 test examples \(50.0%\) are training examples"):
        data = dataset(name)
    assert data.overlap == entry_for(name).overlap == 2


@pytest.mark.parametrize(
    "text",
    [
        "    return (NUMBERS[:5], torch.arange(5)), (NUMBERS[5:].numpy(), torch.arange(3).tolist())",
        '    return {"train": (NUMBERS[:5], torch.arange(5)), "test": (NUMBERS[5:], torch.arange(3))}',
        "    pairs = torch.utils.data.TensorDataset(NUMBERS, torch.tensor([0, 1, 2, 3, 4, 0, 1, 2]))\n"
        "    return torch.utils.data.Subset(pairs, range(5)), [pairs[i] for i in range(5, 8)]",
        "    import prunemark.datasets.from_tensors as f\n"
        "    return f.from_tensors('x', train=(NUMBERS[:5], torch.arange(5)), test=(NUMBERS[5:], torch.arange(3)))",
    ],
)
def test_a_function_returns_its_data_in_several_ways(tmp_path, text):
    data = dataset(written(tmp_path, text))
    assert torch.equal(data.train.inputs, NUMBERS[:5])
    assert data.test.targets.tolist() == [0, 1, 2]


def test_what_a_function_draws_is_the_same_each_time(tmp_path):
    name = written(tmp_path, "    x = torch.randn(9, 2)\n    return (x[:5], x[:5, 0]), (x[5:], x[5:, 0])")
    first = dataset(name)
    torch.manual_seed(5)
    assert dataset(name).fingerprint == first.fingerprint == entry_for(name).fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("    return NUMBERS", "mine.py:data must return train and test: .*; not Tensor"),
        ("    return {'train': 1}", "not a mapping of train"),
        ("    return [], []", "its train is empty"),
        ("    return [1, 2, 3], []", "the items of its train are no pairs"),
        ("    return [(NUMBERS[0], 0), (NUMBERS[:2], 1), (NUMBERS[0], 1)], []", r"differ in shape: \(2, 3\), \(3,\)"),
        ("    return 1 / 0", "mine.py:data failed in line 7: ZeroDivisionError"),
        ("    raise SystemExit(3)", "mine.py:data ended the program"),
    ],
)
def test_a_function_that_returns_no_data_is_said(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        dataset(written(tmp_path, text))


def test_a_function_that_ends_its_process_is_said_while_planning(tmp_path):
    name = written(tmp_path, "    import os\n    os._exit(7)")
    with pytest.raises(ValueError, match=r"mine.py:data ended the program with exit code 7"):
        entry_for(name)


def test_files_of_arrays_hold_equal_data_in_each_format(tmp_path):
    arrays = {
        f"{split}_{what}": tensor
        for split, pair in PAIRS.items()
        for what, tensor in zip(("inputs", "targets"), pair, strict=True)
    }
    numpy = {name: tensor.numpy() for name, tensor in arrays.items()}
    np.savez(tmp_path / "d.npz", **numpy, class_names=np.array(["a", "b", "c"]))
    tensors = {name: tensor.contiguous() for name, tensor in arrays.items()}
    save_file(tensors, tmp_path / "d.safetensors", metadata={"class_names": json.dumps(["a", "b", "c"])})
    table = pd.DataFrame(NUMBERS.numpy(), columns=["x", "y", "z"])
    table["target"] = ["abc"[c] for c in CLASSES]
    table["split"] = ["train"] * 5 + ["test"] * 3
    table.to_parquet(tmp_path / "d.parquet")
    entries = [entry_for(str(tmp_path / f"d.{suffix}")) for suffix in ("npz", "safetensors", "parquet")]
    assert len({entry.fingerprint for entry in entries}) == 1
    assert (entries[0].classes, entries[0].input_shape, entries[0].train_examples) == (3, (3,), 5)
    numpy["train_inputs"] = numpy["train_inputs"] + 1
    np.savez(tmp_path / "d.npz", **numpy, class_names=np.array(["a", "b", "c"]))
    assert entry_for(str(tmp_path / "d.npz")).fingerprint != entries[0].fingerprint


def test_files_that_are_none_are_said(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    np.savez(tmp_path / "less.npz", train_inputs=np.zeros((2, 2)))
    np.savez(tmp_path / "pickle.npz", train_inputs=np.array([{}], dtype=object))
    pd.DataFrame({"x": [1], "target": [0], "split": ["valid"]}).to_parquet(tmp_path / "split.parquet")
    for name, message in {
        "missing.npz": "there is no such file",
        "broken.npz": '"broken.npz"',
        "less.npz": "lacks train_targets, test_inputs, test_targets; it has train_inputs",
        "pickle.npz": "Object arrays cannot be loaded",
        "split.parquet": r"the column split holds \['valid'\]",
    }.items():
        with pytest.raises(ValueError, match=message):
            dataset(str(tmp_path / name))


def folder_of_images(folder: Path, *, mode: str = "L") -> str:
    for split, count in (("train", 3), ("val", 1)):
        for label, name in enumerate(("cat", "dog")):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.full((4, 5), 40 * label + 10 * i + len(split), dtype=np.uint8)
                Image.fromarray(pixels).convert(mode).save(folder / split / name / f"{i}.png")
    return f"{folder}/"


def test_a_folder_of_images_is_a_data_set(tmp_path):
    data = dataset(folder_of_images(tmp_path / "pets"))
    assert (data.input_shape, data.class_names, data.train.targets.tolist()) == (
        (1, 4, 5),
        ("cat", "dog"),
        [0, 0, 0, 1, 1, 1],
    )
    assert (len(data.test), data.task, data.overlap) == (2, "classification", 0)
    Image.fromarray(np.zeros((4, 6), dtype=np.uint8)).save(tmp_path / "pets" / "train" / "dog" / "9.png")
    with pytest.raises(ValueError, match=r"9.png: 4 x 6 pixels, and the images before it have 4 x 5"):
        dataset(str(tmp_path / "pets"))
    with pytest.raises(ValueError, match="must hold the folders train and test or validation or val"):
        dataset(f"{tmp_path}/")
    with pytest.raises(ValueError, match="no such folder"):
        dataset(f"{tmp_path}/none/")


def test_text_is_cut_into_examples_and_the_last_tenth_is_the_test(tmp_path):
    (tmp_path / "t.txt").write_text("abcde" * 18 + "cadeb" * 2)
    data = dataset(f"{tmp_path / 't.txt'}:4")
    assert (data.class_names, data.task, data.input_shape) == (("a", "b", "c", "d", "e"), "next-token", (4,))
    assert (len(data.train), len(data.test)) == (22, 2)
    assert torch.equal(data.train.inputs[1:, 0], data.train.targets[:-1, -1])
    assert data.train.inputs[0].tolist() == [0, 1, 2, 3]
    assert data.train.targets[0].tolist() == [1, 2, 3, 4]


def test_a_text_shorter_than_the_context_is_said(tmp_path):
    (tmp_path / "t.txt").write_text("abcde" * 20)
    with pytest.raises(ValueError, match=r'test text of "t.txt" has 10 characters, fewer than one example of 64'):
        entry_for(str(tmp_path / "t.txt"))
    with pytest.raises(ValueError, match="the context is a whole number"):
        dataset(f"{tmp_path / 't.txt'}:x")


def test_sums_are_right_and_no_test_sum_is_a_training_sum():
    assert [words(n) for n in (0, 13, 20, 47, 100, 101, 198)] == [
        *("zero", "thirteen", "twenty", "forty-seven", "one hundred", "one hundred and one"),
        "one hundred and ninety-eight",
    ]
    data = load_sums()
    entry = entry_for("sums")
    assert (len(data.train), len(data.test), data.classes) == (entry.train_examples, entry.test_examples, entry.classes)
    assert data.overlap == 0


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("digits", ""),
        ("hub:me/data", ""),
        ("mine.py:data", "code"),
        ("a/b.npz", "arrays"),
        ("b.parquet", "arrays"),
        ("t.txt:9", "text"),
        ("photos/", "folder"),
        ("digit", ""),
    ],
)
def test_a_name_says_which_form_of_data_it_is(name, form):
    assert form_of(name) == form
