"""Reading a new instruction out of what a language model answered. What cannot be read is
said (`Unusable`, with one word why), and the methods count it: never silently lost."""

import re


class Unusable(Exception):
    """An answer that holds no instruction; the message is the reason."""


_LABEL = re.compile(
    r"^(?:(?:new|rewritten|improved|revised|final|my|the|another)\s+)*(?:instruction|prompt|answer)s?\s*:\s*",
    re.I,
)
_TALK = re.compile(
    r"^(?:sure|certainly|of course|okay|ok|here(?:'s| is| are)|i(?:'m| am| can| cannot| can't| will)\b|as an ai)",
    re.I,
)
_REFUSAL = re.compile(r"^(?:i(?:'m| am) (?:sorry|unable)|i (?:cannot|can't)|sorry\b|as an ai)", re.I)
_QUOTES = {'"': '"', "“": "”", "'": "'", "`": "`", "‘": "’"}


def tagged(tag: str, answer: str) -> str:
    """The text in the last `<tag>…</tag>`: a model that reasons in steps writes its final
    one last. Raises Unusable without one."""
    found: list[str] = re.findall(rf"<{tag}>(.*?)</{tag}>", answer, re.S | re.I)
    if not found:
        raise Unusable("unparseable")
    return unquoted(found[-1].strip())


def begun(tag: str, answer: str, paragraphs: bool = False) -> str:
    """The rest of an answer that was begun for the model with `<tag>`: up to the closing tag,
    or, since small models seldom write it, the first paragraph; with `paragraphs` all that is no
    other tag. A server that did not go on but began anew may repeat the opening tag. Raises
    Unusable."""
    text = re.sub(rf"^\s*<{tag}>", "", answer, flags=re.I)
    closed = re.search(rf"</\s*{tag}\b", text, re.I)
    ends = r"</|<\|" if paragraphs else r"\n\s*\n|</|<\|"
    return whole(text[: closed.start()] if closed else re.split(ends, text.strip())[0])


def whole(answer: str) -> str:
    """All of an answer that was asked to be the instruction and nothing else: a line of
    talk before it, a label and quotation marks around it are taken off."""
    lines = answer.strip().splitlines()
    if lines and _TALK.match(lines[0].strip()) and lines[0].rstrip().endswith(":"):
        lines = lines[1:]
    text = _LABEL.sub("", "\n".join(lines).strip()).strip()
    text = unquoted(text)
    if not any(letter.isalnum() for letter in text) or _REFUSAL.match(text):
        raise Unusable("unparseable")
    if text.endswith("…"):
        raise Unusable("too long")
    return text


def unquoted(text: str) -> str:
    """Without the quotation marks that stand around all of it."""
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def same_text(a: str, b: str) -> bool:
    return a.split() == b.split()


def slots_note(start: str) -> str:
    """A sentence for a request, when the instruction has slots that must stay."""
    from core.prompts.templates import SLOT

    found = list(dict.fromkeys(match.group(0) for match in SLOT.finditer(start)))
    return f" Keep {' and '.join(found)} exactly as written." if found else ""
