"""Who gets which deployment, and how a split changes so that users move only towards what grows. Pure.

Envoy hashes ``SALT:USER`` and walks the slots of the route: ``xxHash64 % 1000`` against half-open intervals in list
order. So a split is a row of 1000 places dealt to slots, and a change of weights moves borders. The law, for every
change that this module makes: **arms trade places with stable only**; an arm that grows takes places from stable, an
arm that shrinks gives its places to stable, and every other place keeps its owner.

>>> before = layout({"a": 100, "stable": 800, "b": 100}, "stable")
>>> [(slot.deployment, slot.weight) for slot in resplit(before, {"a": 300, "stable": 600, "b": 100}, "stable")]
[('a', 300), ('stable', 600), ('b', 100)]
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import xxhash

from mlflow_deploy_plugin.errors import ConfigError, ConflictError
from mlflow_deploy_plugin.manifests.model import Backend, Route
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_ARMS: Final = 8
"""Beside stable: with stable's own slots between them they fill the 16 backendRefs that the Gateway API allows."""
MAX_SLOTS: Final = 16
_TWO_ARMS: Final = 2

Slot = tuple[str, int]


def assign(user_id: str, route: Route) -> str:
    """The deployment that the gateway picks for ``user_id``; Envoy's own arithmetic.

    A request without a user id, or with an empty one, is dealt by its request id: pass that.

    Raises:
        ConfigError: the id is empty.
    """
    if not user_id:
        raise ConfigError("an empty user id has no place in the split; the gateway deals by the request id: pass that")
    place = xxhash.xxh64_intdigest(f"{route.salt}:{user_id}".encode(), seed=0) % TOTAL_WEIGHT
    for backend in route.backends:
        if place < backend.weight:
            return backend.deployment
        place -= backend.weight
    raise AssertionError("a route's weights sum to 1000")  # Route refuses anything else


def places(user_ids: Iterable[str], salt: str) -> "NDArray[np.int64]":
    """Place of each user in the row of 1000, shape (users,): it depends on the salt alone, not on the weights.

    Raises:
        ConfigError: an id is empty.
    """
    import numpy as np  # noqa: PLC0415  light commands read the tree without it

    digest, prefix = xxhash.xxh64_intdigest, f"{salt}:"
    found = np.fromiter(
        (digest((prefix + user_id).encode()) % TOTAL_WEIGHT if user_id else -1 for user_id in user_ids), np.int64
    )
    if (found < 0).any():
        raise ConfigError("an empty user id has no place in the split; the gateway deals by the request id: pass that")
    return found


def owners(route: Route) -> "NDArray[np.object_]":
    """Deployment of each of the 1000 places, shape (1000,): ``owners(route)[places(ids, route.salt)]`` assigns many.

    The same as :func:`assign` of each; two splits of one salt need the places once.

    >>> from mlflow_deploy_plugin.manifests.model import Route
    >>> route = Route(endpoint="e", stage="s", backends=layout({"a": 100, "b": 900}, "b"), stable="b", salt="x")
    >>> owners(route)[places(["ann", "bob"], "x")].tolist() == [assign("ann", route), assign("bob", route)]
    True
    """
    import numpy as np  # noqa: PLC0415

    names = np.array([backend.deployment for backend in route.backends], dtype=np.object_)
    return np.repeat(names, [backend.weight for backend in route.backends])


