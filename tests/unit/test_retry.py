"""The retry policy, its decision and its loop, without time, network or chance."""

import math

import pytest

from dintero_claims_client import APIStatusError, ConfigurationError, RetryPolicy
from dintero_claims_client._retry import (
    Ambiguous,
    Done,
    NotSent,
    Refused,
    check_count,
    check_seconds,
    next_delay,
    run_attempts,
)

POLICY = RetryPolicy(max_attempts=4, base_delay=1.0, max_delay=3.0)
THROTTLED = Refused(APIStatusError("wait", status=429, retry_after=2.0), again=True)
REFUSED = Refused(APIStatusError("no", status=400))


@pytest.mark.parametrize(
    ("attempt", "randomness", "expected"),
    [
        (1, 0.0, 0.0),
        (1, 0.5, 0.5),
        (1, 1.0, 1.0),
        (2, 1.0, 2.0),
        (3, 1.0, 3.0),
        (4, 1.0, 3.0),
        (5000, 0.5, 1.5),
    ],
)
def test_backoff(attempt, randomness, expected):
    """The delay is a random part of a range that doubles with each attempt, up to its maximum."""
    assert expected == POLICY.backoff(attempt, randomness)


@pytest.mark.parametrize(
    ("failure", "repeatable", "expected"),
    [
        (NotSent("refused"), True, 0.5),
        (NotSent("refused"), False, 0.5),
        (NotSent("bad certificate", permanent=True), True, None),
        (NotSent("token endpoint", retry_after=5.0), False, 5.0),
        (THROTTLED, True, 2.0),
        (THROTTLED, False, 2.0),
        (REFUSED, True, None),
        (Ambiguous("reset"), True, 0.5),
        (Ambiguous("reset"), False, None),
        (Ambiguous("503", status=503, retry_after=4.0), True, 4.0),
        (Ambiguous("503", status=503, retry_after=0.1), True, 0.5),
    ],
)
def test_what_is_tried_again(failure, repeatable, expected):
    """What may be repeated is, after the longer of the own delay and the server's."""
    assert expected == next_delay(POLICY, failure, 1, repeatable=repeatable, remaining=60, randomness=0.5)


@pytest.mark.parametrize(("attempt", "expected"), [(3, 1.5), (4, None), (5, None)])
def test_the_last_attempt(attempt, expected):
    """No attempt follows the last one of the policy."""
    assert expected == next_delay(
        POLICY, NotSent("x"), attempt, repeatable=True, remaining=60, randomness=0.5
    )


@pytest.mark.parametrize(("remaining", "expected"), [(2.01, 2.0), (2.0, None), (0.0, None), (-1.0, None)])
def test_a_wait_that_does_not_fit_is_not_begun(remaining, expected):
    """A delay as long as the time left, or longer, ends the call at once."""
    assert expected == next_delay(POLICY, THROTTLED, 1, repeatable=True, remaining=remaining, randomness=0.5)


class Quota:
    """A number of repetitions; who waits for more gets one when `wait` says so."""

    @property
    def seconds_to_next(self):
        return 0.0 if self.left >= 1 else 0.25

    def __init__(self, left, *, wait=False):
        self.left = left
        self.wait = wait
        self.succeeded = []
        self.waited_until = []

    def try_take(self):
        self.left -= 1
        return self.left >= 0

    async def take(self, *, deadline):
        if self.try_take():
            return True
        self.waited_until.append(deadline)
        return self.wait

    def succeed(self, *, repeated):
        self.succeeded.append(repeated)


class World:
    """A clock that only sleeping moves, and attempts that end as scripted."""

    def __init__(self, *outcomes, quota=None):
        self.now = 100.0
        self.outcomes = list(outcomes)
        self.sleeps = []
        self.quota = quota or Quota(500)

    async def attempt(self):
        return self.outcomes.pop(0)

    async def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds

    async def run(self, *, repeatable=True, deadline=160.0, paid=False, reserve=0.0, first=None):
        return await run_attempts(
            self.attempt,
            policy=POLICY,
            repeatable=repeatable,
            deadline=deadline,
            quota=self.quota,
            clock=lambda: self.now,
            sleep=self.sleep,
            random=lambda: 1.0,
            paid=paid,
            reserve=reserve,
            first=first,
        )


async def test_the_loop_ends_at_success():
    """What an attempt brings ends the loop; what was ambiguous before it is kept."""
    lost = Ambiguous("lost")
    world = World(NotSent("x"), lost, NotSent("y"), Done("claim"))
    ended = await world.run()
    assert (Done("claim"), 4, lost) == (ended.last, ended.attempts, ended.before)
    assert world.sleeps == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "outcomes",
    [
        [Done(1)],
        [NotSent("x"), Ambiguous("lost"), NotSent("y"), Done(1)],
        [NotSent("x", permanent=True)],
        [Ambiguous("lost"), *[NotSent("x")] * 8],
        [THROTTLED] * 9,
    ],
)
@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_first_attempt_that_was_made_before(outcomes, repeatable):
    """A loop that is given how the first attempt ended goes on as one that made it: so often, so long."""
    world, other = World(*outcomes), World(*outcomes[1:])
    made, given = (
        await world.run(repeatable=repeatable),
        await other.run(repeatable=repeatable, first=outcomes[0]),
    )
    assert made == given
    assert (world.sleeps, world.quota.succeeded) == (other.sleeps, other.quota.succeeded)


