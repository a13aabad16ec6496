"""Forms of a model that need no MLflow, scikit-learn or torch: what they are, how they lie in a Bento, how they answer.

::

    src/compiled/check.json       a CompileRecord: which form, what it was compared on, how far it was off
    src/compiled/linear.json      a linear form: scaling steps and one matrix, in float64
    src/compiled/trees.npz        scaling steps and the nodes of all trees of an ensemble
    src/compiled/model.onnx       an ONNX graph: of doubles for a table, of float32 for one of torch's modules

A form answers tables, or tensors, of finite numbers. It is made and compared by :mod:`..compiling` when the model is
packaged; nothing here makes one. Adding a kind: a module with a :class:`.form.Form`, and its lines in :mod:`.store`.
"""
