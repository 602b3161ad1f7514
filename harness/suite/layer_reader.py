"""Reads the lists, settings and filters of a suite file, or of one of its profiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import create_model

from harness.datasets.base import Dataset, datasets
from harness.errors import DataError
from harness.registry import KINDS, nearest, others
from harness.spec import Frozen, Settings
from harness.store.records import NONE
from harness.suite.layers import (
    SETTINGS,
    Baseline,
    CellFilter,
    Combination,
    Contrast,
    Entry,
    Inclusion,
    Layer,
    Rule,
    planned_part,
)
from harness.suite.reader import Reader, is_name, refuse_name, show
from harness.suite.strict_yaml import Place, place_text, shorten

LAYER_KEYS = (
    "seeds",
    "datasets",
    "variants",
    "tricks",
    "settings",
    "overrides",
    "exclude",
    "include",
    "baseline",
    "margin",
    "contrasts",
)
SEED_LIMIT = 2**31

GivenSettings: type[Frozen] = create_model(  # type: ignore[call-overload]
    "GivenSettings",
    __base__=Frozen,
    **{name: (info.rebuild_annotation(), None) for name, info in Settings.model_fields.items()},
)
"""The fields of :class:`Settings`, none of them required."""

E = TypeVar("E", bound=Entry[Any] | Combination)


class LayerReader:
    """Reads the layers of one file; what is wrong goes to the reader, and the rest is read.

    Attributes:
        names: What filters may call each kind of thing, from all layers read so far.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.names: dict[str, set[str]] = {"dataset": set(), "variant": set(), "trick": {NONE}}

    def layer(self, entries: Mapping[str, Any], place: Place) -> Layer:
        """Read those keys of a layer that are there.

        Args:
            entries: Value by key.
            place: Of the mapping that has the keys.
        """

        def at(key: str) -> tuple[Any, Place]:
            return entries[key], (*place, key)

        rules: list[Rule] = []
        if "settings" in entries:
            rules.append(
                Rule(CellFilter(place), self._settings(*at("settings")), at("settings")[1])
            )
        if "overrides" in entries:
            rules += [self._override(*item) for item in self.reader.items(*at("overrides"))]
        return Layer(
            datasets=self._entries("dataset", *at("datasets")) if "datasets" in entries else None,
            variants=self._entries("variant", *at("variants")) if "variants" in entries else None,
            tricks=self._combinations(*at("tricks")) if "tricks" in entries else None,
            seeds=self._seeds(*at("seeds")) if "seeds" in entries else None,
            rules=tuple(rules),
            exclude=tuple(
                self._filter(*item)
                for item in (self.reader.items(*at("exclude")) if "exclude" in entries else ())
            ),
            include=tuple(
                self._inclusion(*item)
                for item in (self.reader.items(*at("include")) if "include" in entries else ())
            ),
            baseline=self._baseline(*at("baseline")) if "baseline" in entries else None,
            margin=self._margin(*at("margin")) if "margin" in entries else None,
            contrasts=self._contrasts(*at("contrasts")) if "contrasts" in entries else None,
        )

    def check_names(self, layers: Iterable[Layer]) -> None:
        """Check that filters name what the suite has, in its own lists or in a profile's."""
        for layer in layers:
            for cell_filter in (*(rule.when for rule in layer.rules), *layer.exclude):
                for kind, known in self.names.items():
                    for i, name in enumerate(getattr(cell_filter, kind) or ()):
                        if name not in known:
                            self.reader.problem(
                                self._item_place((*cell_filter.place, kind), i),
                                f"no {kind} of this suite is called {shorten(name)}"
                                f"{nearest(name[:64], sorted(known))}",
                            )

    def _item_place(self, place: Place, i: int) -> Place:
        item = (*place, i)
        return item if item in self.reader.document.lines else place

    def _alternatives(self, value: Any, place: Place) -> list[tuple[Any, Place]]:
        """Return a list's items, or a single value as if it were a list of one."""
        return self.reader.items(value, place) if isinstance(value, list) else [(value, place)]

    def _entries(self, kind: str, value: Any, place: Place) -> tuple[Entry[Any], ...]:
        read = [self._entry(kind, *item) for item in self._alternatives(value, place)]
        return self._distinct(entry for entry in read if entry is not None)

    def _combinations(self, value: Any, place: Place) -> tuple[Combination, ...]:
        read = [self._combination(*item) for item in self._alternatives(value, place)]
        return self._distinct(combination for combination in read if combination is not None)

    def _distinct(self, entries: Iterable[E]) -> tuple[E, ...]:
        distinct: dict[str, E] = {}
        for entry in entries:
            first = distinct.setdefault(entry.key, entry)
            if first is not entry:
                line = self.reader.document.line(first.place)
                self.reader.problem(
                    entry.place,
                    f"{entry.label} is there twice: it equals {place_text(first.place)} "
                    f"in line {line}",
                )
        return tuple(distinct.values())

    def _entry(self, kind: str, value: Any, place: Place) -> Entry[Any] | None:
        """Read an id, or a mapping of an id and options."""
        options = dict(value) if isinstance(value, dict) else {"id": value}
        where = (*place, "id") if isinstance(value, dict) and "id" in value else place
        if not isinstance(value, str | dict) or "id" not in options:
            what = "a mapping without id" if isinstance(value, dict) else show(value)
            self.reader.problem(place, f"must be an id, or {{id: …, option: value}}, not {what}")
            return None
        name = options.pop("id")
        registry = KINDS[kind].registry
        known = [*registry.names(), NONE] if kind == "trick" else registry.names()
        if kind == "dataset" and isinstance(name, str) and ":" in name:
            split = self._split_place(name, options, where)
            if split is None:
                return None
            name, options = split
        if not is_name(name):
            self.reader.problem(where, refuse_name(name, known))
            return None
        self.names[kind].add(name)
        if name == NONE:
            self.reader.problem(where, "none stands alone, without options or other tricks")
            return None
        if name not in known:
            hint = nearest(name, known)
            self.reader.problem(where, f"unknown {kind} {name!r}{hint}; {others(kind)}")
            return None
        cls, bare, written = registry.get(name), not options, name
        if issubclass(cls, Dataset):
            places = [
                key for key in cls.places() if isinstance(options.get(key), str) and options[key]
            ]
            written = ":".join((name, *(options[key] for key in places)))
            options = {**options, **{key: self._absolute(options[key]) for key in places}}
        part = self.reader.model(cls, options, place, f"option of {name}")
        if part is None or not self._is_there(part, place):
            return None
        entry = Entry(name, part, planned_part(written, part), bare, place)
        self.names[kind].add(entry.label)
        return entry

    def _split_place(
        self, text: str, options: dict[str, Any], where: Place
    ) -> tuple[str, dict[str, Any]] | None:
        """Read ``id:PATH``, short for the id with the one option that says where files lie."""
        name, _, path = text.partition(":")
        if name not in datasets.names():
            return name, options
        places = datasets.get(name).places()
        if len(places) != 1:
            self.reader.problem(where, f"{name} has no files of its own: nothing follows its id")
        elif not path:
            self.reader.problem(where, f"a path must follow, as in {name}:photos")
        elif places[0] in options:
            self.reader.problem(where, f"{name} has two paths: after its id and as {places[0]}")
        else:
            return name, {**options, places[0]: path}
        return None

    def _absolute(self, path: str) -> str:
        """Complete a path, which begins at the folder of the suite file."""
        return str((Path(self.reader.source).parent / Path(path).expanduser()).resolve())

    def _is_there(self, part: Any, place: Place) -> bool:
        """Check that files which a suite names can be read; their content names the runs."""
        if isinstance(part, Dataset) and part.places():
            try:
                part.fingerprint()
            except DataError as error:
                self.reader.problem(place, str(error))
                return False
        return True

    def _combination(self, value: Any, place: Place) -> Combination | None:
        """Read ``none``, a trick, or a list of tricks."""
        if value == NONE:
            return Combination((), place)
        items = self._alternatives(value, place)
        changes = [item for item in items if changes_settings(item[0])]
        read = [self._entry("trick", *item) for item in items if item not in changes]
        entries = tuple(entry for entry in read if entry is not None)
        if len(entries) < len(read):
            return None
        for _, where in changes[1:]:
            self.reader.problem(where, "the combination has settings twice")
        settings: dict[str, Any] = {}
        for change, where in changes[:1]:
            settings = self._settings({k: v for k, v in change.items() if k != "id"}, where)
            if len(change) == 1:
                self.reader.problem(where, "must change a setting: {id: settings, lr_g: 1e-3}")
        if len(changes) > 1 or not (entries or settings):
            return None
        ids = [entry.id for entry in entries]
        twice = [entry for i, entry in enumerate(entries) if entry.id in ids[:i]]
        for entry in twice:
            self.reader.problem(entry.place, f"the combination has {entry.id} twice")
        if twice:
            return None
        combination = Combination(entries, place, settings)
        self.names["trick"] |= combination.names
        return combination

    def _seeds(self, value: Any, place: Place) -> Sequence[int]:
        """Read a number of seeds, from 0 on, or a list of seeds."""
        if not isinstance(value, list):
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= SEED_LIMIT:
                return range(value)
            self.reader.problem(
                place, f"must be a whole number from 1, or a list of seeds, not {show(value)}"
            )
            return ()
        seeds: dict[int, None] = {}
        for seed, where in self.reader.items(value, place):
            if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEED_LIMIT:
                self.reader.problem(
                    where, f"a seed is a whole number from 0 to {SEED_LIMIT - 1}, not {show(seed)}"
                )
            elif seed in seeds:
                self.reader.problem(where, f"seed {seed} is there twice")
            else:
                seeds[seed] = None
        return tuple(seeds)

    def _settings(self, value: Any, place: Place) -> dict[str, Any]:
        entries = self.reader.mapping(value, place)
        settings = self.reader.model(GivenSettings, entries, place, "setting")
        return settings.model_dump(exclude_unset=True) if settings is not None else {}

    def _override(self, value: Any, place: Place) -> Rule:
        keys = ("when", "settings")
        entries = self.reader.fields(value, place, keys, required=keys)
        where = (*place, "settings")
        when = self._filter(entries["when"], (*place, "when")) if "when" in entries else None
        settings = self._settings(entries["settings"], where) if "settings" in entries else {}
        return Rule(when or CellFilter(place), settings, where)

    def _filter(self, value: Any, place: Place) -> CellFilter:
        """Read a mapping of dataset, variant and trick to a name or a list of names."""
        entries = self._sides(value, place)
        alternatives: dict[str, tuple[str, ...]] = {}
        for kind, names in entries.items():
            read = [
                self.reader.text(name, where)
                for name, where in self._alternatives(names, (*place, kind))
            ]
            alternatives[kind] = tuple(name for name in read if name is not None)
        return CellFilter(place, **alternatives)

    def _sides(self, value: Any, place: Place) -> dict[str, Any]:
        entries = self.reader.fields(value, place, tuple(self.names))
        if value == {}:
            self.reader.problem(place, "must name a dataset, variant or trick")
        return entries

    def _baseline(self, value: Any, place: Place) -> Baseline | None:
        """Read one variant and one combination of tricks, as entries."""
        keys = ("variant", "trick")
        entries = self.reader.fields(value, place, keys, required=keys)
        if len(entries) < len(keys):
            return None
        variant = self._entry("variant", entries["variant"], (*place, "variant"))
        tricks = self._combination(entries["trick"], (*place, "trick"))
        return Baseline(variant, tricks, place) if variant and tricks else None

    def _margin(self, value: Any, place: Place) -> float | None:
        """Read the ratio within which a change is negligible."""
        if isinstance(value, int | float) and not isinstance(value, bool) and 1 < value <= 100:
            return float(value)
        self.reader.problem(
            place, f"must be a ratio above 1 and up to 100, such as 1.25, not {show(value)}"
        )
        return None

    def _contrasts(self, value: Any, place: Place) -> tuple[Contrast, ...]:
        """Read pairs of labels of tricks; an empty list takes away what lies below."""
        contrasts = []
        for pair, where in self.reader.items(value, place) if value != [] else []:
            if (
                isinstance(pair, list)
                and len(pair) == 2
                and all(isinstance(name, str) for name in pair)
            ):
                contrasts.append(Contrast((pair[0], pair[1]), where))
            else:
                self.reader.problem(
                    where,
                    "must be two tricks as reports call them, such as [update-ratio(d=2), none]; "
                    "put a label with a comma in quotes",
                )
        return tuple(contrasts)

    def _inclusion(self, value: Any, place: Place) -> Inclusion:
        """Read a small product: entries as in the suite's lists, one or a list of each kind."""
        entries = self._sides(value, place)

        def at(kind: str) -> tuple[Any, Place]:
            return entries[kind], (*place, kind)

        return Inclusion(
            self._entries("dataset", *at("dataset")) if "dataset" in entries else None,
            self._entries("variant", *at("variant")) if "variant" in entries else None,
            self._combinations(*at("trick")) if "trick" in entries else None,
            place,
        )


def changes_settings(value: Any) -> bool:
    """Say whether an entry stands for other settings in the place of a trick."""
    return isinstance(value, dict) and value.get("id") == SETTINGS
