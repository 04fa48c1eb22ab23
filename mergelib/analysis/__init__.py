"""What the chapters measure, a module a question: functions of a workbench that give tables.

Notebooks write `from mergelib.analysis import interference`; nothing is handed on from here.
"""
