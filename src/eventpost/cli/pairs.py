"""`KEY=VALUE` words: settings of connections, options of queues, input mappings."""

from collections.abc import Sequence


def settings(words: Sequence[str]) -> dict[str, object]:
    """Values by name. A value is read as `eventpost.yaml` reads one: a number, `true`, `false` or
    text; a list or an object is written as JSON. Nothing behind the `=` is null, which takes the
    setting back to its default.

    Raises InvalidRequest for a word without `=`.
    """
    return {name: _value(text) for name, text in map(_split, words)}


def given(words: Sequence[str]) -> dict[str, object]:
    """The same, without those that are null: for what is made anew."""
    return {name: value for name, value in settings(words).items() if value is not None}


def texts(words: Sequence[str]) -> dict[str, str]:
    """The same, every value as it was written."""
    return dict(map(_split, words))


def _split(word: str) -> tuple[str, str]:
    from eventpost.core.errors import InvalidRequest

    name, separator, text = word.partition("=")
    if separator and name.strip():
        return name.strip(), text
    raise InvalidRequest(
        "InvalidOption",
        "A setting is not written as KEY=VALUE.",  # it may be a secret in the wrong place
        fix="Write KEY=VALUE, such as region=eu-west-1.",
    )


def _value(text: str) -> object:
    import msgspec

    from eventpost.config.yaml12 import scalar

    if text[:1] in ("[", "{"):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
    return scalar(text)
