"""Explanations: how much each column moved one answer, outside the predict path.

:mod:`.desk` belongs to the worker: it takes requests, at most a few, and hands them to one process of its own
(:mod:`.child`), which loads the model a second time (:mod:`.subject`), works at low priority and ends when it has had
nothing to do. What it computes is in :mod:`.methods`; every method's answer is checked by the law that holds for all:
base value plus attributions is the prediction.
"""