def layout(weights: Mapping[str, int], stable: str) -> tuple[Backend, ...]:
    """Slots for a split that nobody has been dealt by yet.

    ``[A, stable]`` for one arm, ``[A, stable, B]`` for two; beyond, each arm has a slot of equal size that it shares
    with stable: ``[A, stable, B, stable, C, stable]``. Arms in the order of ``weights``.

    Raises:
        ConfigError: the weights do not sum to 1000, there are more than 8 arms, or one outgrows its slot.

    >>> [(slot.deployment, slot.weight) for slot in layout({"s": 970, "a": 10, "b": 10, "c": 10}, "s")]
    [('a', 10), ('s', 324), ('b', 10), ('s', 323), ('c', 10), ('s', 323)]
    """
    _require_whole(weights, stable)
    arms = [(name, weight) for name, weight in weights.items() if name != stable]
    if len(arms) <= _TWO_ARMS:
        return _backends([*arms[:1], (stable, weights.get(stable, 0)), *arms[1:]])
    slots: list[Slot] = []
    for (name, weight), room in zip(arms, _rooms(len(arms)), strict=True):
        if weight > room:
            raise ConfigError(
                f"weight {weight} of {name!r} does not fit its slot of {room} among {len(arms)} arms; lower it, or run"
                " fewer arms"
            )
        slots += [(name, weight), (stable, room - weight)]
    return _backends(slots)


def _rooms(count: int) -> list[int]:
    size, rest = divmod(TOTAL_WEIGHT, count)
    return [size + (index < rest) for index in range(count)]


def resplit(backends: Sequence[Backend], weights: Mapping[str, int], stable: str) -> tuple[Backend, ...]:
    """``backends`` with new weights, by the law of this module; the slots stay where they are as far as they can.

    A deployment that has no slot yet joins; one that ``weights`` leaves out goes to 0 and keeps its slot.

    Raises:
        ConfigError: the weights do not sum to 1000, or there are more than 8 arms.
        ConflictError: more than 16 slots would be needed.
    """
    full = {**dict.fromkeys((backend.deployment for backend in backends), 0), **weights}
    _require_whole(full, stable)
    slots = [(backend.deployment, backend.weight) for backend in backends]
    held = _totals(slots)
    arms = [name for name in full if name != stable]
    for name in arms:
        _shrink(slots, name, held.get(name, 0) - full[name], stable)
    for name in arms:
        if name in held:
            _grow(slots, name, max(0, full[name] - held[name]), stable)
        else:
            _join(slots, name, full[name], stable)
    usual = min(MAX_SLOTS, 2 * len(arms) + 1)  # each arm with stable on both sides
    return _backends(_compact(slots) if len(slots) > usual else slots)


def without(backends: Sequence[Backend], name: str) -> tuple[Backend, ...]:
    """``backends`` less the slots of ``name``, which weigh nothing; neighbours of one deployment become one slot."""
    return _backends(_merged([(b.deployment, b.weight) for b in backends if b.deployment != name]))


def moved(before: Route, after: Route) -> Mapping[tuple[str, str], int]:
    """How many of 1000 users change from which deployment to which, where the salt stays.

    >>> from dataclasses import replace
    >>> old = Route(endpoint="e", stage="s", backends=layout({"a": 100, "b": 900}, "b"), stable="b", salt="x")
    >>> moved(old, replace(old, backends=layout({"a": 250, "b": 750}, "b")))
    {('b', 'a'): 150}
    """
    counts: dict[tuple[str, str], int] = {}
    for pair in zip(_places(before), _places(after), strict=True):
        if pair[0] != pair[1]:
            counts[pair] = counts.get(pair, 0) + 1
    return counts


def moved_share(before: Route, after: Route) -> float:
    """Share of the users who change deployment; another salt deals everybody anew."""
    if before.salt == after.salt:
        return sum(moved(before, after).values()) / TOTAL_WEIGHT
    kept = sum(weight * after.weights.get(name, 0) for name, weight in before.weights.items())
    return 1 - kept / TOTAL_WEIGHT**2


def _places(route: Route) -> Iterator[str]:
    return (backend.deployment for backend in route.backends for _ in range(backend.weight))


def _require_whole(weights: Mapping[str, int], stable: str) -> None:
    for name, weight in weights.items():
        if weight < 0:
            raise ConfigError(f"weight {weight} of {name!r} is below 0")
    if (total := sum(weights.values())) != TOTAL_WEIGHT:
        given = ", ".join(f"{name}={weight}" for name, weight in weights.items())
        raise ConfigError(f"weights sum to {total}, not {TOTAL_WEIGHT}: {given}")
    if (arms := len(weights.keys() - {stable})) > MAX_ARMS:
        raise ConfigError(f"{arms} arms beside stable {stable!r}, more than {MAX_ARMS}; remove one first")


