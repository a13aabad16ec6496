"""Making compiled forms, once, when a model is packaged, in the Python that will serve it.

``python -m mlflow_deploy_plugin.serving.compiling --model FOLDER --out FOLDER --verdict FILE`` loads the model as
MLflow does, makes the simplest form that its estimator has, and holds it against the pyfunc, row by row: the input
example, generated rows, and rows at the model's own edges (the thresholds of its trees). Only a form that gives equal
labels, and numbers within the tolerance, is written, with the record of that comparison beside it. The verdict says
which path serves, and why.

A module of torch that takes one tensor becomes a graph as well (:mod:`.modules`).

This imports MLflow, scikit-learn or torch and, for what is neither linear nor made of trees, skl2onnx; serving imports
none of it.
"""
