"""The script of the ablations: variants change what they say and nothing else; rows are kept, and not made twice."""

import importlib.util
import pathlib

import numpy as np
import pytest

import tinynet
from tinynet.data import EmbeddedSource

ROOT = pathlib.Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("ablations", ROOT / "examples/ablations.py")
ablations = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ablations)


@pytest.fixture(scope="module")
def source():
    return EmbeddedSource(ablations.STORED, quiet=True, counts=(40, 20))


def net_of(variant):
    changes = {key: value for key, value in ablations.VARIANTS[variant].items() if key != "vary"}
    return tinynet.Sequential(ablations.layers(10, **changes), (3, ablations.SIZE, ablations.SIZE),
                              np.random.default_rng(0))


@pytest.mark.parametrize("variant", ablations.VARIANTS)
def test_a_variant_has_the_sizes_and_the_weights_of_base(variant):
    rows = [{row.name: (row.output_shape, row.params) for row in net_of(name).summary().rows
             if not row.name.startswith("lrn")} for name in ("base", variant)]
    assert {name for name in rows[0] if rows[0][name] != rows[1][name]} == (
        {"conv2", "conv4", "conv5"} if variant == "one group" else set())
    base, changed = (net_of(name).named_params() for name in ("base", variant))
    if variant == "std 0.01 in conv3 to conv5":
        ratios = {name: changed[name].std() / base[name].std() for name in base if name.endswith("w")}
        assert [name for name in ratios if ratios[name] < 0.9] == ["conv3.w", "conv4.w", "conv5.w"]
        assert ratios["conv4.w"] == pytest.approx(1 / 3, rel=1e-5)


def test_a_run_is_the_same_again_and_another_with_another_seed_or_variant(source):
    pictures = ablations.read(source, 40)
    losses = []
    for seed, variant in ((0, "base"), (0, "base"), (1, "base"), (0, "no crops, mirrors, colours")):
        reached, training, held_out = ablations.train(source, pictures, variant, seed, 1)
        assert 0 <= training <= 1 and 0 <= held_out <= 1 and (np.isnan(reached) or reached == 1)
        losses.append((training, held_out))
    assert losses[0] == losses[1]


def test_rows_are_added_under_one_head(tmp_path):
    path = tmp_path / "x.csv"
    assert ablations.done(path) == []
    ablations.append(path, ["embedded", "40", "1", "0", "base", "nan", "0.9", "0.9"])
    ablations.append(path, ["embedded", "40", "1", "0", "no crops, mirrors, colours", "nan", "0.9", "0.9"])
    head, *rows = path.read_text().splitlines()
    assert head == ",".join(ablations.COLUMNS) and len(rows) == 2
    assert ["embedded", "40", "1", "0", "no crops, mirrors, colours"] in ablations.done(path)


def test_what_was_measured_has_every_variant_with_every_seed():
    rows = ablations.done(ROOT / "lessons/measured/ablations.csv")[1:]
    assert {(seed, variant) for _, _, _, seed, variant in rows} == {
        (str(seed), variant) for seed in range(4) for variant in ablations.VARIANTS} and len(rows) == 36