async def test_the_loop_without_failures_does_not_sleep():
    """A first attempt that succeeds costs no sleep and no second look."""
    world = World(Done(1))
    ended = await world.run()
    assert (Done(1), 1, None, []) == (ended.last, ended.attempts, ended.before, world.sleeps)


async def test_the_last_ambiguous_attempt_is_not_before_itself():
    """`before` is about the attempts before the last one."""
    lost = Ambiguous("lost")
    ended = await World(lost).run(repeatable=False)
    assert (lost, 1, None) == (ended.last, ended.attempts, ended.before)


async def test_the_loop_stays_inside_the_deadline():
    """No attempt begins that its wait would put beyond the deadline."""
    world = World(*[NotSent("x")] * 9)
    ended = await world.run(deadline=102.0)
    assert (ended.attempts, world.sleeps, world.now) == (2, [1.0], 101.0)


@pytest.mark.parametrize(
    ("outcomes", "attempts"),
    [
        ([NotSent("x")] * 2 + [Done(1)], 3),
        ([THROTTLED] * 2 + [Done(1)], 3),
        ([Ambiguous("lost")], 1),
        ([NotSent("x"), Ambiguous("lost")], 2),
    ],
)
async def test_a_call_in_doubt_keeps_time_to_find_out(outcomes, attempts):
    """What is reserved is not used for repetitions by a call in doubt, and by any other it is."""
    world = World(*outcomes)
    ended = await world.run(deadline=104.5, reserve=3.5)
    assert attempts == ended.attempts


async def test_each_repetition_is_paid_for():
    """Every attempt after the first takes one from the quota; who was answered says whether it had paid."""
    quota = Quota(500)
    await World(NotSent("x"), THROTTLED, Ambiguous("lost"), Done(1), quota=quota).run()
    assert (quota.left, quota.succeeded) == (497, [True])
    await World(Done(1), quota=quota).run()
    await World(REFUSED, quota=quota).run()
    await World(Done(1), quota=quota).run(paid=True)
    assert (quota.left, quota.succeeded) == (497, [True, False, False, True])
    await World(*[THROTTLED] * 4, quota=quota).run()
    await World(*[Ambiguous("lost")] * 4, quota=quota).run()
    assert (quota.left, len(quota.succeeded)) == (491, 4)


@pytest.mark.parametrize("retry_after", [None, 0.1, 7.0])
async def test_what_was_not_sent_does_not_wait_for_the_quota(retry_after):
    """A call that was not sent ends when the quota is used up, and is told when to come again."""
    world = World(NotSent("refused", retry_after=retry_after), quota=Quota(0, wait=True))
    ended = await world.run()
    assert (ended.attempts, world.sleeps, world.quota.waited_until) == (1, [], [])
    assert max(retry_after or 0, 0.25) == ended.last.retry_after
    assert "too many calls fail" in ended.last.reason


async def test_what_was_throttled_does_not_wait_for_the_quota():
    """A call that was throttled ends as that when the quota is used up."""
    world = World(THROTTLED, quota=Quota(0, wait=True))
    ended = await world.run()
    assert (ended.attempts, ended.last, world.quota.waited_until) == (1, THROTTLED, [])


@pytest.mark.parametrize("second", [Ambiguous("again"), NotSent("refused"), THROTTLED])
async def test_a_call_in_doubt_waits_for_the_quota(second):
    """A call of which any attempt may have been taken waits for the quota until its deadline."""
    first = Ambiguous("lost")
    world = World(first, second, Done(1), quota=Quota(0, wait=True))
    ended = await world.run()
    assert (3, Done(1)) == (ended.attempts, ended.last)
    assert world.quota.waited_until == [160.0, 160.0]
    world = World(first, second, quota=Quota(1))
    ended = await world.run()
    assert (2, second, first) == (ended.attempts, ended.last, ended.before)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "1", None])
@pytest.mark.parametrize("name", ["attempt_timeout", "base_delay", "max_delay"])
def test_policy_durations(name, value):
    """A duration that is not a finite number above 0 is refused by its name."""
    with pytest.raises(ConfigurationError, match=name):
        RetryPolicy(**{name: value})


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None])
def test_policy_attempts(value):
    """A number of attempts that is not a whole number above 0 is refused."""
    with pytest.raises(ConfigurationError, match="max_attempts"):
        RetryPolicy(max_attempts=value)


def test_policy_is_frozen_and_has_the_documented_defaults():
    """A policy cannot be changed, so that clients can share it."""
    policy = RetryPolicy()
    assert (
        policy.max_attempts,
        policy.attempt_timeout,
        policy.base_delay,
        policy.max_delay,
    ) == (8, 10.0, 0.1, 5.0)
    with pytest.raises(AttributeError):
        policy.max_attempts = 3  # type: ignore[misc]


def test_checks_return_what_they_checked():
    """Checked numbers come back in their own type."""
    assert check_seconds("x", 5) == 5.0
    assert check_count("x", 5, most=5) == 5
    with pytest.raises(ConfigurationError, match="1 to 5"):
        check_count("x", 6, most=5)


async def test_a_call_stays_in_doubt():
    """What is reserved is kept also when the attempt after the one in doubt was not sent."""
    ended = await World(Ambiguous("lost"), NotSent("x")).run(deadline=105.0, reserve=3.5)
    assert ended.attempts == 2
