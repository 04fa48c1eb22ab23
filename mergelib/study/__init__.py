"""The layer between library and notebooks: what a chapter calls to keep and quote its numbers.

`record` and `recall` keep a chapter's numbers, `glue` lets its prose quote them. What runs the
study (profiles, content keys, papermill, the book) lies in the modules beside; `python -m
mergelib.study --help` lists its commands and the Snakefile calls them.
"""

from mergelib.study.results import glue, quote, recall, record

__all__ = ["glue", "quote", "recall", "record"]
