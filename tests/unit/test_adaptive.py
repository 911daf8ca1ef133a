"""How wide a batch's window is, by what the server answered."""

from dintero_claims_client._adaptive import AdaptiveWindow


def _answer(window, count, *, status=200, seconds=0.1, epoch=None):
    """Let so many requests end, each sent just before."""
    for _ in range(count):
        window.ended(window.epoch if epoch is None else epoch, status=status, seconds=seconds)


def test_it_begins_at_its_ceiling_and_stays_there():
    """Answers that come as usual leave everything open."""
    window = AdaptiveWindow(100)
    _answer(window, 1000)
    assert (window.window, window.epoch) == (100, 0)


def test_push_back_takes_three_tenths():
    """More than a twentieth of a round of 429 or 503 narrows the window, once for the round."""
    for status in (429, 503):
        window = AdaptiveWindow(100)
        _answer(window, 5, status=status)
        assert window.window == 100
        _answer(window, 1, status=status)
        assert (window.window, window.epoch) == (70, 1)


def test_what_was_sent_before_the_decrease_counts_no_more():
    """A burst of push-backs to one round of requests narrows the window once, and not for each of them."""
    window = AdaptiveWindow(100)
    _answer(window, 100, status=429, epoch=0)
    assert (window.window, window.epoch) == (70, 1)


def test_other_failures_say_nothing():
    """A 500, and no answer at all, are no wish to slow down."""
    window = AdaptiveWindow(100)
    _answer(window, 500, status=500)
    _answer(window, 500, status=None)
    assert window.window == 100


def test_it_recovers_by_a_twentieth_a_round():
    """Each round of answers gives a twentieth of the ceiling back, up to the ceiling."""
    window = AdaptiveWindow(100)
    _answer(window, 6, status=503)
    widths = []
    for _ in range(8):
        _answer(window, window.window)
        widths.append(window.window)
    assert widths == [75, 80, 85, 90, 95, 100, 100, 100]


def test_a_small_window_recovers_by_one():
    """With a small ceiling a round gives one back, and is never shorter than 20 answers."""
    window = AdaptiveWindow(4)
    _answer(window, 2, status=429)
    assert window.window == 2
    _answer(window, 19)
    assert window.window == 2
    _answer(window, 1)
    assert window.window == 3


def test_push_backs_that_come_singly_are_borne():
    """One 429 in twenty answers says little, and leaves the window as it is."""
    window = AdaptiveWindow(100)
    for _ in range(100):
        _answer(window, 19)
        _answer(window, 1, status=429)
    assert window.window == 100


def test_it_never_closes():
    """However often the server pushes back, one request stays open."""
    window = AdaptiveWindow(10)
    for _ in range(50):
        _answer(window, 2, status=503)
    assert window.window == 1


def test_rising_latency_narrows_it():
    """A round that takes more than twice as long as usual, and 50 ms more, narrows the window."""
    window = AdaptiveWindow(100)
    _answer(window, 300, seconds=0.1)
    _answer(window, 100, seconds=0.24)
    assert window.window == 100
    _answer(window, 100, seconds=0.35)
    assert window.window == 70


def test_short_times_are_noise():
    """Where answers take a few milliseconds, ten times as many are no sign of trouble."""
    window = AdaptiveWindow(100)
    _answer(window, 300, seconds=0.004)
    _answer(window, 100, seconds=0.04)
    assert window.window == 100


def test_slow_becomes_usual():
    """A server that stays slow is slow by nature, and gets the whole window back."""
    window = AdaptiveWindow(100)
    _answer(window, 100, seconds=0.1)
    _answer(window, 20_000, seconds=1.0)
    assert window.window == 100


def test_what_is_no_answer_has_no_latency():
    """Requests that got nothing, or a push-back, do not enter the mean."""
    window = AdaptiveWindow(100)
    _answer(window, 100, seconds=0.1)
    for _ in range(10):
        _answer(window, 4, status=429, seconds=60.0)
        _answer(window, 4, status=None, seconds=60.0)
        _answer(window, 92, seconds=0.1)
    assert window.window == 100


def test_beginning_anew():
    """After nothing got through, it begins with one, and what was sent before does not widen it."""
    window = AdaptiveWindow(100)
    window.narrow()
    assert (window.window, window.epoch) == (1, 1)
    _answer(window, 1000, epoch=0)
    assert window.window == 1
    _answer(window, 20)
    assert window.window == 6