def _totals(slots: Sequence[Slot]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for name, weight in slots:
        totals[name] = totals.get(name, 0) + weight
    return totals


def _shrink(slots: list[Slot], name: str, excess: int, stable: str) -> None:
    """Give ``excess`` places of ``name`` to the stable slot beside it."""
    for index in reversed(range(len(slots))):
        share = min(excess, slots[index][1]) if slots[index][0] == name else 0
        if share <= 0:
            continue
        neighbour = next((i for i in (index + 1, index - 1) if 0 <= i < len(slots) and slots[i][0] == stable), None)
        if neighbour is None:
            neighbour = index + 1
            slots.insert(neighbour, (stable, 0))
        _move(slots, index, neighbour, share)
        excess -= share


def _grow(slots: list[Slot], name: str, wanted: int, stable: str) -> None:
    """Take ``wanted`` places for ``name``: beside its slots first, else in the midst of stable's largest slot."""
    for index in [i for i, (holder, _) in enumerate(slots) if holder == name]:
        for source in (_beside(slots, index, 1), _beside(slots, index, -1)):
            if source is not None and slots[source][0] == stable:
                share = min(wanted, slots[source][1])
                _move(slots, source, index, share)
                wanted -= share
    while wanted > 0:
        wanted -= _settle(slots, name, wanted, stable)


def _beside(slots: Sequence[Slot], index: int, step: int) -> int | None:
    """The next slot in that direction that holds places: borders may pass slots that hold none."""
    index += step
    while 0 <= index < len(slots):
        if slots[index][1]:
            return index
        index += step
    return None


def _join(slots: list[Slot], name: str, weight: int, stable: str) -> None:
    """A first slot for ``name``: before stable, then behind it, then in the midst of its largest slot."""
    arms = {holder for holder, _ in slots} - {stable}
    if not arms:
        slots.insert(0, (name, 0))
    elif len(arms) == 1 and slots[-1][0] == stable:
        slots.append((name, 0))
    else:
        weight -= _settle(slots, name, weight, stable)
    _grow(slots, name, weight, stable)


def _settle(slots: list[Slot], name: str, weight: int, stable: str) -> int:
    """Open a slot for ``name`` in the midst of stable's largest; how many places it took."""
    index = max((i for i, (holder, _) in enumerate(slots) if holder == stable), key=lambda i: slots[i][1])
    room = slots[index][1]
    taken = min(weight, room)
    left = (room - taken) // 2
    slots[index : index + 1] = [(stable, left), (name, taken), (stable, room - taken - left)]
    return taken


def _move(slots: list[Slot], source: int, target: int, share: int) -> None:
    slots[source] = (slots[source][0], slots[source][1] - share)
    slots[target] = (slots[target][0], slots[target][1] + share)


def _compact(slots: Sequence[Slot]) -> list[Slot]:
    """The same places in fewer slots: those that hold none go, where their holder has another."""
    totals = _totals(slots)
    kept = [
        (name, weight)
        for index, (name, weight) in enumerate(slots)
        if weight or (not totals[name] and all(name != earlier for earlier, _ in slots[:index]))
    ]
    compact = _merged(kept)
    if len(compact) > MAX_SLOTS:
        raise ConflictError(
            f"the split would need {len(compact)} slots, more than the {MAX_SLOTS} of a route, to move nobody but"
            " towards what grows; take an arm to 0 first, or remove one"
        )
    return compact


def _merged(slots: Sequence[Slot]) -> list[Slot]:
    merged: list[Slot] = []
    for name, weight in slots:
        if merged and merged[-1][0] == name:
            merged[-1] = (name, merged[-1][1] + weight)
        else:
            merged.append((name, weight))
    return merged


def _backends(slots: Sequence[Slot]) -> tuple[Backend, ...]:
    return tuple(Backend(deployment=name, weight=weight) for name, weight in slots)
