"""When the rate falls: by rule, and as each recipe was trained."""

import json

import numpy as np
import pytest
from test_optim import OneWeight

import tinynet
from tinynet import data


def test_step_decay():
    sgd = tinynet.SGD(OneWeight(0.0), lr=1.0)
    schedule = tinynet.StepDecay(sgd, epochs=(2, 3))
    dropped, rates = zip(*[(schedule.end_epoch(), sgd.lr) for _ in range(4)])
    assert dropped == (False, True, True, False) and rates == pytest.approx((1, 0.1, 0.01, 0.01))


def test_plateau_divides_by_ten_three_times_and_then_goes_on():
    sgd = tinynet.SGD(OneWeight(0.0), lr=1.0)
    schedule = tinynet.Plateau(sgd, patience=2)
    rates = []
    for error in (0.9, 0.8, 0.81, 0.8, 0.5, 0.5, 0.4999, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5):
        schedule.end_epoch(error)
        rates.append(sgd.lr)
    # after 0.8 two epochs bring nothing; after 0.5 again (0.4999 is no news); then twice more, but only three drops
    assert rates == pytest.approx([1, 1, 1, .1, .1, .1, .01, .01, .001, .001, .001, .001, .001])


def two_layers():
    """A network of the parameters that schedules tell apart, biases at twice the rate."""
    layers = [tinynet.layers.Layer(name) for name in ("conv1", "fc8")]
    for layer in layers:
        layer.params, layer.lr_mult = {"w": np.zeros(1), "b": np.zeros(1)}, {"b": 2}
    return tinynet.Sequential(layers, (1,), np.random.default_rng(0), "float64")


def rates(sgd):
    return {name: sgd.lr * sgd.lr_mult.get(name, 1) for name in sgd.velocity}


def run_of(recipe, epochs, lr=0.01):
    """-> the rates during each epoch, in which epochs the log shows a drop, and the schedule."""
    sgd = tinynet.SGD(two_layers(), lr=lr)
    schedule = tinynet.SCHEDULES[recipe](sgd, epochs)
    seen, drops = [], []
    for epoch in range(1, epochs + 1):
        seen.append(rates(sgd))
        if schedule.end_epoch(0.5):
            drops.append(epoch)
    return seen, drops, schedule


def test_no_epoch_ends_a_freeze():
    sgd = tinynet.SGD(two_layers(), lr=0.01)
    schedule = tinynet.SCHEDULES["code-2012"](sgd, 91)
    sgd.freeze("fc8")
    schedule.end_epoch()
    assert rates(sgd) == {"conv1.w": 0.01, "conv1.b": 0.02, "fc8.w": 0, "fc8.b": 0}
    sgd.unfreeze("fc8")
    schedule.end_epoch()
    assert rates(sgd)["fc8.b"] == 0.02


def column(seen, name):
    return [row[name] for row in seen]


def test_the_history_of_2012():
    seen, drops, schedule = run_of("code-2012", 91)
    assert column(seen, "fc8.w") == pytest.approx([0.01] * 25 + [1e-3] * 26 + [1e-4] * 28 + [1e-5] * 12, rel=1e-12)
    assert column(seen, "fc8.b") == pytest.approx([0.02] * 25 + [0.002] * 66, rel=1e-12)
    assert column(seen, "conv1.b") == column(seen, "fc8.b")
    conv1 = [0.01] * 25 + [1e-3] * 26 + [1e-4] * 16 + [1e-5] * 5 + [0] * 19
    assert column(seen, "conv1.w") == pytest.approx(conv1, rel=1e-12) and seen[-1]["conv1.w"] == 0
    assert drops == [25, 51, 79] and schedule.colour_epochs == 67


def test_the_history_of_2012_in_proportion():
    seen, drops, schedule = run_of("code-2012", 9, lr=0.1)  # 25 -> 2.5, to the even 2; 51 -> 5.04; 67 -> 6.6; 79 -> 7.8
    assert column(seen, "fc8.w") == pytest.approx([0.1] * 2 + [0.01] * 3 + [1e-3] * 3 + [1e-4], rel=1e-12)
    assert column(seen, "conv1.w") == pytest.approx([0.1] * 2 + [0.01] * 3 + [1e-3] * 2 + [0] * 2, rel=1e-12)
    assert drops == [2, 5, 8] and schedule.colour_epochs == 7


