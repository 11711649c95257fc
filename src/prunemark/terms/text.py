"""Texts that come from elsewhere, for a line of a terminal, a table or a figure. No torch."""

LONGEST_LABEL = 60
"""Characters of a label or a name that a study gives."""
_LONGEST_LINE = 300


def one_line(text: str, longest: int = _LONGEST_LINE) -> str:
    """The text with every character that is not printable, line ends too, as an escape, and cut where it is longer."""
    if text.isascii() and text.isprintable() and len(text) <= longest:
        return text
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in cut)


def printable(text: str) -> str:
    """The text with everything that would steer a terminal as an escape; line ends stay."""
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)


def label_problem(text: str) -> str:
    """What is wrong with a label or a name, in words; "" if nothing is."""
    if not text.isprintable():
        return f"{text[:LONGEST_LABEL]!a} has characters that cannot be printed"
    if len(text) > LONGEST_LABEL:
        return f'"{text[:LONGEST_LABEL]}…" has {len(text):,} characters; at most {LONGEST_LABEL} are allowed'
    return ""
