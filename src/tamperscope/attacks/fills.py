"""Ways to close a hole in a slice from what surrounds it: the parts that inpainting attacks share.

Each takes a plane (H, W), the hole (H, W) in it and a generator, and gives the plane with the hole closed; what lies
outside the hole stays as it is. The border of the plane reflects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from tamperscope.errors import AttackError
from tamperscope.records import FloatArray, MaskArray

TV_STEPS = 15
TV_EDGE = 3.0
"""Differences (HU for CT) below which the total variation counts as smooth, so that it can be differentiated."""
PLATE_STEPS = 3
PATCH = 7
PATCH_ROUNDS = 5
"""Rounds of search and vote; each finds its matches anew in what the last one drew."""
TRUST = 1.6
"""By which the weight of a vote falls with every pixel away from the rim."""


def fill(plane: FloatArray, hole: MaskArray, kind: str, rng: np.random.Generator) -> FloatArray:
    """``plane`` (H, W) with its hole closed by the way ``kind``, one of `FILLS`; without a rim it stays as it is.

    Raises:
        AttackError: an unknown kind.
    """
    if kind not in FILLS:
        raise AttackError(f"unknown fill {kind!r}", hint=f"one of {', '.join(FILLS)}")
    if hole.all() or not hole.any():
        return plane
    return patchmatch(plane, hole, rng) if kind == "patchmatch" else _FROM_THE_RIM[kind](plane, hole)


def median(plane: FloatArray, hole: MaskArray) -> FloatArray:
    """The median of a rim of three pixels, softened."""
    rim = ndimage.binary_dilation(hole, iterations=3) & ~hole
    level = np.float32(np.median(plane[rim])) if rim.any() else np.float32(plane.mean())
    soft = ndimage.gaussian_filter(np.where(hole, level, plane), 1.0).astype(np.float32)
    return np.where(hole, soft, plane)


def harmonic(plane: FloatArray, hole: MaskArray) -> FloatArray:
    """Laplace's equation with the rim as boundary.

    The membrane of Perez, Gangnet and Blake, Poisson Image Editing, SIGGRAPH 2003, equation 2 with a guidance field
    of zero.
    """
    steps = _differences(plane.shape)
    return _solved(plane, hole, steps.T @ steps)


def guided(plane: FloatArray, hole: MaskArray, guide: FloatArray, *, mixed: bool) -> FloatArray:
    """The hole closed so that its gradients are those of ``guide`` (H, W): the seamless clone of Perez et al. 2003.

    ``mixed`` takes at each place the stronger gradient of the two (equations 12 and 13), which keeps what the plane
    itself shows there; else those of the guide alone (equation 9).
    """
    steps = _differences(plane.shape)
    wanted = steps @ guide.ravel().astype(np.float64)
    if mixed:
        own = steps @ plane.ravel().astype(np.float64)
        wanted = np.where(np.abs(own) > np.abs(wanted), own, wanted)
    return _solved(plane, hole, steps.T @ steps, steps.T @ wanted)


def total_variation(plane: FloatArray, hole: MaskArray) -> FloatArray:
    """Least total variation, which gives level areas with sharp edges.

    Chan and Shen, Mathematical models for local nontexture inpaintings, SIAM Journal on Applied Mathematics 62, 2002,
    solved by lagged diffusivity (Vogel and Oman, SIAM Journal on Scientific Computing 17, 1996): each step is a
    Laplace equation whose conductance falls with the gradient of the last solution.
    """
    steps = _differences(plane.shape)
    filled = harmonic(plane, hole)
    for _ in range(TV_STEPS):
        down, across = np.split(steps @ filled.ravel().astype(np.float64), 2)
        conductance = 1.0 / np.sqrt(down**2 + across**2 + TV_EDGE**2)
        weights = sparse.diags_array(np.tile(conductance, 2))
        filled = _solved(plane, hole, steps.T @ weights @ steps)
    return filled


def biharmonic(plane: FloatArray, hole: MaskArray) -> FloatArray:
    """The bent plate: the squared Laplacian is zero, so that slopes go on across the rim as well as levels.

    Bertalmio, Sapiro, Caselles and Ballester's idea of continuing isophotes (SIGGRAPH 2000) in its linear form. The
    rim is softened first, or its noise would be continued as a slope; what lies behind it for the filter to see is the
    solution so far.
    """
    steps = _differences(plane.shape)
    laplacian = steps.T @ steps
    filled = harmonic(plane, hole)
    for _ in range(PLATE_STEPS):
        soft = ndimage.gaussian_filter(filled, 1.5)
        filled = np.where(hole, _solved(soft, hole, laplacian @ laplacian), plane)
    return filled


def patchmatch(plane: FloatArray, hole: MaskArray, rng: np.random.Generator) -> FloatArray:
    """Exemplars: every pixel of the hole is copied from where a patch like its surroundings was found.

    The matches are those of PatchMatch (Barnes, Shechtman, Finkelstein and Goldman, SIGGRAPH 2009: random start,
    propagation from neighbours, random search in halving windows), the rounds of search and vote those of Wexler,
    Shechtman and Irani (PAMI 29, 2007), at one scale; the nearer to the rim a patch lies, the more its vote weighs. The
    last round copies instead of voting, so grain comes along.
    """
    half = PATCH // 2
    filled = harmonic(plane, hole)
    touching = ndimage.binary_dilation(hole, np.ones((PATCH, PATCH), dtype=bool))
    sources, targets = np.argwhere(~touching), np.argwhere(touching)
    if len(sources) == 0:
        return filled
    window = np.stack(np.meshgrid(*[np.arange(PATCH)] * 2, indexing="ij"), -1).reshape(-1, 2)
    trust = TRUST ** -ndimage.distance_transform_edt(hole)[touching][:, None]
    guess = np.pad(filled, half, mode="edge")
    for last in range(PATCH_ROUNDS - 1, -1, -1):
        matches = _matches(guess, targets, sources, ~touching, window, rng)
        if last:
            vote, weight = np.zeros(guess.shape), np.zeros(guess.shape)
            at = targets[:, None] + window
            np.add.at(vote, (at[..., 0], at[..., 1]), trust * _patch(guess, matches, window))
            np.add.at(weight, (at[..., 0], at[..., 1]), trust)
            inside = np.pad(hole, half)
            guess[inside] = vote[inside] / weight[inside]
    copied = plane.copy()
    copied[touching] = plane[matches[:, 0], matches[:, 1]]
    return np.where(hole, copied, plane)


def _matches(
    guess: FloatArray,
    targets: NDArray[np.int64],
    sources: NDArray[np.int64],
    allowed: MaskArray,
    window: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """For each target pixel (N, 2) the centre of a source patch like its own (Barnes et al. 2009, section 3)."""
    wanted = _patch(guess, targets, window)
    number = np.full(allowed.shape, -1)
    number[targets[:, 0], targets[:, 1]] = np.arange(len(targets))
    best = sources[rng.integers(len(sources), size=len(targets))]
    cost = _cost(guess, best, wanted, window)
    for _ in range(2):
        for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            near = np.clip(targets - step, 0, np.array(allowed.shape) - 1)
            neighbour = number[near[:, 0], near[:, 1]]
            best, cost = _better(guess, best, cost, best[neighbour] + step, neighbour >= 0, allowed, wanted, window)
        radius = max(allowed.shape)
        while radius >= 1:
            tried = best + rng.integers(-radius, radius + 1, size=best.shape)
            best, cost = _better(guess, best, cost, tried, True, allowed, wanted, window)
            radius //= 2
    return best


def _better(
    guess: FloatArray,
    best: NDArray[np.int64],
    cost: FloatArray,
    tried: NDArray[np.int64],
    usable: NDArray[np.bool_] | bool,
    allowed: MaskArray,
    wanted: FloatArray,
    window: NDArray[np.int64],
) -> tuple[NDArray[np.int64], FloatArray]:
    """``best`` and its cost, replaced by ``tried`` where that lies in the sources and matches more closely."""
    inside = np.clip(tried, 0, np.array(allowed.shape) - 1)
    usable = usable & (inside == tried).all(axis=1) & allowed[inside[:, 0], inside[:, 1]]
    price = np.where(usable, _cost(guess, inside, wanted, window), np.inf)
    wins = price < cost
    return np.where(wins[:, None], inside, best), np.where(wins, price, cost)


def _cost(guess: FloatArray, centres: NDArray[np.int64], wanted: FloatArray, window: NDArray[np.int64]) -> FloatArray:
    return np.asarray(((_patch(guess, centres, window) - wanted) ** 2).sum(axis=1))


def _patch(guess: FloatArray, centres: NDArray[np.int64], window: NDArray[np.int64]) -> FloatArray:
    """(N, 49): the patches round ``centres``; ``guess`` is padded by half a patch."""
    at = centres[:, None] + window
    return np.asarray(guess[at[..., 0], at[..., 1]])


def _differences(shape: tuple[int, ...]) -> sparse.csr_array:
    """Forward differences down, then across, of a plane (H, W): (2 H W, H W). The last row and column give zero."""
    rows, columns = (
        sparse.diags_array([np.r_[-np.ones(n - 1), 0.0], np.ones(n - 1)], offsets=[0, 1], shape=(n, n)) for n in shape
    )
    height, width = (sparse.eye_array(n) for n in shape)
    return sparse.csr_array(sparse.vstack([sparse.kron(rows, width), sparse.kron(height, columns)]))


def _solved(
    plane: FloatArray, hole: MaskArray, operator: sparse.csr_array, right: NDArray[np.float64] | None = None
) -> FloatArray:
    """The plane with values in the hole for which ``operator`` (H W, H W) gives ``right`` there (zero if None)."""
    inside, outside = np.flatnonzero(hole), np.flatnonzero(~hole)
    if inside.size == 0 or outside.size == 0:
        return plane
    rows = sparse.csr_array(operator)[inside]
    known = np.asarray(rows[:, outside] @ plane.ravel()[outside].astype(np.float64))
    wanted = -known if right is None else right[inside] - known
    filled = plane.copy()
    filled[hole] = spsolve(rows[:, inside].tocsc(), wanted)
    return filled


_FROM_THE_RIM: Mapping[str, Callable[[FloatArray, MaskArray], FloatArray]] = {
    "harmonic": harmonic,
    "median": median,
    "tv": total_variation,
    "biharmonic": biharmonic,
}
FILLS = (*_FROM_THE_RIM, "patchmatch")
