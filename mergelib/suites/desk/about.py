"""What a task of the desk suite says about itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """Names, provenance and prompt templates of one task; label i means `classes[i]`.

    `templates` turn a class name into a caption, with `{}` in the place of the name: plain English.
    `origin` says in a word or two where the texts come from, `authors` who wrote them, `packages`
    which pip packages carry them; `licence` is that of the texts.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    note: str
    origin: str
    authors: str
    packages: tuple[str, ...]
    licence: str
