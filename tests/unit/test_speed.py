"""What judges the figures of the speed benchmark; the figures themselves are no matter for tests."""

import json
from xml.etree import ElementTree

import pytest

from benchmarks.speed import goals, plan, report
from benchmarks.speed.plots import lines


def _results(**cpu):
    """Return results in which clients take so many µs of CPU for each claim, in each situation of a gate."""
    names = {"library": "library", "bare": "bare engine", "raw": "raw sockets", "httpx": "httpx"}
    return plan.Results(
        [
            plan.Result(plan.Scenario(kind="closed", clients=(), width=width), names[name], {"cpu_us": value})
            for width in (1, 50, 500)
            for name, value in cpu.items()
        ]
    )


def test_what_is_recorded_is_compared_with(tmp_path):
    """A ratio may be up to 30 % worse than the recorded one, and not more; a better one is good."""
    recorded = tmp_path / "ratios.json"
    report.record(_results(library=100, bare=100, raw=50, httpx=1000), recorded)
    assert json.loads(recorded.read_text())["library over httpx, 1 in flight"] == 0.1
    for library, good in ((100, True), (129, True), (131, False), (20, True)):
        table, is_good = report.gates(_results(library=library, bare=100, raw=50, httpx=1000), recorded)
        assert (is_good, "worse" in table) == (good, not good)
    # One that has become worse is enough.
    _, is_good = report.gates(_results(library=100, bare=70, raw=50, httpx=1000), recorded)
    assert not is_good


def test_every_gate_is_measured():
    """The quick run measures every ratio that it holds against the recorded ones."""
    measured = plan.Results(
        [
            plan.Result(scenario, client, {"cpu_us": 1.0})
            for scenario in plan.quick()
            for client in scenario.clients
        ]
    )
    assert [value(measured) for value in goals.GATES.values()] == [1.0] * len(goals.GATES)


def test_every_goal_is_measured():
    """The full run measures every figure that there is a goal for, in as many rounds as are asked for."""
    figures = dict.fromkeys(
        ("cpu_us", "per_second", "added_p50_ms", "added_p99_ms", "lag_p99_ms", "growth_mb"), 1.0
    )
    measured = plan.Results(
        [
            plan.Result(scenario, client, figures)
            for scenario in plan.everything()
            for client in scenario.clients
            if scenario.rounds is None or scenario.rows == 1_000_000
        ]
    )
    assert None not in [goal.value(measured) for goal in goals.GOALS]


@pytest.mark.parametrize(
    ("bound", "value", "met"), [("at least", 2.0, True), ("at least", 1.9, False), ("at most", 2.0, True),
                                ("at most", 2.1, False)],
)  # fmt: skip
def test_a_goal_is_a_bound(bound, value, met):
    """A goal is met on the right side of its figure, and by the figure itself."""
    assert goals.Goal("x", bound, 2.0, "", lambda _: None).is_met(value) is met


def test_plots_are_pictures():
    """A plot is well-formed SVG, for light and dark, and names whatever has a line, as it is."""
    svg = lines("a < b", "µs", (1, 50), {"library & co": [1.0, 200.0], "none": [None, None]})
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own
    assert root.get("aria-label") == "a < b"
    assert "prefers-color-scheme: dark" in svg
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "library & co" in texts
    assert "none" not in texts
