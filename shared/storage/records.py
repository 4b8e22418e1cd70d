"""Records: dataclasses that are stored as documents. The annotation of a field says in what form.

A service's code has datetimes everywhere. `TextTime` and `DateTime` are datetimes that differ only
in how they are stored: as the index on them needs it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, ClassVar, Self, get_args, get_type_hints

from shared.storage.mongo import Document
from shared.times import from_text, to_text


@dataclass(frozen=True)
class Stored:
    """How a field is stored: under another name, or in another form. None stays None."""

    name: str = ""
    dump: Callable[[Any], Any] | None = None
    load: Callable[[Any], Any] | None = None


#: compared as text, which works the same in every database
TextTime = Annotated[datetime, Stored(dump=to_text, load=from_text)]
#: MongoDB's own date, the only form that a TTL index understands
DateTime = Annotated[datetime, Stored()]


class Record:
    """Base of what a service stores. A field `id` without a `Stored` name is the document's ID."""

    __slots__ = ()
    _forms: ClassVar[Mapping[str, Stored]]  # how each field is stored, by its name

    def __init_subclass__(cls) -> None:
        hints = get_type_hints(cls, include_extras=True)
        cls._forms = {name: _form(name, hint) for name, hint in hints.items() if name != "_forms"}

    @property
    def key(self) -> str:
        """The ID of its document."""
        id_: str = self.id  # type: ignore[attr-defined] # records without an `id` override this
        return id_

    def document(self) -> Document:
        """The document of a new record, without the fields that are not set yet."""
        values = {name: getattr(self, name) for name in self._forms}
        kept = {name: value for name, value in values.items() if value is not None}
        return {"_id": self.key, **self.stored(**kept)}

    @classmethod
    def stored(cls, **values: Any) -> Document:
        """These fields as they are stored, to change or to compare them."""
        found: Document = {}
        for name, value in values.items():
            form = cls._forms[name]
            found[form.name] = form.dump(value) if form.dump and value is not None else value
        return found

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """The record of a document; fields that this version does not know are left out."""
        values = {}
        for name, form in cls._forms.items():
            if form.name in document:
                value = document[form.name]
                values[name] = form.load(value) if form.load and value is not None else value
        return cls(**values)

    @classmethod
    def read_all(cls, documents: Iterable[Mapping[str, Any]]) -> list[Self]:
        return [cls.read(document) for document in documents]

    @classmethod
    def found(cls, document: Mapping[str, Any] | None) -> Self | None:
        """The record of a document that was looked for; None if there is none."""
        return None if document is None else cls.read(document)


def _form(name: str, hint: Any) -> Stored:
    # of `Annotated[X, Stored()]`, also inside `Annotated[X, Stored()] | None`
    extras = [x for part in (hint, *get_args(hint)) for x in getattr(part, "__metadata__", ())]
    form = next((x for x in extras if isinstance(x, Stored)), Stored())
    return replace(form, name=form.name or ("_id" if name == "id" else name))
