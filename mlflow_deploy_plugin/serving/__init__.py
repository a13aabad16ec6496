"""What runs inside a Bento: ``codec → scheduler → predictor → codec``.

A codec (:mod:`.codecs`) turns bytes into one neutral request and an answer back into bytes, and knows nothing of
models. The scheduler joins waiting requests into batches. A predictor (:mod:`.predictors`) runs a batch and knows
nothing of HTTP. Neither talks to a registry, to git or to the agent: a Bento starts and answers with no network.
"""
