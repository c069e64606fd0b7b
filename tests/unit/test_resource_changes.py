"""What a set writes, as pure functions."""

from hypothesis import given
from hypothesis import strategies as st

from filestore.patch import merge_patch
from filestore.resources.changes import merged, merged_map, patch_of

names = st.sampled_from(["status", "size", "metadata", "admin_metadata", "host"])
scalars = st.one_of(st.none(), st.integers(0, 3), st.sampled_from("abc"))
maps = st.dictionaries(st.sampled_from("pqrs"), st.sampled_from("123"), max_size=3)
MAPS = ("metadata", "admin_metadata")


@st.composite
def sets(draw):
    """Documents, fields and changes as a set may meet them."""

    def values(of_map):
        return {
            name: draw(of_map if name in MAPS else scalars)
            for name in ("status", "size", "host", *MAPS)
        }

    fields = values(maps)
    current = {name: value for name, value in values(maps).items() if value is not None}
    current["note"] = "by hand"
    inside = {name: draw(maps) for name in draw(st.sets(st.sampled_from(MAPS)))}
    assigned = draw(st.sets(names)) - inside.keys()
    return current, fields, assigned, inside


@given(sets())
def test_a_patch_does_what_merging_does(case):
    current, fields, assigned, inside = case
    patch = patch_of(fields, assigned, inside)
    if patch is not None:
        expected = merged(current, fields, assigned, inside)
        assert merge_patch(current, patch) == expected


@given(sets())
def test_only_what_changed_is_written(case):
    current, fields, assigned, inside = case
    result = merged(current, fields, assigned, inside)
    assert result["note"] == "by hand"
    if assigned or inside:
        for name in current.keys() - assigned - inside.keys():
            assert result[name] == current[name]
        for name in assigned:
            assert result.get(name) == fields[name]
    else:
        for name, value in fields.items():
            assert result.get(name) == value


@given(sets())
def test_null_is_never_written(case):
    assert None not in merged(*case).values()
    assert None not in merged(None, *case[1:]).values()


@given(before=maps, mine=maps, theirs=maps)
def test_maps_take_my_changes_and_keep_theirs(before, mine, theirs):
    result = merged_map(theirs, before, mine)
    for key in {*before, *mine, *theirs}:
        changed_by_me = before.get(key) != mine.get(key)
        assert result.get(key) == (mine if changed_by_me else theirs).get(key)


@given(before=maps, mine=maps)
def test_maps_that_nobody_else_changed_become_mine(before, mine):
    assert merged_map(before, before, mine) == mine
