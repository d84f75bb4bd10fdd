"""The ledger: a budget is never overrun, and nothing is counted twice."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.llm.ledger import BudgetSpent, Ledger


@given(st.integers(0, 50), st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20)), max_size=30))
@settings(max_examples=150, deadline=None)
def test_no_order_of_charges_overruns_the_budget(budget, charges):
    ledger, made = Ledger(budget), 0
    for host, calls in charges:
        before = ledger.remaining
        try:
            ledger.charge(host, "target", calls)
            made += calls
        except BudgetSpent as refused:
            assert calls > before == refused.remaining
        assert ledger.calls == made <= budget
        assert ledger.remaining == budget - made


def test_threads_share_one_budget():
    ledger, made = Ledger(1000), []

    def spend():
        for _ in range(200):
            try:
                ledger.charge("h", "target", 3)
                made.append(3)
            except BudgetSpent:
                return

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made) == ledger.calls == 999


def test_it_goes_on_from_a_checkpoint_and_says_each_change_once():
    said = []

    class Context:
        def emit(self, type, **data):
            said.append((type, data))
            return len(said)

    ledger = Ledger(100)
    ledger.charge("h", "target", 5)
    ledger.record("h", "target", tokens_in=50, tokens_out=10, cost=0.5, cached=2)
    ledger.charge("g", "judge", 1)
    ledger.emit(Context())
    ledger.emit(Context())
    assert [data["host"] for _, data in said] == ["h", "g"]
    assert said[0] == (
        "ledger",
        {"host": "h", "purpose": "target", "calls": 5, "cached": 2, "tokens_in": 50, "tokens_out": 10, "cost": 0.5},
    )  # fmt: skip

    again = Ledger(10)
    again.load_state_dict(ledger.state_dict())
    assert (again.calls, again.remaining) == (6, 4)
    assert again.total.tokens_in == 50
    with pytest.raises(BudgetSpent):
        again.charge("h", "target", 5)
