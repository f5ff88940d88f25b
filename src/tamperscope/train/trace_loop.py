"""How the networks of the package are trained: straight, seeded, resumable, with a record. Recipes train by `run`."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict, deque
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
from tamperscope.train.bank import Bank, Mined
from tamperscope.train.crops import IGNORE, Crops, Pair
from tamperscope.train.loss import strongest, trace_loss


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
    pointing_weight: float = 0.2
    """Share of the loss on forged crops whose strongest place is an authentic one."""
    hard: int = 4
    """Authentic crops a step that come again, with another turn: of those that scored highest in earlier steps."""
    hard_kept: int = 128
    mined: int = 0
    """Authentic crops a step from those that an earlier network found suspicious (`bank.Mined`)."""
    save_every: int = 200
    seed: int = 1


def fit(
    net: nn.Module,
    crops: Crops | Bank,
    held_out: Sequence[Pair],
    schedule: Schedule,
    run: Path,
    *,
    mined: Mined | None = None,
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
    hard = HardCrops(schedule.hard, schedule.hard_kept, torch.Generator().manual_seed(schedule.seed + step))
    mining = np.random.default_rng([schedule.seed, step])
    started, losses = time.monotonic(), []
    while step < schedule.steps:
        for group in optimiser.param_groups:
            group["lr"] = _rate(schedule, step)
        seen, target = next(stream)
        if mined is not None:
            seen, target = with_authentic(seen, target, torch.from_numpy(mined.draw(schedule.mined, mining)))
        authentic = slice(schedule.pairs, len(seen))
        seen, target = hard.join(seen, target)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = net(seen.to(device, memory_format=torch.channels_last))
        loss = trace_loss(
            logits.float(),
            target.to(device),
            positive=schedule.positive_weight,
            picture=schedule.picture_weight,
            pointing=schedule.pointing_weight,
        )
        hard.keep(seen, logits.detach().float().cpu(), authentic)
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


class HardCrops:
    """The authentic crops that scored highest lately, ``kept`` of them, ``share`` of which come again in each step."""

    def __init__(self, share: int, kept: int, random: torch.Generator) -> None:
        self.share, self.random = share, random
        self.crops: deque[Tensor] = deque(maxlen=kept)

    def join(self, seen: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The batch (2N, C, H, W) with its targets (2N, 1, h, w), and after it hard crops, turned anew."""
        count = min(self.share, len(self.crops))
        if count == 0:
            return seen, target
        chosen = torch.randperm(len(self.crops), generator=self.random)[:count].tolist()
        quarters = torch.randint(4, (count,), generator=self.random).tolist()
        again = torch.stack([self.crops[n].rot90(k, (-2, -1)) for n, k in zip(chosen, quarters, strict=True)])
        return with_authentic(seen, target, again)

    def keep(self, seen: Tensor, logits: Tensor, authentic: slice) -> None:
        """Remember the half of ``share`` of the crops at ``authentic`` whose ``logits`` are highest."""
        highest = strongest(logits[authentic]).topk(min(self.share // 2, len(logits[authentic]))).indices
        self.crops.extend(seen[authentic][highest].clone())


def with_authentic(seen: Tensor, target: Tensor, crops: Tensor) -> tuple[Tensor, Tensor]:
    """The batch (N, C, H, W) with its targets (N, 1, h, w), and after it crops that hold nothing forged."""
    return torch.cat([seen, crops]), torch.cat([target, target.new_zeros((len(crops), *target.shape[1:]))])


def judge(net: nn.Module, pairs: Sequence[Pair]) -> dict[str, float]:
    """AUROC of the strongest place of forged crops against their twins, for each attack, and their mean.

    ``pointing`` is the share of forged crops whose strongest place is a forged one.
    """
    if not pairs:
        return {}
    device = next(net.parameters()).device
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
    hits: list[bool] = []
    net.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        for start in range(0, len(pairs), 16):
            chunk = pairs[start : start + 16]
            seen, target = _collate(chunk)
            logits = net(seen.to(device)).float().cpu()
            first = logits[: len(chunk)].flatten(1).argmax(1, keepdim=True)
            hits += (target[: len(chunk)].flatten(1).gather(1, first) != 0).flatten().tolist()
            for pair, *both in zip(chunk, *strongest(logits).reshape(2, -1).tolist(), strict=True):
                scores[pair.attack].append((both[0], both[1]))
    net.train()
    by_attack = {name: auroc([a for a, _ in both], [b for _, b in both]) for name, both in sorted(scores.items())}
    return {"auroc": float(np.mean(list(by_attack.values()))), "pointing": float(np.mean(hits)), **by_attack}


def _batches(crops: Crops | Bank, schedule: Schedule, workers: int, step: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (2N, 3, H, W) channels, forged before pristine, and targets (2N, H/4, W/4)."""
    crops.seed = schedule.seed + step  # a resumed run goes on with new forgeries
    loader = DataLoader(crops, batch_size=schedule.pairs, num_workers=workers, collate_fn=_collate)
    yield from loader


def _collate(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    seen = torch.from_numpy(np.stack([p.forged for p in pairs] + [p.pristine for p in pairs]))
    target = coarse(torch.from_numpy(np.stack([p.target for p in pairs]))[:, None])
    return seen, torch.cat([target, torch.zeros_like(target)])


def coarse(target: Tensor) -> Tensor:
    """Targets (N, 1, H, W) on the grid of the answer: forged where most of a cell is, -1 where it is mixed."""
    judged = functional.avg_pool2d((target != IGNORE).float(), STRIDE)
    positive = functional.avg_pool2d((target > 0).float(), STRIDE)
    return torch.where(positive > 0.5, 1.0, torch.where((positive > 0) | (judged < 0.75), IGNORE, 0.0))


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
