"""Staleness as a JSON document, and back: raw samples, and what was expected of them.

Nothing that is derived is read again: whether samples agree with a prediction is found anew, by
the version that reads them. docs/reference.md documents the fields.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from osxfs_sim.coherence.staleness.measure import ViewResult
from osxfs_sim.coherence.staleness.predictions import (
    AtOnce,
    Direction,
    Mixture,
    NotSeen,
    Outlook,
    Prediction,
    StalenessSample,
    Uniform,
    View,
    Within,
    WriteBackDelay,
    compare,
)
from osxfs_sim.model.user_error import UserError

_KINDS: Mapping[str, type[Prediction]] = {
    "at once": AtOnce,
    "uniform": Uniform,
    "within": Within,
    "held": WriteBackDelay,
    "not seen": NotSeen,
}
_MIXTURE = "mixture"


_RENAMED = {"stale_looks": "stale_reads", "looks": "reads"}
"""Keys of samples and of loads until 2026-12, and what they are called since."""


def with_current_keys(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a saved result *document*, old keys renamed to today's; checks nothing.

    Nothing is checked: what is no sample or no load is left as it is.
    """
    views = document.get("views")
    if isinstance(views, list):
        views = [_view_with_current_keys(view) for view in views]
    return {**document, "views": views, "load": _with_current_keys(document.get("load"))}


def _view_with_current_keys(view: Any) -> Any:
    if not isinstance(view, dict) or not isinstance(view.get("samples"), list):
        return view
    return {**view, "samples": [_with_current_keys(sample) for sample in view["samples"]]}


def _with_current_keys(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {_RENAMED.get(key, key): value for key, value in values.items()}


def view_document(result: ViewResult) -> dict[str, Any]:
    """*result*, of one measured view, as a dictionary that JSON can hold; see view_result()."""
    outlook, comparison = result.outlook, result.comparison
    return {
        "view": result.view.value,
        "direction": result.direction.value,
        "predicted": None if outlook.prediction is None else str(outlook.prediction),
        "prediction": _prediction_document(outlook.prediction),
        "if_silent": _prediction_document(outlook.if_silent),
        "phase_ns": outlook.phase_ns,
        "patience_ns": outlook.patience_ns,
        "comparison": None if comparison is None else asdict(comparison),
        "departs_ns": result.departs_ns,
        "agrees": result.agrees,
        "samples": [asdict(sample) for sample in result.samples],
    }


def view_result(document: Mapping[str, Any]) -> ViewResult:
    """The result that view_document() made *document* of, tested anew. Raises UserError.

    Raises UserError where it is none, or has no samples.
    """
    try:
        samples = tuple(StalenessSample(**each) for each in document["samples"])
        outlook = Outlook(
            _prediction(document["prediction"]),
            document["phase_ns"],
            document["patience_ns"],
            _prediction(document["if_silent"]),
        )
        view, direction = View(document["view"]), Direction(document["direction"])
        if not samples:
            raise UserError(f"the view {view} has no samples")
        comparison = None if outlook.prediction is None else compare(outlook.prediction, samples)
    except (TypeError, KeyError, ValueError, AttributeError, AssertionError) as error:
        raise UserError(f"a view cannot be read: {type(error).__name__}: {error}") from error
    return ViewResult(view, outlook, samples, comparison, direction)


def _prediction_document(prediction: Prediction | None) -> dict[str, Any] | None:
    if prediction is None:
        return None
    if isinstance(prediction, Mixture):
        parts = [
            {"weight": weight, "of": _prediction_document(part)}
            for weight, part in prediction.parts
        ]
        return {"kind": _MIXTURE, "parts": parts}
    kind = next(kind for kind, each in _KINDS.items() if type(prediction) is each)
    values = {each.name: getattr(prediction, each.name) for each in fields(prediction)}
    return {"kind": kind, **values}


def _prediction(document: Mapping[str, Any] | None) -> Prediction | None:
    if document is None:
        return None
    values = dict(document)
    kind = values.pop("kind")
    if kind != _MIXTURE:
        return _KINDS[kind](**values)
    parts = ((each["weight"], _prediction(each["of"])) for each in values["parts"])
    return Mixture(tuple((weight, part) for weight, part in parts if part is not None))
