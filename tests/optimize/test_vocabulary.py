"""What may be put into a prompt, on a tokenizer of words and on one of pieces."""

import pytest

from core.optimize.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def pieces():
    """A byte-level BPE, as GPT-2's, trained on a few lines."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    lines = [
        "the positive review was read with positively great care",
        "a negative one, {{input}}: the end",
    ] * 20
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    plain.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=400, special_tokens=["<end>"], initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<end>")


def test_only_plain_tokens_that_begin_a_word_are_offered(pieces):
    vocabulary = Vocabulary(pieces, len(pieces))
    offered = vocabulary.offered
    assert pieces.eos_token_id not in offered
    assert " the" in offered.values() and " positive" in offered.values()
    assert all(text[0] == " " and text.strip() and "{" not in text for text in offered.values())
    assert all(vocabulary.reads_back("the review", [token]) for token in offered)


def test_label_words_are_left_out_with_what_holds_them_and_their_pieces(pieces):
    vocabulary = Vocabulary(pieces, len(pieces))
    the = next(i for i, text in vocabulary.offered.items() if text == " the")
    allowed = [vocabulary.offered[i] for i in vocabulary.without(["Positive", "a"], (the,))]
    assert not [text for text in allowed if "positive" in text] and " the" not in allowed
    assert " a" not in allowed and " care" in allowed  # a short word only as a whole
    assert " positively" in vocabulary.offered.values()


def test_a_text_that_is_read_otherwise_is_known(pieces):
    vocabulary = Vocabulary(pieces, len(pieces))
    ids = vocabulary.ids(" positive care")
    assert vocabulary.continued("the", ids) == "the positive care" and vocabulary.reads_back("the", ids)
    assert vocabulary.continued("", ids) == "positive care" and vocabulary.reads_back("", ids)
    split = vocabulary.ids(" pos") + vocabulary.ids("itive")
    assert vocabulary.continued("the", split) == "the positive" and not vocabulary.reads_back("the", split)


def test_words_of_a_tokenizer_without_spaces_in_its_tokens(tiny_host):
    vocabulary = Vocabulary(tiny_host.tokenizer, 200)
    ids = vocabulary.ids("film boring")
    assert vocabulary.continued("tell me", ids) == "tell me film boring"
    assert vocabulary.continued("not known words", ids) == "not known words film boring"
    assert vocabulary.reads_back("not known words", ids) and vocabulary.reads_back("", ids)
    assert set(vocabulary.offered.values()) >= {" film", " good", " ."}
