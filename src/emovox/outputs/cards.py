"""A model card in words and tables, for a terminal or a page.

Shows what the card's ``evaluation`` holds and leaves out what it does not: the scores of
`emovox.lab.evaluation.scores.score`, and, where somebody measured them, ``enrolled``, ``setting`` and
``setting_enrolled`` (the same scores with so many ``clips`` of each speaker or setting as the baseline), ``promise``
(all these by the protocol that calibrates the model), ``robustness`` (``uar`` and ``loss`` of each condition),
``cross_corpus`` (``uar``, ``enrolled_uar`` and ``ece`` on each corpus by a model that never heard it) and ``cost`` (see
:data:`COSTS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emovox.model.card import ModelCard

#: What no model of ours is for; docs/responsible-use.md says why.
NOT_INTENDED = (
    "judging people: hiring, admission, marking, promotion, dismissal, insurance, credit, policing, border control, "
    "lie detection",
    "watching people at work or in education",
    "diagnosis or triage, in particular of depression or suicide risk, without the trials and approvals of a medical "
    "device",
    "analysing people who do not know about it",
    "decisions about a single person from a single recording, by a machine alone",
)

#: What ``evaluation["cost"]`` may hold: key, name and how it is written.
COSTS = (
    ("bytes", "file", lambda value: f"{value / 1e6:.1f} MB"),
    ("parameters", "parameters", lambda value: f"{value / 1e6:.2f} million"),
    ("real_time_factor", "real-time factor, one CPU thread, 3 s clips", lambda value: f"{value:.4f}"),
    ("predict_seconds", "`emovox predict` of one clip, whole process", lambda value: f"{value:.2f} s"),
    ("machine", "machine", str),
)


@dataclass(frozen=True)
class Section:
    """One part of a card.

    Attributes
    ----------
    title : str
        What it is about.
    text : tuple of str
        Paragraphs.
    head : tuple of str
        Names of a table's columns; empty where there is no table, or one without a head.
    rows : tuple of tuple of str
        The table, every row as long as the head.
    """

    title: str
    text: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def sections(card: ModelCard) -> list[Section]:
    """Put a card into words.

    Parameters
    ----------
    card : ModelCard
        Of any model; parts that it lacks are left out.

    Returns
    -------
    list of Section
        Details, training data, intended use, what is not intended, limitations, and :func:`analyses`.

    Examples
    --------
    >>> from emovox.types import FeatureSpec
    >>> card = ModelCard("demo", "ann", ("happy", "sad"), FeatureSpec("classic193", 1, 193))
    >>> [part.title for part in sections(card)]
    ['Details', 'Not intended']
    """
    parts = [
        details(card),
        training_data(card),
        Section("Intended use", _given(card.intended_use)),
        Section("Not intended", rows=tuple((use,) for use in NOT_INTENDED)),
        Section("Limitations", _given(card.limitations)),
    ]
    return [part for part in parts if part.text or part.rows] + analyses(card)


def details(card: ModelCard) -> Section:
    """Say what kind of model it is."""
    fronts = []
    for name, one in card.features.parts().items():
        numbers = f"{one.set} version {one.version}, {one.dimension} numbers"
        fronts.append(f"{name}: {'samples' if one.set == 'samples' else numbers}")
    features = "; ".join(front.removeprefix(": ") for front in fronts)
    rows = (
        ("name", card.name),
        ("recipe", str(card.recipe.get("description", ""))),
        ("family", card.family),
        ("emotions", ", ".join(card.labels)),
        ("input", f"samples at {card.rate} Hz, mono" if card.features.set == "samples" else features),
        ("abstains", _abstains(card)),
        ("licence of the weights", card.licence),
        ("made", " ".join(filter(None, [card.created, card.software and f"with emovox {card.software}"]))),
    )
    return Section("Details", rows=tuple(row for row in rows if row[1]))


def _abstains(card: ModelCard) -> str:
    """Say when the answer is "don't know"."""
    parts = [f"below a confidence of {card.threshold:.2f}"] if card.threshold else []
    if card.known_threshold:
        parts.append(f"with a setting or speaker known below {card.known_threshold:.2f}")
    if card.shortest:
        parts.append(f"below {card.shortest:g} s of speech")
    return ", ".join(parts) or "never by itself"


def training_data(card: ModelCard) -> Section:
    """Say what the model was trained on."""
    return Section(
        "Training data",
        tuple(
            f"{one.name}: {one.clips} clips, {one.speakers or 'unknown'} speakers; "
            f"{', '.join(one.labels)}; licence: {one.licence}"
            for one in card.corpora
        ),
    )


def analyses(card: ModelCard) -> list[Section]:
    """Put the card's scores into words and tables, each in percent; what was not measured is left out.

    Parameters
    ----------
    card : ModelCard
        Its ``evaluation`` is what counts.

    Returns
    -------
    list of Section
    """
    found: Mapping[str, Any] = card.evaluation
    parts = [
        _scores(found),
        _folds(found),
        _emotions(found),
        _groups(found, "sexes", "Sexes", "sex"),
        _groups(found, "corpora", "Corpora", "corpus"),
        _calibration(found),
        _abstaining(found, card.threshold),
        _known(found),
        _promised(found),
        _table("Robustness", "condition", found.get("robustness"), {"uar": "UAR", "loss": "loss, points"}),
        _table(
            "Corpora that the model never heard",
            "corpus",
            found.get("cross_corpus"),
            {"uar": "UAR", "enrolled_uar": "UAR with enrolment", "ece": "ECE"},
        ),
        _dimensions(found),
        _cost(found),
    ]
    return [part for part in parts if part.text or part.rows]


def risk_curve(card: ModelCard) -> Section:
    """Tabulate accuracy and threshold by coverage, in steps of a tenth."""
    points = card.evaluation.get("selective", {}).get("curve", ())[::2]
    return Section(
        "Accuracy of the surest answers",
        head=("clips with an answer", "of these right", "least confidence"),
        rows=tuple((percent(one["coverage"]), percent(one["accuracy"]), f"{one['threshold']:.2f}") for one in points),
    )


def percent(value: float | None) -> str:
    """Write a share in percent; a dash where there is none.

    Examples
    --------
    >>> percent(0.1234), percent(None)
    ('12.3', '–')
    """
    return "–" if value is None else f"{100 * value:.1f}"


def _given(text: str) -> tuple[str, ...]:
    """Make a paragraph of a text, if there is one."""
    return (text,) if text else ()


def _scores(found: Mapping[str, Any]) -> Section:
    """Say how right the model is, and by which protocol that is known."""
    protocol = found.get("protocol", {})
    text = f"{protocol['name']}: {protocol.get('note', '')}" if protocol else ""
    rows = [
        (name, _headline(found) if key == "uar" else percent(found[key]))
        for key, name in (("uar", "UAR"), ("wa", "WA"), ("macro_f1", "macro-F1"), ("precision", "macro precision"))
        if key in found
    ]
    if "n" in found:
        rows.append(("clips tested", str(found["n"])))
    return Section("Scores in percent", _given(text), rows=tuple(rows))


def _headline(found: Mapping[str, Any]) -> str:
    """Write a UAR with its interval and spreads."""
    parts = [percent(found["uar"])]
    if interval := found.get("interval"):
        parts.append(
            f"{100 * interval['level']:.0f} % by speaker {percent(interval['low'])} to {percent(interval['high'])}"
        )
    for key, over in (("sd_folds", "folds"), ("sd_seeds", "seeds")):
        if found.get(key) is not None:
            parts.append(f"± {percent(found[key])} over {over}")
    return ", ".join(parts)


def _folds(found: Mapping[str, Any]) -> Section:
    """Tabulate the folds, and seeds where there are several."""
    folds = found.get("folds", ())
    return Section(
        "Folds",
        head=("fold", "seed", "clips", "UAR", "WA"),
        rows=tuple(
            (one["fold"], str(one["seed"]), str(one["n"]), percent(one["uar"]), percent(one["wa"])) for one in folds
        ),
    )


def _emotions(found: Mapping[str, Any]) -> Section:
    """Tabulate the classes; their clips are counted once, however many seeds there were."""
    seeds = len(found.get("protocol", {}).get("seeds", ())) or 1
    return Section(
        "Emotions",
        head=("emotion", "precision", "recall", "F1", "clips"),
        rows=tuple(
            (name, *(percent(one[key]) for key in ("precision", "recall", "f1")), str(one["support"] // seeds))
            for name, one in found.get("per_class", {}).items()
        ),
    )


def _groups(found: Mapping[str, Any], key: str, title: str, column: str) -> Section:
    """Tabulate sexes or corpora."""
    columns = {"uar": "UAR", "wa": "WA", "macro_f1": "macro-F1", "ece_tempered": "ECE"}
    return _table(title, column, found.get(key), columns)


def _table(title: str, column: str, groups: Mapping[str, Mapping[str, Any]] | None, keys: Mapping[str, str]) -> Section:
    """Tabulate shares of groups in percent; a column that no group has is left out."""
    groups = groups or {}
    present = [key for key in keys if any(one.get(key) is not None for one in groups.values())]
    return Section(
        title,
        head=(column, *(keys[key] for key in present)),
        rows=tuple((name, *(percent(one.get(key)) for key in present)) for name, one in groups.items()),
    )


def _calibration(found: Mapping[str, Any]) -> Section:
    """Say how far confidence is from accuracy."""
    told = found.get("calibration", {})
    text = []
    if told.get("ece_tempered") is not None:
        text.append(
            f"Expected calibration error (ECE) {percent(told['ece_tempered'])} %, each fold at the temperature that "
            f"the others teach, and {percent(told['ece'])} % without; over all folds the temperature is "
            f"{told['temperature']:.2f}."
        )
    elif "ece" in told:
        text.append(f"Expected calibration error (ECE) {percent(told['ece'])} %.")
    return Section("Calibration", tuple(text))


def _abstaining(found: Mapping[str, Any], threshold: float) -> Section:
    """Say what the threshold promises and what it was worth."""
    told = found.get("selective", {})
    if not told:
        return Section("Abstaining")
    if not found.get("protocol", {}).get("speaker_independent"):
        return Section("Abstaining", ("The scores are not speaker-independent: nothing is promised for new speakers.",))
    promise = f"at least {percent(told['target'])} % of the answers are right for new speakers"
    if told["threshold"] is None:
        text = f"No threshold promises that {promise} and still answers a tenth of the clips."
        return Section("Abstaining", (text,))
    own = "the model's own" if threshold == told["threshold"] else f"the model's own is {threshold:.2f}"
    how = f"At a threshold of {told['threshold']:.2f} ({own})" if told["threshold"] else "Without abstaining"
    text = (
        f"{how} {promise}, at a confidence level of "
        f"{100 * told['level']:.0f} %. It answers {percent(told['coverage'])} % of the tested clips, and "
        f"{percent(told['accuracy'])} % of these answers are right."
    )
    honest = told["cross_fitted"]
    if not honest:
        return Section("Abstaining", (text,))
    parts = [honest[part] for part in ("corpora", "sexes", "labels") if len(honest[part]) > 1]
    groups = {"all": honest} | {name: one for part in parts for name, one in part.items()}
    table = _table("", "clips", groups, {"coverage": "answered", "accuracy": "of these right"})
    return Section("Abstaining", (text, "With thresholds that each fold has from the others:"), table.head, table.rows)


def _known(found: Mapping[str, Any]) -> Section:
    """Say what it is worth to know the setting or a speaker's ordinary voice."""
    ways = {
        "setting": "With {clips} clips of each tested corpus as the setting: UAR",
        "enrolled": "With {clips} neutral clips of each test speaker as the baseline: UAR",
        "setting_enrolled": "With both: UAR",
    }
    title, text = "With setting or speaker known", []
    for name, way in ways.items():
        if told := found.get(name):
            sentences = [f"{way.format(**told)} {_headline(told)}."]
            if (error := told.get("calibration", {}).get("ece_tempered")) is not None:
                sentences.append(f"Expected calibration error {percent(error)} %.")
            text.append(" ".join(sentences))
    each = {name: found.get(name, {}).get("corpora", {}) for name in ways}
    corpora = dict.fromkeys(corpus for one in each.values() for corpus in one)
    groups = {corpus: {name: one[corpus]["uar"] for name, one in each.items() if corpus in one} for corpus in corpora}
    columns = {"setting": "UAR, setting known", "enrolled": "speaker known", "setting_enrolled": "both"}
    table = _table(title, "corpus", groups, columns)
    several = len(groups) > 1
    return Section(title, tuple(text), table.head if several else (), table.rows if several else ())


