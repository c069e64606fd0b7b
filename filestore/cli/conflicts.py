"""The commands for what a merge left in conflict: ``conflicts``, ``resolve``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from filestore.cli import screen
from filestore.cli.exits import Exit, Refused
from filestore.cli.target import examples, json_option, quiet_option, root_of, store_option
from filestore.cli.values import compact, pair
from filestore.errors import NotFound
from filestore.merge import ABSENT, Side

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from filestore.integrations.git.conflicts import Conflicted
    from filestore.merge import FieldConflict, Merged


@click.command()
@store_option
@json_option("JSON lines, one document a line")
@click.option("-q", "--quiet", is_flag=True, help="No output: the exit code tells.")
def conflicts(*, location: str | None, as_json: bool, quiet: bool) -> None:
    """List the documents that a merge left in conflict, by field.

    Also those that git left without marks, because one side deleted the document, or because
    no merge driver was there.  Exit 3 if there are any.
    """
    # Here and below: git's side brings the engine and subprocess, which most commands don't need.
    from filestore.integrations.git.conflicts import find_conflicts
    from filestore.integrations.git.repository import find

    found = find_conflicts(find(root_of(location)))
    for conflict in found:
        if as_json:
            screen.machine(conflict.to_json())
        elif not quiet:
            for line in _lines(conflict):
                screen.text(screen.visible(line))
    if not found:
        if not as_json:
            screen.note("No conflicts", quiet=quiet)
        return
    click.get_current_context().exit(Exit.CONFLICT)


def _lines(conflict: Conflicted) -> list[str]:
    if conflict.settled:
        return [f"{conflict.key}: settled, to be added: git add {conflict.path}"]
    if conflict.merged is None:
        return [f"{conflict.key}: {conflict.problem}"]
    if not conflict.merged.conflicts:
        return [f"{conflict.key}: no field is in conflict: filestore resolve {conflict.key}"]
    lines = [str(conflict.key)]
    for found in conflict.merged.conflicts:
        lines.append(f"  {found.field or 'the whole document'}")
        for side in Side:
            value = found.choice.of(side)
            shown = "(absent)" if value is ABSENT else compact(value)
            lines.append(f"    {side.value:<6}  {shown}")
    return lines


@click.command(
    epilog=examples(
        "resolve volumes/3f2a --theirs",
        "resolve volumes/3f2a size=ours metadata.team='\"billing\"' --add",
    )
)
@click.argument("name", metavar="COLLECTION/ID")
@click.argument("settled", metavar="[FIELD=CHOICE]...", nargs=-1)
@store_option
@click.option("--ours", "side", flag_value="ours", help="Ours for every field not named.")
@click.option("--theirs", "side", flag_value="theirs", help="Theirs for every field not named.")
@click.option("--base", "side", flag_value="base", help="The base for every field not named.")
@click.option("--remove", metavar="FIELD", multiple=True, help="Leave this field out.")
@click.option("--add", "adds", is_flag=True, help="And `git add` the document once it is settled.")
@quiet_option
def resolve(
    *,
    name: str,
    settled: tuple[str, ...],
    location: str | None,
    side: str | None,
    remove: tuple[str, ...],
    adds: bool,
    quiet: bool,
) -> None:
    """Settle a document in conflict, all of it or some fields.

    CHOICE is ours, theirs, base or a value: JSON, or plain text.  Fields that
    nothing is said about stay in conflict.  In a rebase, ours is what the commits
    are put upon and theirs the commit that is put there, as everywhere in git.
    """
    from filestore.integrations.git import conflicts as handling
    from filestore.integrations.git.repository import find

    repository = find(root_of(location))
    found = handling.find_conflicts(repository)
    conflict = next((each for each in found if str(each.key) == name), None)
    if conflict is None:
        raise NotFound(f"{name} is not in conflict: see filestore conflicts")
    if conflict.merged is None and not conflict.settled:
        raise Refused(f"{name}: {conflict.problem}")
    left: Sequence[FieldConflict] = ()
    if conflict.merged is not None:
        choices = _choices(conflict.merged, settled, remove)

        def choose(field: FieldConflict) -> Any:
            if field.path in choices:
                return choices[field.path]
            return field.choice if side is None else Side(side)

        left = handling.settle(repository, conflict, choose).conflicts
    if left:
        fields = ", ".join(field.field or "the whole document" for field in left)
        screen.note(f"{name} is still in conflict: {fields}", quiet=quiet)
        click.get_current_context().exit(Exit.CONFLICT)
    if adds:
        handling.add(repository, [conflict.path])
    hint = "" if adds or not conflict.unmerged else f"; next: git add {conflict.path}"
    screen.note(f"{name} is settled{hint}", quiet=quiet)


def _choices(
    merged: Merged, settled: Sequence[str], remove: Sequence[str]
) -> dict[tuple[str | int, ...], Any]:
    fields = {found.field: found for found in merged.conflicts}
    choices: dict[tuple[str | int, ...], Any] = {}
    for argument in settled:
        # A field's own name may have a = in it: the longest that fits is meant.
        names = [field for field in fields if argument.startswith(f"{field}=")]
        if not names:
            raise click.UsageError(_unknown(pair(argument)[0], fields))
        field = max(names, key=len)
        text = argument[len(field) + 1 :]
        value = Side(text) if text in tuple(Side) else pair(f"value={text}")[1]
        if isinstance(value, str) and not isinstance(value, Side) and not text.startswith('"'):
            _refuse_a_slip(fields[field], text)
        if not field and not isinstance(value, Side):
            raise click.UsageError("a whole document is settled with --ours, --theirs or --base")
        _choose(choices, fields[field], value)
    for field in remove:
        if field not in fields:
            raise click.UsageError(_unknown(field, fields))
        _choose(choices, fields[field], ABSENT)
    return choices


def _refuse_a_slip(found: FieldConflict, text: str) -> None:
    """A side that was misspelt would become the value: a text where no side has one."""
    if not any(isinstance(found.choice.of(side), str) for side in Side):
        raise click.UsageError(
            f"'{text}' is neither ours, theirs nor base, and no side has a text for"
            f" '{found.field}': if the text is meant, write {found.field}='\"{text}\"'"
        )


def _choose(choices: dict[tuple[str | int, ...], Any], found: FieldConflict, value: Any) -> None:
    if found.path in choices:
        raise click.UsageError(f"the field '{found.field}' is given twice")
    choices[found.path] = value


def _unknown(field: str, fields: Iterable[str]) -> str:
    names = ", ".join(name or "the whole document" for name in fields) or "none"
    return f"the field '{field}' is not in conflict; these are: {names}"
