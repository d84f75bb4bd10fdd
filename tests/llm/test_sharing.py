"""Families of requests: what is read in all is the least that a threshold can give."""

from hypothesis import given
from hypothesis import strategies as st

from core.llm.sharing import families, first_batch


def test_requests_of_two_instructions_are_two_families():
    header, first, second = [1, 2, 3], list(range(10, 40)), list(range(50, 80))
    prompts = [header + part + [100 + i, 200] for part in (first, second) for i in range(4)]
    found = sorted(families(prompts, a_pass=5))
    assert [(length, sorted(group)) for length, group in found] == [(33, [0, 1, 2, 3]), (33, [4, 5, 6, 7])]


def test_a_dear_pass_keeps_them_together():
    header = list(range(10))
    prompts = [header + [20 + i] * 3 for i in range(4)]
    assert families(prompts, a_pass=1_000) == [(10, [0, 1, 2, 3])]


def test_what_begins_little_alike_shares_nothing():
    assert families([[1, 2, 3], [1, 2, 4], [9]], a_pass=10) == [(0, [0, 1, 2])]
    assert families([[5, 6]], a_pass=10) == [(0, [0])]
    assert families([], a_pass=10) == []


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=25), min_size=1, max_size=12),
    st.integers(0, 40),
)
def test_every_request_is_in_one_family_that_begins_alike_and_keeps_a_token(prompts, a_pass):
    found = families(prompts, a_pass)
    assert sorted(i for _, group in found for i in group) == list(range(len(prompts)))
    for length, group in found:
        starts = {tuple(prompts[i][:length]) for i in group}
        assert len(starts) == 1 and all(len(prompts[i]) > length for i in group if length)
    read = sum(length + sum(len(prompts[i]) - length for i in group) + a_pass for length, group in found)
    assert read <= sum(map(len, prompts)) + a_pass  # never worse than one family, nothing shared


@given(st.lists(st.integers(1, 40), min_size=1, max_size=9), st.integers(1, 6), st.integers(0, 60))
def test_the_next_pass_is_the_first_of_the_cheapest_way_to_read_all(widths, most, a_pass):
    widths = sorted(widths, reverse=True)

    def cheapest(left):
        """Every way to cut what is left into passes, each padded to its first."""
        if not left:
            return 0.0
        return min(
            a_pass + left[0] * count + cheapest(left[count:]) for count in range(1, min(most, len(left)) + 1)
        )

    count = first_batch(widths, most, a_pass)
    assert 1 <= count <= min(most, len(widths))
    assert a_pass + widths[0] * count + cheapest(widths[count:]) == cheapest(widths)
