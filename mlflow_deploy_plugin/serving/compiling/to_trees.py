"""Scalers and an ensemble of scikit-learn's trees become a :class:`..compiled.trees.TreesForm`.

Decision trees, random forests and extra trees, gradient boosting and its histogram form. What they answer is compared
row by row like every form; what is read here of their insides has no public name, so that any surprise is a refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlflow_deploy_plugin.serving.compiled.trees import Trees, TreesForm, TreesLink
from mlflow_deploy_plugin.serving.compiling.estimators import steps_of
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError
from mlflow_deploy_plugin.serving.compiling.scaling import steps_of_scalers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class _Tree(NamedTuple):
    """One tree; children count from its own first node, and -1 is no child."""

    feature: NDArray[Any]
    threshold: NDArray[Any]
    left: NDArray[Any]
    right: NDArray[Any]
    values: NDArray[Any]  # (nodes, outputs)


class _Ensemble(NamedTuple):
    """Stages of trees, what their sum begins with, and what it is divided by and means."""

    stages: Sequence[Sequence[_Tree]]
    start: NDArray[Any]
    divisor: float
    link: TreesLink
    is_rounded: bool = True
    is_zero_second: bool = False


def form(estimator: Any, kind: str) -> TreesForm:  # noqa: ANN401  scikit-learn has no types
    """The form that may be this estimator, for columns of NumPy's type ``kind``.

    Raises:
        RefusedError: it is no chain of known scalers and a known ensemble.
    """
    *scalers, head = steps_of(estimator)
    try:
        found = _ensemble(head)
        return TreesForm(
            steps=steps_of_scalers(scalers, kind=kind),
            trees=_joined(found),
            link=found.link,
            is_rounded=found.is_rounded,
            is_zero_second=found.is_zero_second,
        )
    except (AttributeError, TypeError, ValueError, IndexError, KeyError) as error:
        name = type(estimator).__name__
        raise RefusedError(f"{name} is not as it was known ({type(error).__name__}: {error})") from error


def _ensemble(head: Any) -> _Ensemble:  # noqa: ANN401
    from sklearn import ensemble, tree  # noqa: PLC0415

    is_classifier = hasattr(head, "classes_")
    match head:
        case tree.DecisionTreeClassifier() | tree.DecisionTreeRegressor():
            return _forest([head], is_classifier=is_classifier)
        case (
            ensemble.RandomForestClassifier()
            | ensemble.ExtraTreesClassifier()
            | ensemble.RandomForestRegressor()
            | ensemble.ExtraTreesRegressor()
        ):
            return _forest(head.estimators_, is_classifier=is_classifier)
        case ensemble.GradientBoostingClassifier() | ensemble.GradientBoostingRegressor():
            return _boosting(head, is_classifier=is_classifier)
        case ensemble.HistGradientBoostingClassifier() | ensemble.HistGradientBoostingRegressor():
            return _histograms(head, is_classifier=is_classifier)
        case _:
            raise RefusedError(f"{type(head).__name__} has no form of trees")


def _forest(members: Sequence[Any], *, is_classifier: bool) -> _Ensemble:
    trees = [_grown(member.tree_, is_classifier=is_classifier) for member in members]
    start = np.zeros(trees[0].values.shape[1])
    return _Ensemble([[tree] for tree in trees], start, len(trees), "shares" if is_classifier else "values")


def _grown(tree: Any, *, is_classifier: bool) -> _Tree:  # noqa: ANN401
    if is_classifier and tree.n_outputs != 1:
        raise RefusedError("it classifies several outputs at once")
    values = tree.value[:, 0, :] if is_classifier else tree.value[:, :, 0]
    return _Tree(tree.feature, tree.threshold, tree.children_left, tree.children_right, values)


def _boosting(head: Any, *, is_classifier: bool) -> _Ensemble:  # noqa: ANN401
    if head.init is not None and head.init != "zero":
        raise RefusedError("it begins with an estimator of its user")
    rate = head.learning_rate
    stages = [[_scaled(_grown(member.tree_, is_classifier=False), rate) for member in row] for row in head.estimators_]
    start = head._raw_predict_init(np.zeros((1, head.n_features_in_), dtype=np.float32))[0]  # noqa: SLF001  a constant
    return _Ensemble(
        stages, start, 1.0, _link_of_scores(len(start), is_classifier=is_classifier), is_zero_second=is_classifier
    )


def _scaled(tree: _Tree, rate: float) -> _Tree:
    return tree._replace(values=tree.values * rate)


def _histograms(head: Any, *, is_classifier: bool) -> _Ensemble:  # noqa: ANN401
    if head.is_categorical_ is not None:
        raise RefusedError("it has categorical features")
    stages = [[_binned(predictor.nodes) for predictor in row] for row in head._predictors]  # noqa: SLF001
    start = np.ravel(head._baseline_prediction)  # noqa: SLF001
    link = _link_of_scores(len(start), is_classifier=is_classifier)
    if not is_classifier and head.loss in {"poisson", "gamma"}:
        link = "exponential"
    return _Ensemble(stages, start, 1.0, link, is_rounded=False)


def _binned(nodes: NDArray[Any]) -> _Tree:
    is_leaf = nodes["is_leaf"].astype(bool)
    left, right = (np.where(is_leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    return _Tree(nodes["feature_idx"], nodes["num_threshold"], left, right, nodes["value"][:, None])


def _link_of_scores(scores: int, *, is_classifier: bool) -> TreesLink:
    if not is_classifier:
        return "values"
    return "logistic" if scores == 1 else "softmax"


def _joined(found: _Ensemble) -> Trees:
    trees = [tree for stage in found.stages for tree in stage]
    sizes = [len(tree.feature) for tree in trees]
    firsts = np.concatenate(([0], np.cumsum(sizes[:-1]))).astype(np.int64)
    children = np.concatenate([_children(tree, first) for tree, first in zip(trees, firsts, strict=True)])
    is_leaf = np.concatenate([tree.left for tree in trees]) < 0
    return Trees(
        feature=np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int32),
        threshold=np.where(is_leaf, np.inf, np.concatenate([tree.threshold for tree in trees])).astype(np.float64),
        children=children.astype(np.int32),
        values=np.concatenate([tree.values for tree in trees]).astype(np.float64),
        roots=firsts.reshape(len(found.stages), -1).astype(np.int32),
        start=np.asarray(found.start, dtype=np.float64),
        divisor=np.array(found.divisor, dtype=np.float64),
        depth=np.array(_depth(children, firsts), dtype=np.int32),
    )


def _children(tree: _Tree, first: int) -> NDArray[Any]:
    """Left and right of each node, in all trees' count; a leaf's are itself."""
    own = np.arange(len(tree.feature))
    pairs = [np.where(side < 0, own, side) for side in (tree.left, tree.right)]
    return np.stack(pairs, axis=1).reshape(-1) + first


def _depth(children: NDArray[Any], roots: NDArray[Any]) -> int:
    """Steps from a root to the farthest leaf."""
    depth, splits = 0, roots[children[2 * roots] != roots]
    while len(splits):
        below = np.concatenate([children[2 * splits], children[2 * splits + 1]])
        depth, splits = depth + 1, below[children[2 * below] != below]
    return depth