def test_caffe_has_four_drops():
    seen, drops, schedule = run_of("caffe", 90)
    expected = [0.01] * 20 + [1e-3] * 20 + [1e-4] * 20 + [1e-5] * 20 + [1e-6] * 10
    assert column(seen, "fc8.w") == pytest.approx(expected, rel=1e-12)
    assert column(seen, "conv1.b") == pytest.approx([2 * rate for rate in expected], rel=1e-12)
    assert drops == [20, 40, 60, 80] and schedule.colour_epochs is None


def test_owt_goes_down_by_250_in_four_equal_parts_and_its_biases_by_10_in_two():
    seen, drops, schedule = run_of("owt", 100)
    quarters = [0.01, 0.001587, 0.000252, 0.00004]
    assert column(seen, "fc8.w") == pytest.approx(np.repeat(quarters, 25), rel=1e-3)
    assert column(seen, "fc8.b") == pytest.approx(np.repeat([0.02, 0.002], 50), rel=1e-12)
    assert drops == [25, 50, 75] and schedule.colour_epochs is None


def test_paper_waits_for_the_error_to_stop_improving_three_times():
    sgd = tinynet.SGD(two_layers())
    schedule = tinynet.SCHEDULES["paper"](sgd, 90)
    falling = [schedule.end_epoch(0.9 - 0.01 * epoch) for epoch in range(50)]
    assert not any(falling) and sgd.lr == 0.01, "as long as it improves, whatever the epoch"
    assert sum(schedule.end_epoch(0.41) for _ in range(40)) == 3
    assert rates(sgd) == pytest.approx({"conv1.w": 1e-5, "conv1.b": 2e-5, "fc8.w": 1e-5, "fc8.b": 2e-5})


def test_short_is_what_a_run_of_minutes_has():
    seen, drops, _ = run_of("short", 8)
    assert column(seen, "fc8.w") == pytest.approx([0.01] * 5 + [1e-3] * 2 + [1e-4]) and drops == [5, 7]


@pytest.mark.parametrize("recipe", tinynet.SCHEDULES)
def test_one_that_goes_on_at_any_epoch_sets_the_same_rates(recipe):
    """As a run does it: made anew, at the rate of the start; then what a checkpoint kept, through JSON, is put back."""
    errors = np.random.default_rng(0).choice([0.5, 0.4], 20)
    sgd = tinynet.SGD(two_layers())
    schedule, whole, kept = tinynet.SCHEDULES[recipe](sgd, 20), [], []
    for error in errors:
        kept.append(json.loads(json.dumps([schedule.state(), sgd.lr, sgd.lr_mult])))
        schedule.end_epoch(error)
        whole.append(rates(sgd))
    for epoch, (state, lr, lr_mult) in enumerate(kept):
        sgd = tinynet.SGD(two_layers())
        schedule = tinynet.SCHEDULES[recipe](sgd, 20)
        sgd.lr, sgd.lr_mult = lr, lr_mult
        schedule.restore(state)
        for error, expected in zip(errors[epoch:], whole[epoch:]):
            schedule.end_epoch(error)
            assert rates(sgd) == expected


def test_every_recipe_has_its_schedule_and_only_the_shifted_lose_their_colours():
    assert tinynet.SCHEDULES.keys() == {"short", *tinynet.RECIPES}
    for recipe in tinynet.RECIPES:
        _, _, schedule = run_of(recipe, 91)
        assert schedule.colour_epochs is None or data.AUGMENTATIONS[recipe].colour


@pytest.mark.parametrize("recipe, size", [("paper", 227), ("code-2012", 224), ("caffe", 227), ("owt", 224)])
def test_pictures_are_stored_with_the_room_for_crops_that_256_gave(recipe, size):
    chosen = tinynet.RECIPES[recipe]
    assert chosen.image_size == size and chosen.stored_size(size) == 256
    assert chosen.stored_size(99) == {227: 112, 224: 113}[size]
