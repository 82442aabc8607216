"""What the processes of a group do in the tests."""

import maps_of_many_kinds as kinds


def numbers(m):
    """A map as what the processes of a group and one process have to agree on."""
    p = m.provenance
    return {name: m[name] for name in m.table.column_names}, p.fingerprint, p.inputs, p.description


def draw(folder, rank, names=""):
    """Maps of many kinds; an error of one kind does not end the others."""
    found = {}
    for name in names.split(";") if names else kinds.MAPS:
        found[name] = numbers(kinds.draw_all([name])[name])
    return found
