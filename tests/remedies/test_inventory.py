"""Every message that says what to type has a test that types it."""

import pytest
from remedies import does_something_after, message, messages, messages_of, remedy, runs, runs_of

# part of the message → why no test runs it here
NOT_RUN: dict[str, str] = {}

CODE = '''
"""Pass this, it is a docstring."""
def f(n):
    if n:
        raise ValueError(f"n = {n} is wrong: {remedy}")
    parser.add_argument("--n", help="pass a number")
    raise ValueError(WORDS if n else "nothing to see there, is there")
WORDS = "the number is wrong: pass another one"
'''


@pytest.mark.parametrize(
    "text",
    [
        "n is wrong. Pass another", "n is wrong: pass another", "n is wrong: leave it out, or pass another", "first call fit on it",
        "n is wrong: memory_map(model, X)", "one column is text: encode it first", "it is wrong: m.filter(mask) or nothing",
        "wrong rows (--drop them); or use others", "no kind of that name: @posterior.register(Kind)", "a jump: then train again",
    ],
)  # fmt: skip
def test_what_names_a_remedy(text):
    (found,) = messages_of(repr(text) if False else f"x = {text!r}")
    assert found.names_remedy


@pytest.mark.parametrize(
    "text",
    [
        "the fit passes here",
        "no map without use",
        "rows = 3: expected a positive number",
        "example(s) were refitted there",
    ],
)
def test_what_names_none(text):
    (found,) = messages_of(f"x = {text!r}")
    assert not found.names_remedy


def test_messages_are_found_wherever_they_are_written():
    found = [m.text for m in messages_of(CODE)]
    assert found == [
        "n = \0 is wrong: \0",
        "nothing to see there, is there",
        "the number is wrong: pass another one",
    ] or sorted(found) == sorted(
        ["n = \0 is wrong: \0", "nothing to see there, is there", "the number is wrong: pass another one"]
    )
    assert [m.text for m in messages_of(CODE) if m.names_remedy] == ["the number is wrong: pass another one"]


def test_a_run_is_found_only_where_it_does_something():
    code = '@remedy("part", at="a.py")\ndef test_it(said):\n    with said:\n        f()\n'
    (run,) = runs_of(code)
    assert (run.part, run.at) == ("part", "a.py")
    assert not does_something_after(run.function)
    (run,) = runs_of(code + "    assert g() == 2\n")
    assert does_something_after(run.function)


@pytest.mark.parametrize("run", runs(), ids=lambda run: run.part)
def test_each_run_names_one_message_and_does_what_it_says(run):
    message(run.part, run.at)
    assert does_something_after(run.function), f"{run.path}: {run.function.name}"
    assert any(argument.arg == "said" for argument in run.function.args.args)


def test_every_remedy_is_run():
    known = {message(run.part, run.at) for run in runs()} | {message(*key) for key in NOT_RUN}
    missing = [m for m in messages() if m.names_remedy and m not in known]
    lines = "\n".join(f"{m.path}:{m.line}: {m.text!r}" for m in missing)
    assert not missing, f"{len(missing)} messages say what to type, and no test marked @remedy does it:\n{lines}"
