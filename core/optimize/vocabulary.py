"""Which tokens a search over tokens may put into a prompt, and the text of what it puts there.

What is searched are tokens; what is kept, shown and scored is text. So a sequence is only
proposed when its text, where it stands, is read as just these tokens again. Tokens that
begin a word nearly always are; pieces of words (“ing” after “ the”) hardly ever.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from core.runs.context import WorkError

Ids = list[int]
SHORT = 3  # a label word of fewer letters is left out only where a token is just that word


class Vocabulary:
    """`tokenizer` of a model with `size` rows of embeddings (a tokenizer may know more)."""

    def __init__(self, tokenizer: Any, size: int) -> None:
        self.tokenizer, self.size = tokenizer, size

    @cached_property
    def offered(self) -> dict[int, str]:
        """Token -> what it adds to a text that it continues: tokens that begin a word (or
        punctuation set off by a space), printable, without braces, which would make slots.
        No special tokens."""
        count = min(self.size, len(self.tokenizer))
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.get_added_vocab().values()}
        ids = [i for i in range(count) if i not in special]
        anchor = next((i for i in ids if self.tokenizer.decode([i]).strip().isalpha()), None)
        if anchor is None:
            raise WorkError("The model's tokenizer has no words.", "Choose another host.")
        before = self.tokenizer.decode([anchor])
        texts = self.tokenizer.batch_decode([[anchor, i] for i in ids])
        added = {
            i: text[len(before) :] for i, text in zip(ids, texts, strict=True) if text.startswith(before)
        }
        return {i: text for i, text in added.items() if text[:1] == " " and _plain(text[1:])}

    def without(self, words: Sequence[str], pieces: Sequence[int] = ()) -> Ids:
        """The tokens that are offered, less those that hold one of the words, and `pieces`: a
        prompt that names the labels would give the answer away."""
        words = [word.strip().lower() for word in words if word.strip()]

        def holds(text: str) -> bool:
            text = text.strip().lower()
            return any(text == word or (len(word) >= SHORT and word in text) for word in words)

        return [i for i, text in self.offered.items() if i not in pieces and not holds(text)]

    def ids(self, text: str) -> Ids:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def continued(self, head: str, ids: Sequence[int]) -> str:
        """`head` with what the tokens add to it. An empty head: the text of the tokens."""
        if not head:
            return str(self.tokenizer.decode(list(ids))).strip()
        start = self.ids(head)
        before, whole = self.tokenizer.decode(start), self.tokenizer.decode([*start, *ids])
        return head + (whole[len(before) :] if whole.startswith(before) else self.tokenizer.decode(list(ids)))

    def reads_back(self, head: str, ids: Sequence[int]) -> bool:
        """Whether the text of `continued` is read as the head's tokens and then these. The
        first word of a text may be another token than the same word after a space; both are
        tried when the head is empty."""
        text = self.continued(head, ids)
        if head:
            return self.ids(text) == [*self.ids(head), *ids]
        return list(ids) in (self.ids(text), self.ids(f" {text}"))


def _plain(text: str) -> bool:
    return (
        bool(text)
        and text.isprintable()
        and not any(letter in "{}\ufffd" or letter.isspace() for letter in text)
    )
