"""The training loop: straight, seeded, resumable, and its own record."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from tamperscope.errors import WeightsError
from tamperscope.evaluate.metrics import auroc
from tamperscope.models.trace_net import STRIDE
from tamperscope.train.crops import IGNORE, Crops, Pair


@dataclass(frozen=True, slots=True)
class Schedule:
    """The numbers of a run."""

    steps: int
    pairs: int = 16
    """Pairs a step; the network sees twice as many crops."""
    rate: float = 2e-3
    warm_up: int = 200
    weight_decay: float = 0.02
    average: float = 0.998
    """Decay of the exponential moving average of the weights, which is what is kept."""
    positive_weight: float = 3.0
    picture_weight: float = 0.3
    """Share of the loss on the crop's strongest places, which is what raises or spares a false alarm."""
    save_every: int = 200
    seed: int = 1


def fit(
    net: nn.Module,
    crops: Crops,
    held_out: Sequence[Pair],
    schedule: Schedule,
    run: Path,
    *,
    workers: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> nn.Module:
    """Train ``net`` in place on pairs from ``crops`` and return its moving average.

    ``run`` receives ``record.jsonl`` (settings, then a line each time it saves, with the AUROC of every attack on
    ``held_out``), ``last.safetensors`` (all that a resumed run needs) and ``average.safetensors`` (the result). A
    run that finds ``last.safetensors`` goes on from there.

    Raises:
        WeightsError: the checkpoint in ``run`` is of another network.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(schedule.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), lr=schedule.rate, weight_decay=schedule.weight_decay)
    average = {name: value.detach().clone() for name, value in net.state_dict().items()}
    step = _resume(net, optimiser, average, run / "last.safetensors")
    _log(run, {"settings": asdict(schedule), "recipe": asdict(crops.recipe), "device": str(device), "from": step})
    stream = _batches(crops, schedule, workers, step)
    started, losses = time.monotonic(), []
    while step < schedule.steps:
        for group in optimiser.param_groups:
            group["lr"] = _rate(schedule, step)
        seen, target = next(stream)
        with torch.autocast(device.type, torch.bfloat16):
            logits = net(seen.to(device, memory_format=torch.channels_last))
        loss = _loss(logits.float(), target.to(device), schedule)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        step += 1
        losses.append(loss.item())
        _follow(average, net, min(schedule.average, step / (step + 20)))
        if step % schedule.save_every == 0 or step == schedule.steps:
            _save(net, optimiser, average, step, run)
            line = {"step": step, "loss": float(np.mean(losses)), "seconds": time.monotonic() - started}
            line |= judge(_with(net, average), held_out)
            _log(run, line)
            say(" ".join(f"{key} {value:.4g}" for key, value in line.items()))
            losses.clear()
    return _with(net, average)


def judge(net: nn.Module, pairs: Sequence[Pair]) -> dict[str, float]:
    """AUROC of the strongest place of forged crops against their twins, for each attack, and their mean."""
    if not pairs:
        return {}
    device = next(net.parameters()).device
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
    net.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        for start in range(0, len(pairs), 16):
            chunk = pairs[start : start + 16]
            seen = torch.from_numpy(np.stack([p.forged for p in chunk] + [p.pristine for p in chunk]))
            strongest = _strongest(net(seen.to(device)).float()).cpu().numpy()
            for n, pair in enumerate(chunk):
                scores[pair.attack].append((float(strongest[n]), float(strongest[n + len(chunk)])))
    net.train()
    by_attack = {name: auroc([a for a, _ in both], [b for _, b in both]) for name, both in sorted(scores.items())}
    return {"auroc": float(np.mean(list(by_attack.values()))), **by_attack}


def _batches(crops: Crops, schedule: Schedule, workers: int, step: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (2N, 3, H, W) channels, forged before pristine, and targets (2N, H/4, W/4)."""
    crops.seed = schedule.seed + step  # a resumed run goes on with new forgeries
    loader = DataLoader(crops, batch_size=schedule.pairs, num_workers=workers, collate_fn=_collate)
    yield from loader


def _collate(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    seen = torch.from_numpy(np.stack([p.forged for p in pairs] + [p.pristine for p in pairs]))
    target = torch.from_numpy(np.stack([p.target for p in pairs]))[:, None]
    judged = functional.avg_pool2d((target != IGNORE).float(), STRIDE)
    positive = functional.avg_pool2d((target > 0).float(), STRIDE)
    coarse = torch.where(positive > 0.5, 1.0, torch.where((positive > 0) | (judged < 0.75), IGNORE, 0.0))
    return seen, torch.cat([coarse, torch.zeros_like(coarse)])


def _loss(logits: Tensor, target: Tensor, schedule: Schedule) -> Tensor:
    """Cross-entropy over the judged places, plus that of the crop's strongest places against forged or not."""
    judged = (target != IGNORE).float()
    weight = judged * torch.where(target > 0, schedule.positive_weight, 1.0)
    pixels = functional.binary_cross_entropy_with_logits(logits, target.clamp(min=0.0), weight=weight, reduction="sum")
    forged = (target > 0).flatten(1).any(1).float()
    # Tiny forgeries can vanish on the coarse grid: such a crop is judged neither forged nor authentic.
    sure = torch.cat([forged[: len(forged) // 2], torch.ones_like(forged[len(forged) // 2 :])])
    picture = functional.binary_cross_entropy_with_logits(_strongest(logits), forged, weight=sure)
    return pixels / judged.sum().clamp(min=1.0) + schedule.picture_weight * picture


def _strongest(logits: Tensor) -> Tensor:
    """Mean of the 12 highest logits of each map (N, 1, h, w): about what a small nodule covers."""
    return logits.flatten(1).topk(12, dim=1).values.mean(1)


def _rate(schedule: Schedule, step: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth (Loshchilov and Hutter, SGDR, ICLR 2017)."""
    if step < schedule.warm_up:
        return schedule.rate * (step + 1) / schedule.warm_up
    done = (step - schedule.warm_up) / max(1, schedule.steps - schedule.warm_up)
    return schedule.rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0))))


def _follow(average: dict[str, Tensor], net: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1.0 - decay)
            else:
                average[name].copy_(value)


def _with(net: nn.Module, average: dict[str, Tensor]) -> nn.Module:
    """A copy of ``net`` that holds the averaged weights."""
    copy = deepcopy(net)
    copy.load_state_dict(average)
    return copy


def _save(net: nn.Module, optimiser: torch.optim.Optimizer, average: dict[str, Tensor], step: int, run: Path) -> None:
    tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value for name, value in state.items()}
    tensors["step"] = torch.tensor(step)
    for name, content in (("last", tensors), ("average", average)):
        part = run / f"{name}.part"
        save_file({key: value.detach().cpu().contiguous() for key, value in content.items()}, part)
        part.replace(run / f"{name}.safetensors")


def _resume(net: nn.Module, optimiser: torch.optim.Optimizer, average: dict[str, Tensor], path: Path) -> int:
    if not path.exists():
        return 0
    tensors = load_file(path)
    try:
        net.load_state_dict({name: tensors[f"net.{name}"] for name in net.state_dict()})
        for name, value in average.items():
            value.copy_(tensors[f"average.{name}"])
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{path} holds another network: {error}", hint="choose another run folder") from error
    state: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, number, name = key.split(".", 2)
            state[int(number)][name] = value
    optimiser.load_state_dict({"state": dict(state), "param_groups": optimiser.state_dict()["param_groups"]})
    return int(tensors["step"])


def _log(run: Path, line: Mapping[str, object]) -> None:
    with (run / "record.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
