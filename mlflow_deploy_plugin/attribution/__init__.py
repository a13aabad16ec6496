"""How much each column moved an answer: what explanations are made of, wherever the model is asked.

The Bento explains its own model with this, and the client a model whose server explains nothing. Pure: rows and answers
come in as values, and whoever asks the model is handed in as a function. The only errors of its own say what cannot be
explained (:class:`.table.CannotExplainError`).
"""
