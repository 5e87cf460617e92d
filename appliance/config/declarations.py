"""The declarations of the settings as data: what messages and documentation say about each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from appliance.config.declare import Section
from appliance.config.settings import Settings
from appliance.config.toml import format_key, format_value


@dataclass(frozen=True)
class Declaration:
    """A setting, a table, or an item of a list, as JSON Schema (2020-12) that pydantic made from the types.

    Attributes:
        schema: Its own schema, references followed, with the words that `setting` was given.
        is_required: The file must say it.
    """

    schema: Mapping[str, Any]
    is_required: bool
    _definitions: Mapping[str, Any]

    @classmethod
    def of_all_settings(cls) -> Self:
        """Give the declaration of the whole file."""
        return cls.of_type(Settings)

    @classmethod
    def of_type(cls, table: type[Section]) -> Self:
        """Give the declaration of one table's type by itself."""
        schema = table.model_json_schema()
        return cls(schema, is_required=True, _definitions=schema.get("$defs", {}))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Give what `kind` may be, sorted, where a table has several forms; otherwise nothing."""
        return tuple(sorted(self.schema.get("discriminator", {}).get("mapping", ())))

    @property
    def unit(self) -> str:
        """Give the unit of a number, or nothing."""
        return str(self.schema.get("unit", ""))

    @property
    def description(self) -> str:
        """Give the one line that says what it is."""
        return str(self.schema.get("description", "")).partition("\n")[0]

    @property
    def is_table(self) -> bool:
        """It has settings of its own that are written below a heading."""
        return "properties" in self.schema and "accepts" not in self.schema

    @property
    def is_named_tables(self) -> bool:
        """It is a table of tables, each with a name that the owner gives."""
        return isinstance(self.schema.get("additionalProperties"), Mapping)

    def form(self, kind: str) -> Self:
        """Give the form that a table takes for `kind`, one of `kinds`."""
        return self._follow({"$ref": self.schema["discriminator"]["mapping"][kind]}, is_required=True)

    def named(self) -> Self:
        """Give what stands below each name of a table of tables."""
        return self._follow(self.schema["additionalProperties"], is_required=True)

    def settings(self) -> Iterator[tuple[str, Self]]:
        """Give the keys of a table with their declarations, in the order of the types."""
        required = self.schema.get("required", ())
        for key, schema in self.schema.get("properties", {}).items():
            yield key, self._follow(schema, is_required=key in required)

    def default(self) -> Any:
        """Give the default as JSON types; None: there is none, or it is none."""
        return self.schema.get("default")

    def example(self) -> Any:
        """Give a value for a setting that has no default, as JSON types."""
        return self.schema["example"] if "example" in self.schema else self.schema["const"]

    def child(self, step: str | int) -> "Declaration | None":
        """Give what stands below a key or at a place in a list; None where nothing is declared."""
        if isinstance(step, int):
            places: Sequence[Any] = self.schema.get("prefixItems", ())
            schema = places[step] if step < len(places) else self.schema.get("items")
            return self._follow(schema, is_required=True) if schema else None
        if self.is_named_tables:
            return self.named()
        return dict(self.settings()).get(step)

    def accepted(self) -> str:
        """Say what is accepted: ``a whole number from 1 to 64``, ``one of tcp, udp``."""
        schema = self.schema
        if "accepts" in schema:
            return str(schema["accepts"])
        if "enum" in schema or "const" in schema:
            choices = schema.get("enum", [schema.get("const")])
            return ("one of " if len(choices) > 1 else "") + ", ".join(format_value(choice) for choice in choices)
        forms: dict[str, Callable[[], str]] = {
            "boolean": lambda: "true or false",
            "integer": lambda: self._numeral("a whole number"),
            "number": lambda: self._numeral("a number"),
            "string": self._text,
            "array": self._list,
        }
        return forms.get(str(schema.get("type")), self._table)()

    def _table(self) -> str:
        most = self.schema.get("maxProperties")
        return f"up to {most} tables, each with a name of its own" if self.is_named_tables and most else "a table"

    def _numeral(self, kind: str) -> str:
        return " ".join(filter(None, [kind, *self._range(), self.unit]))

    def _range(self) -> Iterator[str]:
        least, most = self.schema.get("minimum"), self.schema.get("maximum")
        if "exclusiveMinimum" in self.schema:
            yield f"above {_number(self.schema['exclusiveMinimum'])}"
            least = None
            if most is not None:
                yield f"and up to {_number(most)}"
        elif least is not None and most is not None:
            yield f"from {_number(least)} to {_number(most)}"
        elif least is not None:
            yield f"from {_number(least)}"
        if "multipleOf" in self.schema:
            yield f"in steps of {_number(self.schema['multipleOf'])}"

    def _text(self) -> str:
        if self.schema.get("format") == "path":
            return "a path in quotes"
        least, most = self.schema.get("minLength"), self.schema.get("maxLength")
        if most is None:
            return "text in quotes"
        return f"text of {least or 0} to {most} characters in quotes"

    def _list(self) -> str:
        item = self.child(0)
        words = "paths" if item and item.schema.get("format") == "path" else "texts in quotes"
        return (
            f"a list of up to {self.schema['maxItems']} {words}" if "maxItems" in self.schema else f"a list of {words}"
        )

    def _follow(self, schema: Mapping[str, Any], *, is_required: bool) -> Self:
        """Resolve references and optional forms; what the place itself says wins over what the type says."""
        merged = dict(schema)
        while True:
            if "$ref" in merged:
                target = self._definitions[merged.pop("$ref").rpartition("/")[2]]
                merged = {**target, **merged}
            elif "anyOf" in merged:
                [form, *_] = [form for form in merged.pop("anyOf") if form.get("type") != "null"]
                merged = {**form, **merged}
            else:
                return type(self)(merged, is_required, self._definitions)


def locate(root: Declaration, steps: Sequence[str | int]) -> tuple[str, Declaration | None, Declaration | None]:
    """Follow where pydantic found an error.

    Args:
        root: The declaration of the whole file.
        steps: pydantic's ``loc``; for a table of several forms it names the form as a step of its own.

    Returns:
        The key path as the file would write it (``cameras.door.zones."In door".points[2]``), the declaration there
        (None: nothing is declared by that name), and the declaration of the table around it.
    """
    path = ""
    at: Declaration | None = root
    around: Declaration | None = None
    for step in steps:
        if step == "[key]":
            break
        if at is not None and step in at.kinds:
            at = at.form(str(step))
            continue
        around, at = at, at.child(step) if at is not None else None
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += ("." if path else "") + format_key(step)
    return path, at, around


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)
