"""What a call costs by our table, compared with what LiteLLM's own function says of the same usage.

Equal means: ours is LiteLLM's amount, which is a sum of floats, rounded to the nano-dollar. They differ by half a
nano-dollar at most, and by a millionth of the amount for the floats.
"""

import collections
import datetime
import json
import os
import pathlib
import random
import re
import shlex
import socket
import subprocess
import tomllib

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # before the import: nothing is downloaded

import litellm
import pytest
from litellm import _internal_context
from litellm.cost_calculator import cost_per_token

import usages

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("OUTRIGGER_BIN", ROOT / "target/debug/outrigger")
PRICE = os.environ.get("PRICE_BIN", ROOT / "target/debug/examples/price")
TABLE = pathlib.Path(litellm.__file__).with_name("model_prices_and_context_window_backup.json")
OURS = ROOT / "config/prices.toml"
THEIRS = json.loads(TABLE.read_text())
# A Monday at two in the morning: no off-peak hours, which our table does not know.
_internal_context._billing_time.set(datetime.datetime(2026, 1, 5, 2, tzinfo=datetime.timezone.utc))
litellm.suppress_debug_info = True

LOGINS = ("chatgpt", "github_copilot")
TOKEN_RATES = ("input_cost_per_token", "output_cost_per_token", "input_cost_per_image_token", "output_cost_per_image_token",
               "input_cost_per_audio_token", "output_cost_per_audio_token")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Prices are facts of two files: whoever asks the network for one has gone wrong."""

    def refuse(*_):
        raise AssertionError("a price asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def by_tokens(entry):
    """Whether the table has a price of tokens for it, or says that they are free."""
    said = [entry[key] for key in TOKEN_RATES if entry.get(key) is not None]
    other = any("cost_per" in key and isinstance(entry[key], (int, float)) and entry[key] > 0 for key in entry)
    return bool(entry.get("tiered_pricing")) or any(float(rate) > 0 for rate in said) or (bool(said) and not other)


def apart(entry, service, kind, size):
    """Where LiteLLM's function goes past its own table: said and counted, and not compared."""
    provider = entry.get("litellm_provider", "")
    if entry.get("input_cost_per_request"):
        return "litellm's function does not charge what its table has for each request"
    if provider == "fireworks_ai" and service in ("flex", "priority"):
        return "litellm's function does not charge the classes of service that its table has for Fireworks"
    if provider == "perplexity":
        long = any(int(n) * 1000 < size for key in entry for n in re.findall(r"_above_(\d+)k_tokens", key))
        if kind not in ("plain", "reasoning") or long:
            return "litellm's function for Perplexity charges neither cache nor audio, images or long inputs by its table"
    if service == "batch" and kind == "overlap":
        return "litellm's function for batches charges twice what was heard and in the cache"
    return None


def provider(name, entry):
    """None where LiteLLM tells it by the name."""
    try:
        litellm.get_llm_provider(name)
        return None
    except litellm.BadRequestError:
        of = entry.get("litellm_provider", "")
        return "vertex_ai" if of.startswith("vertex_ai") else {"bedrock_converse": "bedrock"}.get(of, of)


def resolved(name, of):
    """The entry that LiteLLM charges by when it is asked for a name: of two that end alike it is not always the name's."""
    bare, of = (name, of) if of else litellm.get_llm_provider(name)[:2]
    try:
        return THEIRS.get(litellm.get_model_info(bare, of)["key"])
    except Exception:  # litellm raises bare exceptions for names that it does not resolve: so will the price
        return None


def rates(entry):
    return {key: value for key, value in entry.items() if "cost_per" in key or "token_cost" in key or key == "tiered_pricing"}


def dollars(name, of, service, used):
    how = {"call_type": "aretrieve_batch"} if service == "batch" else {"service_tier": None if service == "standard" else service}
    return sum(cost_per_token(model=name, custom_llm_provider=of, usage_object=usages.theirs(used), **how))


def generated(names, seed):
    """Usages of every kind, with LiteLLM's amounts; and why others are not compared."""
    rng, calls, left_out = random.Random(seed), [], collections.Counter()
    for name in names:
        entry = THEIRS[name]
        if entry.get("litellm_provider") in LOGINS:
            left_out["litellm would log in to the provider before it says a price"] += 1
            continue
        of = provider(name, entry)
        taken = resolved(name, of)
        if taken is not None and rates(taken) != rates(entry):
            left_out[f"litellm charges another of its entries for this name: {name}"] += 1
            continue
        for service in usages.services(entry):
            for size in usages.inputs(entry, rng):
                for kind in usages.KINDS:
                    if why := apart(entry, service, kind, size):
                        left_out[why] += 1
                        continue
                    used = usages.tokens(kind, size, rng)
                    try:
                        calls.append((name, service, kind, used, dollars(name, of, service, used)))
                    except Exception as error:  # litellm raises bare exceptions for names that it does not resolve
                        assert "isn't mapped yet" in str(error), (name, error)
                        left_out["litellm does not find its own entry by this name"] += 1
    return calls, left_out


def priced(calls, *table):
    lines = "\n".join(json.dumps(usages.ours(name, service, used)) for name, service, _, used, _ in calls)
    done = subprocess.run([PRICE, *table], input=lines, capture_output=True, text=True, check=True)
    return done.stdout.split()


