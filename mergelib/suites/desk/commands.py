"""Commands: something said to the house → what is to be done."""

from collections.abc import Iterator

from mergelib.suites.desk.about import About
from mergelib.suites.desk.home_assistant import SOURCE, load, sampled
from mergelib.suites.desk.splits import Row, divided
from mergelib.suites.texts import Texts

PER_TEMPLATE = 20  # sentences at most
TRAIN = 1200  # enough for an expert
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
    templates=("a voice command for {}.",),
    note="English voice command, drawn from a template → intent; the sentences of a template are "
    "in one split.",
    **SOURCE,
)


def build(seed: int) -> Texts:
    return divided(rows(seed), seed, train=TRAIN)


def rows(seed: int) -> Iterator[Row]:
    """Sentences; a group is a template."""
    grammar, intents = load("en", FREE)
    for label, intent in enumerate(INTENTS):
        for template, sentences in sampled(grammar, intents[intent], PER_TEMPLATE, seed):
            yield from (Row(sentence, label, template) for sentence in sentences)
