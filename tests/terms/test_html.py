"""What notebooks show of masks, topologies and verdicts."""

import re
from html import unescape

import pandas as pd
import torch
from torch import nn

import prunemark as pm
from prunemark.terms.html import html_table


def test_names_are_escaped():
    shown = html_table(["<b>"], [["a & b"], [3]], notes=["1 < 2"])
    assert shown == (
        "<table><thead><tr><th>&lt;b&gt;</th></tr></thead><tbody><tr><td>a &amp; b</td></tr><tr><td>3</td></tr></tbody>"
        "</table><p>1 &lt; 2</p>"
    )


def test_masks_and_topologies_show_the_numbers_that_print_shows():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    masks = pm.prune(model, "random", sparsity=0.5, seed=0)
    topology = pm.topology(model, masks, input_shape=(6,))
    for shown in (masks, topology):
        rows = [
            re.findall("<td>(.*?)</td>", unescape(row)) for row in re.findall("<tr>(.*?)</tr>", shown._repr_html_())
        ]
        lines = [line.split() for line in str(shown).splitlines()]
        assert (
            [row[0] for row in rows[1:]] == ["0.weight", "2.weight", "total"] if shown is masks else ["0", "2", "total"]
        )
        for row in rows[1:]:
            assert [cell for cell in row if cell] in lines
    assert topology.findings[0] in topology._repr_html_()


def test_verdicts_show_headline_state_and_difference():
    runs = [("snip", "unmodified", 0.9), ("snip", "shuffle", 0.9), ("random", "unmodified", 0.7)]
    rows = [
        (method, ablation, 0.9, replicate, accuracy + replicate / 1000)
        for replicate in range(5)
        for method, ablation, accuracy in runs
    ]
    results = pd.DataFrame(rows, columns=["method", "ablation", "sparsity", "replicate", "test_accuracy"])
    judged = pm.judge(results, margin=1.0)
    shown = judged._repr_html_()
    claim = judged.claims.query("claim == 'C3' and subject == 'snip'").iloc[0]
    assert claim.state == "supported"
    interval = f"{claim.difference:+.2f} [{claim.low:+.2f}, {claim.high:+.2f}]"
    assert f"<td>C3</td><td>{claim['range']}</td><td>snip</td><td>supported</td><td>{interval}</td>" in shown
    assert shown.endswith("</p>")
