"""How much is open after a push-back: a rule of numbers."""

import pytest

from dintero_claims_client._pacing import LONGEST_PAUSE, RECOVERY_SECONDS, Pacing


def _pushed_back(*, seconds=2.0, under_way=40, now=100.0, ceiling=100):
    pacing = Pacing(ceiling)
    pacing.push_back(pacing.epoch, seconds=seconds, now=now, under_way=under_way)
    return pacing


def test_everything_is_open_at_first():
    """Without a push-back all may be under way at once, whatever is answered."""
    pacing = Pacing(100)
    pacing.answered(0)
    assert (pacing.window(0.0), pacing.window(1e9)) == (100, 100)


def test_nothing_is_sent_during_the_pause():
    """The pause ends exactly when the server said, and then one request goes first."""
    pacing = _pushed_back()
    assert [pacing.window(now) for now in (100.0, 101.999, 102.0)] == [0, 0, 1]


def test_the_rate_recovers_gradually():
    """The window grows by one for each answer up to seven tenths of what was under way, and then slower."""
    pacing = _pushed_back(under_way=8)
    seen = []
    for _ in range(8):
        pacing.answered(pacing.epoch)
        seen.append(pacing.window(102.0))
    assert seen == [2, 3, 4, 5, 6, 6, 7, 8]


def test_one_push_back_without_a_time_takes_three_tenths():
    """One push-back alone that names no time pauses nobody; the next in a row begins with one request."""
    pacing = _pushed_back(seconds=0.0, under_way=40)
    assert pacing.window(100.0) == 28
    pacing.push_back(pacing.epoch, seconds=0.0, now=100.0, under_way=28)
    assert pacing.window(100.0) == 1
    for _ in range(5):
        pacing.answered(pacing.epoch)
    pacing.push_back(pacing.epoch, seconds=0.0, now=100.0, under_way=6)
    assert pacing.window(100.0) == 4


def test_what_was_told_is_forgotten_after_the_pause():
    """A long wish of before is not told again with a later short one."""
    pacing = _pushed_back(seconds=3600.0)
    pacing.push_back(pacing.epoch, seconds=30.0, now=161.0, under_way=1)
    assert pacing.told_until == 191.0


def test_time_alone_reopens_everything():
    """Where no answer comes at all, everything is open again after ten seconds, and stays so."""
    pacing = _pushed_back()
    assert pacing.window(102.0 + RECOVERY_SECONDS / 2) == 51
    assert pacing.is_narrowed
    assert pacing.window(102.0 + RECOVERY_SECONDS) == 100
    assert not pacing.is_narrowed
    assert pacing.window(102.0) == 100


def test_a_pause_is_only_prolonged():
    """A second push-back with a shorter wish does not shorten the pause, and a longer one prolongs it."""
    pacing = _pushed_back(seconds=5.0)
    pacing.push_back(pacing.epoch, seconds=1.0, now=101.0, under_way=1)
    assert pacing.resume_at == 105.0
    pacing.push_back(pacing.epoch, seconds=9.0, now=101.0, under_way=1)
    assert pacing.resume_at == 110.0


@pytest.mark.parametrize("seconds", [61.0, 3600.0, 1e15])
def test_nobody_pauses_for_longer_than_a_minute(seconds):
    """What all pause for is bounded; what the server wished is kept, to be told."""
    pacing = _pushed_back(seconds=seconds)
    assert pacing.resume_at == 100.0 + LONGEST_PAUSE
    assert pacing.told_until == 100.0 + seconds


def test_what_was_sent_before_a_push_back_says_nothing_about_after():
    """The other answers to the same rush, pushed back or not, change the window no more."""
    pacing = _pushed_back(under_way=40)
    for _ in range(39):
        pacing.push_back(0, seconds=2.0, now=100.0, under_way=39)
        pacing.answered(0)
    assert (pacing.epoch, pacing.in_a_row, pacing.window(102.0)) == (1, 1, 1)


def test_push_backs_in_a_row_are_counted():
    """Push-backs with an answer between them are not in a row."""
    pacing = _pushed_back()
    pacing.push_back(pacing.epoch, seconds=0.0, now=103.0, under_way=1)
    assert pacing.in_a_row == 2
    pacing.answered(pacing.epoch)
    assert pacing.in_a_row == 0
    pacing.push_back(pacing.epoch, seconds=0.0, now=103.0, under_way=1)
    assert pacing.in_a_row == 1


def test_push_backs_in_a_row_are_counted_anew_with_everything_open():
    """An answer ends a row of push-backs also where nothing is narrowed."""
    pacing = _pushed_back(ceiling=1, under_way=1)
    assert pacing.in_a_row == 1
    pacing.answered(pacing.epoch)
    assert pacing.in_a_row == 0


def test_one_request_goes_even_with_a_ceiling_of_one():
    """A client of one connection goes on after its pause."""
    pacing = _pushed_back(ceiling=1, under_way=1)
    assert (pacing.window(101.0), pacing.window(102.0)) == (0, 1)


def test_a_shorter_wish_does_not_shorten_what_is_told():
    """Who cannot wait is told the longest of the server's wishes, and not the last."""
    pacing = _pushed_back(seconds=3600.0)
    pacing.push_back(pacing.epoch, seconds=1.0, now=101.0, under_way=1)
    assert pacing.told_until == 3700.0


def test_what_is_left_under_way_from_before_widens_nothing():
    """A push-back takes three tenths of what was open, also while more than that is still under way."""
    pacing = _pushed_back(seconds=0.0, under_way=40)
    pacing.answered(pacing.epoch)
    pacing.push_back(pacing.epoch, seconds=0.0, now=100.0, under_way=40)
    assert pacing.window(100.0) == 19


def test_a_small_client_recovers_by_one_each_round():
    """With few connections a round of answers opens one more, and not a part of one."""
    pacing = _pushed_back(ceiling=10, under_way=4)
    for _ in range(6):
        pacing.answered(pacing.epoch)
    assert pacing.window(102.0) == 4
