"""Every message that says what to type has a test that types it."""

import pytest
from remedies import HOLE, goes_on, message, messages, messages_of, refusals, refusals_of, remedy, runs, runs_of

NOTHING = "a description: there is nothing to type"
LAPLACE_TORCH = "laplace-torch is not among the packages of the tests"

# (part of the message, beginning of its file's path) → why no test runs it
NOT_RUN = {
    ("are spread over processes (FSDP): gather them into a module of one process", "nets"): "needs several processes",
    (
        "is spread over processes (FSDP2) and cannot be copied",
        "nets",
    ): "needs several processes: tests/nets/distributed",
    ("pass the network inside, memory_map(net.module, …)", "nets"): "needs several processes: tests/nets/distributed",
    ("differ between processes: expected the same network in each", "nets"): (
        "needs several processes: tests/nets/distributed"
    ),
    ("has lost another one at", "nets"): "needs several processes: tests/nets/distributed",
    ("has to call memory_map with the same network", "nets"): "needs several processes: tests/nets/distributed",
    ("Pass the whole data set, without a part of it", "nets"): "needs several processes: tests/nets/distributed",
    (" has no parameter posterior: fit laplace.Laplace with another structure", "nets"): LAPLACE_TORCH,
    ("laplace-torch does not keep its training data", "nets"): LAPLACE_TORCH,
    ("the laplace-torch posterior is not fitted", "nets"): LAPLACE_TORCH,
    ("laplace-torch has no forward=", "nets"): LAPLACE_TORCH,
    ("Curvature is approximate: sizes by the first-order estimator", "nets/interop/laplace_torch.py"): LAPLACE_TORCH,
    ("report    …", "cli"): NOTHING,
    ("memory map, pass …", "data"): NOTHING,
    ("computed with the exact curvature (after `refine` only)", "maps"): NOTHING,
    ("measured by a refit (after `refit` only)", "maps"): NOTHING,
    ("predict_proba averages over the posterior.", "models"): NOTHING,
    ("'dual' would be exact and take minutes.", "nets"): NOTHING,
}

# why a refusal names neither a remedy nor what was expected → parts of such refusals
SAY_NO_MORE = {
    "a part of the message is another one, with the remedy": (
        "this needs the package …, which is not installed: …",
        "… = …: …",
        "…: not those of the fit: …",
        "(each) from the optimum on these data. Not those of the fit: …",
        "leaf values takes … GB, or … s: …",
        "… is written by …",
        "subset: …. Parameters: …, …",
        "retraining … failed: …: …",
        "process … of … has stopped, so that this one (process …) stops too. Its error: …",
    ),
    "what is missing is said, and what there is": (
        "module … has no attribute …",
        "the data has no rows",
        "… has no rows",
        "no file …",
        "… cannot be read as …: …",
        "… has no array …; it has …",
        "… has no column …; it has …",
        "no variable … in group …; it has …",
        "… id(s) are not in this map: …",
        "… id(s) are not in this map: ……",
        "the map has no examples: nothing to draw",
        "the map has no examples: nothing to explore",
        "no subject has an event: the baseline",
        "survival targets must be 0 (censored) or 1 (event)",
    ),
    "a damaged file": (
        "… has a damaged provenance: …",
        "… is damaged: …",
        "is not a readable Parquet file: …",
        "column … is of type … with … nulls",
        "… is …",
    ),
    "what is supported is said, or another package's to support": (
        "is not supported",
        "link … is not supported; supported: …",
        "with family … has no likelihood here",
        "… is not supported",
    ),
    "for authors of posteriors and likelihoods": (
        "has no number of parameters (Description.rank)",
        "its capabilities lack covariance_root",
        "its capabilities have neither covariance_root nor removal",
        "natural, prior and gradients of shapes",
        "natural parameters or gradients are not finite",
        "was not called in this batch but was in the first one",
        "inverse_trace of a Gram covariance",
        "unreachable: the last candidate was within tolerance",
        "no sheet …: this map has no pictures",
    ),
    "no other kernel is known to be wanted": ("the kernel is not positive semi-definite on the training data",),
}

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
        "n is wrong. Pass another", "n is wrong: pass another", "n is wrong: leave it out, or pass another",
        "n is wrong: memory_map(model, X)", "one column is text: encode it first",
        "it is wrong: m.filter(mask) or nothing",
        "wrong rows (--drop them); or use others", "no kind of that name: @posterior.register(Kind)",
        "use another one", "the rows are wrong; refit(m) first", "no such file. For others: mm.load(path)",
    ],
)  # fmt: skip
def test_what_names_a_remedy(text):
    (found,) = messages_of(f"x = {text!r}")
    assert found.names_remedy


