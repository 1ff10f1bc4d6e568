"""How a title and a description become the one text that a model reads.

Training, evaluation, batch and the stream must all call this: a model that is trained on one composition and asked with
another is a different model.
"""


def compose(title: str, description: str | None) -> str:
    """
    One text for the tokenizer: the title, then the description if there is one.

    White space is left to the tokenizer, which folds it; nothing else is changed, so that the same words give the same
    tokens wherever they come from.

    >>> compose("Attention", "is all you need")
    'Attention is all you need'
    >>> compose("Attention", None)
    'Attention'
    """
    return f"{title} {description}" if description else title
