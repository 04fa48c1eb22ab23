"""Keys of methods, and what a reader calls them.

A key names a method wherever results, tables and figures are kept by method: the registry's name
("ties"), or the name, a comma and a variant ("adamerging, task-wise"). `base` and `expert` are
names as well: the models that every method lies between.
"""

from mergelib.methods.registry import entries

ENDS = {"base": "Base", "expert": "Expert"}


def name_of(key: str) -> str:
    """The method of a key: what stands before its first comma."""
    return key.partition(",")[0]


def title_of(key: str) -> str:
    """A key as tables and legends show it: the method's title, with the variant behind it.

    A key that begins with no method's name (a part of a vector, say) is its own title.
    """
    name, comma, variant = key.partition(",")
    if name in ENDS:
        return f"{ENDS[name]}{comma}{variant}"
    return f"{entries[name].title}{comma}{variant}" if name in entries else key