@pytest.mark.parametrize(
    "text",
    [
        "the fit passes here",
        "no map without use",
        "rows = 3: expected a positive number",
        "leave-one-out losses of steps",
    ],
)
def test_what_names_none(text):
    (found,) = messages_of(f"x = {text!r}")
    assert not found.names_remedy


def test_messages_are_found_wherever_they_are_written():
    found = {m.text: m.names_remedy for m in messages_of(CODE)}
    assert found == {
        "n = \0 is wrong: \0": False,
        "nothing to see there, is there": False,
        "the number is wrong: pass another one": True,
    }


def test_a_run_is_one_only_where_it_goes_on_after_the_message():
    code = '@remedy("part", at="a.py")\ndef test_it(said):\n    with said:\n        f()\n'
    (run,) = runs_of(code)
    assert (run.part, run.at) == ("part", "a.py")
    assert not goes_on(run.function)
    (run,) = runs_of(code + "    assert g() == 2\n")
    assert goes_on(run.function)


def fault_of(run):
    """What is wrong with a `Run`; empty for nothing."""
    try:
        message(run.part, run.at)
    except LookupError as error:
        return str(error)
    if not {"said", "typed"} & {argument.arg for argument in run.function.args.args}:
        return "the fixture `said` is not used"
    return "" if goes_on(run.function) else "nothing is done after the message"


@pytest.mark.slow
def test_each_run_names_one_message_and_does_what_it_says():
    faults = [f"{run.path}: {run.function.name}: {fault_of(run)}" for run in runs() if fault_of(run)]
    assert not faults, "\n".join(faults)


def test_faults_of_runs_are_found():
    code = '@remedy("{part}")\ndef test_it({fixture}):\n    with said:\n        f()\n'
    wrong = {
        "0 messages contain": code.format(part="no such message at all", fixture="said") + "    g()\n",
        "not used": code.format(part="ids must be unique", fixture="") + "    g()\n",
        "nothing is done": code.format(part="ids must be unique", fixture="said"),
    }
    for words, each in wrong.items():
        (run,) = runs_of(each)
        assert words in fault_of(run)
    (run,) = runs_of(code.format(part="ids must be unique", fixture="said") + "    g()\n")
    assert fault_of(run) == ""


def test_every_remedy_is_run():
    known = {message(run.part, run.at) for run in runs()} | {message(*key) for key in NOT_RUN}
    missing = [m for m in messages() if m.names_remedy and m not in known]
    lines = "\n".join(f"{m.path}:{m.line}: {m.text!r}" for m in missing)
    assert not missing, f"{len(missing)} messages say what to type, and no test marked @remedy does it:\n{lines}"


def is_listed_as(part, refusal):
    """Short texts as a whole, others by a part."""
    texts = [text.replace(HOLE, "…") for text in refusal.texts]
    return part in texts if len(part) < 30 else any(part in text for text in texts)


def test_every_refusal_names_a_remedy_or_what_was_expected():
    parts = [part for group in SAY_NO_MORE.values() for part in group]
    said = {part: [r for r in refusals() if is_listed_as(part, r)] for part in parts}
    known = {r for found in said.values() for r in found}
    missing = [r for r in refusals() if not r.says_enough and r not in known]
    lines = "\n".join(f"{r.path}:{r.line}: {r.texts[0]!r}" for r in missing)
    assert not missing, f"{len(missing)} refusals name neither what to type nor what was expected:\n{lines}"
    assert [part for part, found in said.items() if all(r.says_enough for r in found)] == []


def test_texts_of_a_refusal_are_followed_into_constants():
    first, second = sorted(refusals_of(CODE), key=lambda refusal: refusal.line)
    assert not first.says_enough
    assert second.says_enough
    assert any("pass another one" in text for text in second.texts)


def test_no_exception_is_out_of_date():
    known = {message(run.part, run.at) for run in runs()}
    for part, at in NOT_RUN:
        found = message(part, at)
        assert found.names_remedy
        assert found not in known
    assert remedy("part").args == ("part", "")
