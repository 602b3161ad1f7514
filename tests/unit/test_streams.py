"""Random streams: numbers belong to a run, whatever else is drawn and with whom it trains."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.training import streams as module
from harness.training.streams import DataOrder, Streams, derive, seeded

CPU = torch.device("cpu")
SEEDS = st.integers(0, 2**31 - 1)
NAMES = st.text("abc/-", min_size=1, max_size=8)


def make(*seeds: int, dtype: torch.dtype = torch.float64) -> Streams:
    return Streams(seeds, CPU, dtype)


@given(SEEDS, NAMES, st.integers(0, 10**9))
def test_a_derived_seed_suits_torch_and_is_stable(seed: int, name: str, counter: int) -> None:
    found = derive(seed, name, counter)
    assert 0 <= found < 2**63
    assert found == derive(seed, name, counter)
    torch.Generator().manual_seed(found)


@given(st.lists(st.tuples(SEEDS, NAMES, st.integers(0, 50)), unique=True, min_size=2, max_size=20))
def test_derived_seeds_differ(keys: list[tuple[int, str, int]]) -> None:
    assert len({derive(*key) for key in keys}) == len(keys)


def test_derived_seeds_never_change() -> None:
    # Results of another version could not be compared if they did.
    assert derive(0, "init/generator") == 2106300106614578803
    assert derive(7, "uniform/discriminator/penalty", 3) == 255890072570811510


@pytest.mark.parametrize("kind", ["uniform", "normal"])
@settings(max_examples=20)
@given(
    seeds=st.lists(SEEDS, min_size=1, max_size=4),
    counter=st.integers(0, 300),
    shape=st.sampled_from([(3,), (2, 5), (40, 100), ()]),
)
def test_a_run_draws_the_same_alone(
    kind: str, seeds: list[int], counter: int, shape: tuple[int, ...]
) -> None:
    together = getattr(make(*seeds), kind)("a", counter, shape)
    assert together.shape == (len(seeds), *shape)
    for run, seed in enumerate(seeds):
        assert torch.equal(together[run], getattr(make(seed), kind)("a", counter, shape)[0])


@pytest.mark.parametrize("shape", [(3,), (2**12,), (2**18,), (2**19,)])
def test_draws_do_not_depend_on_what_was_drawn_before(shape: tuple[int, ...]) -> None:
    counters = [0, 1, 63, 64, 65, 127, 128] if shape[0] < 2**18 else [0, 1, 2, 3]
    forward, backward = make(5, 6), make(5, 6)
    expected = {counter: forward.normal("a", counter, shape) for counter in counters}
    for counter in reversed(counters):
        backward.uniform("a", counter, shape)
        backward.normal("b", counter, shape)
        assert torch.equal(backward.normal("a", counter, shape), expected[counter])
        assert torch.equal(make(5, 6).normal("a", counter, shape), expected[counter])
    values = [tuple(value.flatten()[:3].tolist()) for value in expected.values()]
    assert len(set(values)) == len(counters)


def test_blocks_bound_the_memory_that_draws_take() -> None:
    streams = make(1)
    for shape in ((1,), (1000,), (2**17,), (2**20,)):
        streams.uniform("a", 0, shape)
    for (_, _, shape), (_, values) in streams._blocks.items():
        assert values.shape[0] <= module.BLOCK_STEPS
        assert values[:, 0].numel() <= max(module.BLOCK_NUMBERS, math.prod(shape))
    for counter in range(500):
        streams.uniform("a", counter, (1,))
    assert len(streams._blocks) == 4


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("uniform", 1, "a", 0), ("uniform", 2, "a", 0)),
        (("uniform", 1, "a", 0), ("uniform", 1, "b", 0)),
        (("uniform", 1, "a", 0), ("uniform", 1, "a", 1)),
        (("uniform", 1, "a", 63), ("uniform", 1, "a", 64)),
        (("uniform", 1, "a", 0), ("normal", 1, "a", 0)),
        (("normal", 1, "x/1", 2), ("normal", 1, "x", 12)),
        (("normal", 11, "x", 2), ("normal", 1, "1/x", 2)),
    ],
)
def test_seed_name_counter_and_kind_each_matter(
    ours: tuple[str, int, str, int], theirs: tuple[str, int, str, int]
) -> None:
    first, second = (
        getattr(make(seed), kind)(name, counter, (6,))
        for kind, seed, name, counter in (ours, theirs)
    )
    assert not (first == second).any()


def test_precision_changes_no_draw() -> None:
    for kind in ("uniform", "normal"):
        double = getattr(make(3), kind)("a", 5, (100,))
        single = getattr(make(3, dtype=torch.float32), kind)("a", 5, (100,))
        assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
        assert torch.equal(single.double(), double)


def test_uniform_draws_are_uniform() -> None:
    values = make(1, 2).uniform("a", 0, (50_000,))
    assert values.min() >= 0
    assert values.max() < 1
    for run in values:
        assert run.mean().item() == pytest.approx(0.5, abs=0.006)
        assert run.var().item() == pytest.approx(1 / 12, rel=0.03)
        counts = torch.histc(run, 20, 0, 1)
        assert ((counts - 2500) ** 2 / 2500).sum() < 45
    assert torch.corrcoef(values)[0, 1].abs() < 0.02


def test_normal_draws_are_normal() -> None:
    values = torch.stack([make(1).normal("a", counter, (500,))[0] for counter in range(100)])
    assert values.mean().item() == pytest.approx(0, abs=0.02)
    assert values.var().item() == pytest.approx(1, rel=0.03)
    assert (values**4).mean().item() == pytest.approx(3, rel=0.06)
    neighbours = torch.corrcoef(torch.stack([values[:-1].flatten(), values[1:].flatten()]))
    assert neighbours[0, 1].abs() < 0.02


def test_seeded_follows_the_stream_and_puts_the_generator_back() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(3, "init"):
        first = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with seeded(3, "init"):
        assert torch.equal(torch.rand(2), first)
    with seeded(3, "other"):
        assert not torch.equal(torch.rand(2), first)


class TestDataOrder:
    """Which examples a run sees."""

    @settings(max_examples=30)
    @given(count=st.integers(1, 60), batch=st.integers(1, 60), seed=SEEDS, epoch=st.integers(0, 9))
    def test_each_epoch_is_a_permutation(
        self, count: int, batch: int, seed: int, epoch: int
    ) -> None:
        batch = min(batch, count)
        order = DataOrder(count, batch, "a")
        whole = count // batch
        seen = [order.indices([seed], epoch * whole + k, CPU) for k in range(whole)]
        assert all(indices.shape == (1, batch) for indices in seen)
        assert all(indices.dtype == torch.int64 for indices in seen)
        flat = torch.cat(seen, dim=1)[0].tolist()
        assert len(flat) == len(set(flat)) == whole * batch
        assert set(flat) <= set(range(count))
        assert count - len(flat) < batch

    def test_every_example_comes_up_in_the_end(self) -> None:
        order = DataOrder(10, 4, "a")
        seen = {i for k in range(40) for i in order.indices([1], k, CPU)[0].tolist()}
        assert seen == set(range(10))

    def test_epochs_seeds_and_streams_have_orders_of_their_own(self) -> None:
        order = DataOrder(100, 100, "a")
        first = order.indices([1, 2], 0, CPU)
        assert not torch.equal(first[0], first[1])
        assert not torch.equal(first[0], order.indices([1, 2], 1, CPU)[0])
        assert not torch.equal(first[0], DataOrder(100, 100, "b").indices([1], 0, CPU)[0])

    def test_a_run_sees_the_same_alone_and_from_any_counter(self) -> None:
        together = DataOrder(10, 3, "a")
        expected = {k: together.indices([5, 6, 7], k, CPU) for k in range(12)}
        alone = DataOrder(10, 3, "a")
        for k in (11, 0, 7, 3, 2):
            assert torch.equal(alone.indices([6], k, CPU)[0], expected[k][1])
        for k in (5, 9):
            assert torch.equal(together.indices([7, 5], k, CPU), expected[k][[2, 0]])

    def test_another_batch_size_keeps_the_order(self) -> None:
        small = torch.cat([DataOrder(12, 3, "a").indices([1], k, CPU) for k in range(4)], dim=1)
        large = torch.cat([DataOrder(12, 6, "a").indices([1], k, CPU) for k in range(2)], dim=1)
        assert torch.equal(small, large)
