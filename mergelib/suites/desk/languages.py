"""Languages: a sentence → the language that it is in, of eighteen in Latin script."""

from collections.abc import Iterator

from mergelib.suites.desk.about import About
from mergelib.suites.desk.home_assistant import SOURCE, load, sampled
from mergelib.suites.desk.splits import Row, divided
from mergelib.suites.texts import Texts

PER_TEMPLATE = 3
LANGUAGES = {
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "eu": "Basque",
    "fi": "Finnish",
    "fr": "French",
    "hr": "Croatian",
    "hu": "Hungarian",
    "it": "Italian",
    "nb": "Norwegian",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "sv": "Swedish",
}

ABOUT = About(
    name="languages",
    title="Languages",
    classes=tuple(LANGUAGES.values()),
    templates=("a sentence in {}.",),
    note="Voice command, drawn from a template → language; the sentences of a template are in one "
    "split. Templates that ask for a name of one's own are left out, as it would be in English.",
    **SOURCE,
)


def build(seed: int) -> Texts:
    return divided(rows(seed), seed)


def rows(seed: int) -> Iterator[Row]:
    """Sentences; a group is a template, whatever language it is a template of."""
    for label, language in enumerate(LANGUAGES):
        grammar, intents = load(language)
        templates = sorted({t for several in intents.values() for t in several})
        for template, sentences in sampled(grammar, templates, PER_TEMPLATE, seed):
            yield from (Row(sentence, label, template) for sentence in sentences)
