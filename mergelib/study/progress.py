"""Progress for the reader of a terminal, from several processes at once."""

import sys


def say(line: str) -> None:
    """Write the line and its end in one piece, at once.

    Two experts train side by side and write to one pipe. `print` hands the text and the end of
    the line over separately where Python is unbuffered, and another's text may come between.
    """
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
