"""Commands: something said to the house → what is to be done."""

import json
from collections.abc import Iterator

from mergelib.suites.text_desk.about import About
from mergelib.suites.text_desk.grammar import Grammar, Unfillable, words_of
from mergelib.suites.text_desk.packages import read
from mergelib.suites.text_desk.splits import Row, divided
from mergelib.suites.texts import Texts

FILE = "home_assistant_intents/data/{}.json"
PER_TEMPLATE = 20  # sentences at most
# What the package's free lists are filled with.
FREE = {
    "area": ("kitchen", "bedroom", "living room", "garage", "garden", "office", "hall"),
    "floor": ("first floor", "ground floor", "basement", "attic"),
    "name": ("lamp", "front door", "ceiling fan", "heater", "desk light", "curtain", "radio"),
    "search_query": ("the beatles", "some jazz", "the evening news", "classical music"),
    "zone": ("the lawn", "the orchard"),
    "timer_name": ("pizza", "laundry", "tea", "workout"),
    "timer_command": ("turn off the lamp", "open the garage", "lock the front door"),
    "shopping_list_item": ("milk", "apples", "bread", "coffee", "soap"),
    "todo_list_item": ("call the bank", "water the plants", "fix the bike", "pay the rent"),
}
# The intents that have templates enough for three splits.
INTENTS = {
    "HassCancelAllTimers": "cancelling all timers",
    "HassCancelTimer": "cancelling a timer",
    "HassClimateGetTemperature": "asking how warm it is",
    "HassClimateSetFanMode": "setting the mode of a fan of the air conditioning",
    "HassClimateSetTemperature": "setting the temperature",
    "HassDecreaseTimer": "taking time off a timer",
    "HassFanSetSpeed": "setting the speed of a fan",
    "HassGetCurrentDate": "asking for the date",
    "HassGetCurrentTime": "asking for the time",
    "HassGetState": "asking about the state of a device",
    "HassGetWeather": "asking for the weather",
    "HassIncreaseTimer": "adding time to a timer",
    "HassLawnMowerDock": "sending the lawn mower back",
    "HassLawnMowerStartMowing": "mowing the lawn",
    "HassLightSet": "setting the colour or the brightness of a light",
    "HassListAddItem": "adding something to a to-do list",
    "HassListCompleteItem": "ticking something off a to-do list",
    "HassMediaNext": "skipping to the next song",
    "HassMediaPause": "pausing the music",
    "HassMediaPlayerMute": "muting the sound",
    "HassMediaPlayerUnmute": "turning the sound on again",
    "HassMediaPrevious": "going back to the previous song",
    "HassMediaSearchAndPlay": "playing some music",
    "HassMediaUnpause": "resuming the music",
    "HassPauseTimer": "pausing a timer",
    "HassRespond": "saying hello",
    "HassSetPosition": "setting the position of a curtain or a valve",
    "HassSetVolume": "setting the volume",
    "HassSetVolumeRelative": "making it louder or quieter",
    "HassShoppingListAddItem": "adding something to the shopping list",
    "HassShoppingListCompleteItem": "ticking something off the shopping list",
    "HassStartTimer": "starting a timer",
    "HassTimerStatus": "asking how much time is left on a timer",
    "HassTurnOff": "turning off or closing something",
    "HassTurnOn": "turning on or opening something",
    "HassUnpauseTimer": "resuming a timer",
    "HassVacuumCleanArea": "vacuuming a certain room",
    "HassVacuumStart": "starting the vacuum cleaner",
}

ABOUT = About(
    name="commands",
    title="Commands",
    classes=tuple(INTENTS.values()),
    prompts=("a voice command for {}.",),
    note="English voice command, drawn from a template → intent; the sentences of a template are "
    "in one split.",
    origin="the contributors of Home Assistant",
    packages=("home-assistant-intents",),
    licence="Apache-2.0",
)


def build(seed: int) -> Texts:
    return divided(rows(seed), seed)


def rows(seed: int) -> Iterator[Row]:
    """Sentences; a group is a template."""
    grammar, intents = load("en", FREE)
    for label, intent in enumerate(INTENTS):
        for template, sentences in sampled(grammar, intents[intent], PER_TEMPLATE, seed):
            yield from (Row(sentence, label, template) for sentence in sentences)


def load(language: str, free: dict[str, tuple[str, ...]] | None = None):
    """(grammar, intent → its templates) of a language; `free` fills lists that have no words."""
    path = read("home-assistant-intents", FILE.format(language))
    data = json.loads(path.read_text(encoding="utf-8"))
    grammar = Grammar(data["expansion_rules"], {**words_of(data["lists"]), **(free or {})})
    templates = {
        intent: sorted({s for block in entry["data"] for s in block["sentences"]})
        for intent, entry in data["intents"].items()
    }
    return grammar, templates


def sampled(grammar: Grammar, templates, count: int, seed: int) -> Iterator[tuple[str, list[str]]]:
    """(template, sentences) of the templates that can be filled."""
    for template in templates:
        try:
            yield template, grammar.sample(template, count, seed)
        except Unfillable:
            continue
