from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
pytest.importorskip("timm", reason="the extra [train] is not installed")

from safetensors.torch import load_file  # noqa: E402

import sets  # noqa: E402
from tamperscope.train.workers import ALONE, Crew, joined  # noqa: E402

RECIPE = """
name = "tiny"
system = "plain-cnn"
[data]
manifest = "{manifest}"
[net]
width = 2
[input]
side = 32
[train]
steps = {steps}
batch = 4
save_every = 2
validate = 8
"""

WORK = """
import sys
from pathlib import Path
from safetensors.torch import save_file
from tamperscope.train import baseline
from tamperscope.train.classifier import Classifier
from tamperscope.train.recipe import read_recipe

kept = []
plain = Classifier.step
def step(self, number, rng):
    kept[:] = [self]
    return plain(self, number, rng)
Classifier.step = step
out = Path(sys.argv[2])
baseline.train(read_recipe(Path(sys.argv[1])), out, device="cpu", say=lambda line: print(line, flush=True))
if kept:
    rank = kept[0].crew.rank
    save_file({key: value.contiguous() for key, value in kept[0].net.state_dict().items()}, out / f"{rank}.weights")
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    return sets.forged_set(tmp_path_factory.mktemp("set"), 4)


def launched(folder: Path, manifest: Path, out: Path, steps: int) -> subprocess.CompletedProcess[str]:
    """Two processes of the CPU, as torchrun starts them."""
    (folder / "R.toml").write_text(RECIPE.format(manifest=manifest, steps=steps))
    (folder / "work.py").write_text(WORK)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    command = [sys.executable, *torchrun, str(folder / "work.py"), str(folder / "R.toml"), str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_two_processes_end_with_the_same_weights_and_a_resumed_run_with_those_of_a_whole_one(manifest, tmp_path):
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    for out, steps in ((whole, 4), (pieces, 2), (pieces, 4)):
        done = launched(tmp_path, manifest, out, steps)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("step 2,") + done.stdout.count("step 4,") == (2 if out == whole else 1), "one speaks"
    for out in (whole, pieces):
        first, second = (load_file(out / f"{rank}.weights") for rank in (0, 1))
        assert all(torch.equal(first[key], second[key]) for key in first)
    one, other = (load_file(out / "last.safetensors") for out in (whole, pieces))
    assert all(torch.equal(one[key], other[key]) for key in one if key != "seconds")
    model = json.loads((whole / "model.json").read_text())
    assert model["training"]["workers"] == 2
    assert model["files"] == json.loads((pieces / "model.json").read_text())["files"]
    rows = [json.loads(line) for line in (whole / "record.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "step" in row] == [2, 4], "one writes"


def test_one_process_draws_as_it_always_did():
    with joined("cpu") as crew:
        assert crew is ALONE
    drawn = [one.rng(3, 7).random() for one in (ALONE, Crew(1, 2))]
    assert drawn[0] == np.random.default_rng([3, 7]).random() != drawn[1]
    net = torch.nn.BatchNorm1d(2)
    net(torch.rand(4, 2)).sum().backward()
    before = [one.clone() for one in (*net.buffers(), *(each.grad for each in net.parameters()))]
    crew.average_gradients(net)
    crew.average_statistics(net)
    after = [*net.buffers(), *(each.grad for each in net.parameters())]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert (crew.agreed(0.1), crew.mean(0.1), crew.leads) == (0.1, 0.1, True)


def test_the_mean_of_two_halves_is_the_gradient_of_the_whole(tmp_path):
    """Each process has half of a batch; what both step by is what one process with all of it would."""
    script = tmp_path / "halves.py"
    script.write_text(
        "import sys, torch\nfrom tamperscope.train.workers import joined\n"
        "torch.manual_seed(1)\nnet = torch.nn.Linear(3, 1)\nx = torch.rand(8, 3)\n"
        "net(x).square().mean().backward()\nwhole = net.weight.grad.clone()\nnet.zero_grad()\n"
        "with joined('cpu') as crew:\n"
        "    net(x[4 * crew.rank : 4 * crew.rank + 4]).square().mean().backward()\n"
        "    assert not torch.allclose(net.weight.grad, whole)\n    crew.average_gradients(net)\n"
        "    torch.testing.assert_close(net.weight.grad, whole)\n"
        "    assert crew.agreed(float(crew.rank + 5)) == 5.0\n    assert crew.mean(float(crew.rank)) == 0.5\n"
        "    assert crew.mean(float('nan') if crew.rank else 1.0) != crew.mean(1.0)\n"
    )
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        [sys.executable, *torchrun, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
