"""The errors of this package: the input does not allow an honest answer."""


class SelectionError(ValueError):
    """Says what is wrong, in which model, feature or study, and what to do; raised before any number is made."""


class TooLittleData(SelectionError):
    """The input is sound but too small or too uniform to learn from; `performance` turns it into an abstention."""