def _promised(found: Mapping[str, Any]) -> Section:
    """Say how the model does on corpora that it never heard, if these calibrate it."""
    promise = found.get("promise", {})
    kinds = {"nothing": promise, "setting": promise.get("setting"), "both": promise.get("setting_enrolled")}
    rows = [(name, told, told["selective"]) for name, told in kinds.items() if told]
    note = promise.get("protocol", {}).get("note", "")
    return Section(
        "Calibrated on corpora that the model never heard",
        _given(f"Temperature and threshold of the model come from these answers. {note}" if promise else ""),
        head=("known", "UAR", "ECE", "threshold", "answered", "of these right") if rows else (),
        rows=tuple(
            (
                name,
                percent(told["uar"]),
                percent(told["calibration"]["ece_tempered"]),
                "none" if sure["threshold"] is None else f"{sure['threshold']:.2f}",
                percent((sure["cross_fitted"] or sure)["coverage"]),
                percent((sure["cross_fitted"] or sure)["accuracy"]),
            )
            for name, told, sure in rows
        ),
    )


def _dimensions(found: Mapping[str, Any]) -> Section:
    """Tabulate how good emotion dimensions are: CCC and, between two extremes, the area under the ROC curve."""

    def ranged(scores: Mapping[str, Any], key: str, interval: str) -> str:
        low_high = scores.get(interval)
        span = f" ({low_high[0]:.3f} to {low_high[1]:.3f})" if low_high else ""
        return "" if scores.get(key) is None else f"{scores[key]:.3f}{span}"

    scored = found.get("dimensions", {})
    return Section(
        "Emotion dimensions",
        head=("dimension", "clips", "CCC (95 % by speaker)", "AUC (95 % by speaker)"),
        rows=tuple(
            (name, str(one["n"]), ranged(one, "ccc", "interval"), ranged(one, "auc", "auc_interval"))
            for name, one in scored.items()
            if isinstance(one, Mapping) and "n" in one  # beside them stand the folds, the corpora and the settings
        ),
    )


def _cost(found: Mapping[str, Any]) -> Section:
    """Say how large and how fast the model is."""
    told = found.get("cost", {})
    return Section("Size and speed", rows=tuple((name, write(told[key])) for key, name, write in COSTS if key in told))