def differing(calls, amounts):
    assert len(calls) == len(amounts)
    for call, amount in zip(calls, amounts):
        nanos = call[-1] * 1e9
        if amount == "none" or abs(int(amount) - nanos) > 0.5 + 1e-6 * nanos:
            yield call, amount


def report(what, calls, left_out, capsys):
    kinds = collections.Counter(kind for _, _, kind, _, _ in calls)
    services = collections.Counter(service for _, service, _, _, _ in calls)
    with capsys.disabled():
        print(f"\n{what}: {len(calls)} usages of {len({call[0] for call in calls})} models compared")
        print(f"  {dict(kinds)}\n  {dict(services)}")
        for why, count in left_out.most_common():
            print(f"  not compared: {count}, {why}")


def names_in(table):
    """The models of LiteLLM's that are in a table of ours, whole or by the bare name of a maker's."""
    listed = {price["model"] for price in tomllib.loads(table)["prices"]}
    found = lambda name: name in listed or name.rsplit("/", 1)[-1] in listed
    return [name for name, entry in THEIRS.items() if name != "sample_spec" and "*" not in name and found(name) and by_tokens(entry)]


def header_command():
    """The command that the table says it was made by."""
    head = re.search(r"#   (outrigger prices import FILE.*)\n", OURS.read_text())[1]
    source = re.search(r"# FILE was: (.*)\n", OURS.read_text())[1]
    return [BINARY, *shlex.split(head)[1:], "--source", source]


def test_every_usage_of_the_models_that_come_with_the_binary_costs_what_litellm_says(capsys):
    providers = set(header_command()[header_command().index("--providers") + 1].split(","))
    names = [name for name in names_in(OURS.read_text()) if THEIRS[name]["litellm_provider"] in providers]
    calls, left_out = generated(names, seed=1)
    report("The prices that come with the binary", calls, left_out, capsys)
    wrong = list(differing(calls, priced(calls, OURS)))
    assert not wrong, f"{len(wrong)} of {len(calls)}, first {wrong[:3]}"
    assert len(calls) >= 10_000 and len({call[0] for call in calls}) >= 200
    assert {call[1] for call in calls} == {"standard", "batch", "flex", "priority"}


def test_every_usage_of_every_model_of_litellms_costs_the_same_after_the_import(capsys):
    table = subprocess.run([BINARY, "prices", "import", TABLE], capture_output=True, text=True, check=True).stdout
    names = names_in(table)
    calls, left_out = generated(names, seed=2)
    report("LiteLLM's whole table", calls, left_out, capsys)
    wrong = list(differing(calls, priced(calls, "--litellm", TABLE)))
    assert not wrong, f"{len(wrong)} of {len(calls)}, first {wrong[:3]}"
    assert len(calls) >= 80_000 and len({call[0] for call in calls}) >= 3_000


def test_a_wrong_price_would_be_noticed(tmp_path):
    """The comparison itself: a table that is off by a thousandth in one rate fails it."""
    off = OURS.read_text().replace('model = "gpt-4o"\ninput = 2.5\n', 'model = "gpt-4o"\ninput = 2.5025\n')
    assert off != OURS.read_text()
    (tmp_path / "off.toml").write_text(off)
    calls, _ = generated(["gpt-4o"], seed=3)
    assert list(differing(calls, priced(calls, tmp_path / "off.toml")))
    assert not list(differing(calls, priced(calls, OURS)))


def test_the_table_that_comes_with_the_binary_is_what_the_importer_writes():
    command = [TABLE if word == "FILE" else word for word in header_command()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == OURS.read_text(), "make it anew by the command at its head"
    left_out = sum(int(count) for count in re.findall(r"^ *(\d+) left out", done.stderr, re.M))
    taken = int(re.match(r"(\d+) models taken", done.stderr)[1])
    assert taken + left_out == len(THEIRS), "every model is taken or counted"


def show(*words):
    return subprocess.run([BINARY, "prices", "show", *map(str, words)], capture_output=True, text=True)


def test_a_model_and_a_call_to_it_are_shown():
    done = show("openai/gpt-4o", "--input", 1000, "--cached", 400, "--output", 100)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^cached_input +1\.25", done.stdout, re.M), done.stdout
    assert "This call costs $0.003." in done.stdout, done.stdout


def test_a_file_goes_before_the_prices_that_come_with_the_binary(tmp_path):
    (tmp_path / "own.toml").write_text('[[prices]]\nmodel = "gpt-4o"\ninput = 7\n')
    assert "This call costs $7." in show("gpt-4o", "--file", tmp_path / "own.toml", "--input", 1_000_000).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gpt-4o-mni"], "gpt-4o-mini"),
        (["gpt-4o", "--input", 1, "--cached", 2], "parts of --input"),
        (["gpt-4o", "--file", "/nowhere.toml"], "/nowhere.toml"),
        (["gpt-4o", "--day", "soon"], "--day"),
    ],
)
def test_what_cannot_be_shown_is_said(words, said):
    done = show(*words)
    assert done.returncode != 0 and said in done.stderr, done.stderr
    assert "panicked" not in done.stderr


def test_a_file_that_is_no_table_is_refused_by_line_and_key(tmp_path):
    (tmp_path / "own.toml").write_text('[[prices]]\nmodel = "m"\ninptu = 7\n')
    done = show("m", "--file", tmp_path / "own.toml")
    assert done.returncode != 0 and "line 3" in done.stderr and "inptu" in done.stderr, done.stderr
