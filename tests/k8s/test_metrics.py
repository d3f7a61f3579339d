"""What the scalers ask is answered: by a real Prometheus, over the gateway and the sidecar as the manifests set them up.

Each query answers exactly one number at rest, below its threshold; under the load that it is there for it passes the threshold;
and it answers nothing when nobody is scraped, so that KEDA falls back and does not scale down.
"""

import subprocess
import time

import load
import manifests
import pytest
import queries
from parts import Stage

ROLE = {"outrigger": "gateway", "vllm": "sidecar"}
QUESTIONS = queries.all_of_them()
IDS = [f"{question.by}-{question.job}-{question.name}" for question in QUESTIONS]
LOADS = {
    # What it is there for: how many clients, what they ask, and their pause. First what is quick, last what is late.
    ("requests",): (6, load.QUICK, 0.0),
    ("queue", "tokens"): (60, load.SLOW, 0.2),
    ("p95",): (3, load.LATE, 0.0),
}


@pytest.fixture(scope="module")
def stage():
    with Stage() as running:
        # A rate is of two scrapes.
        for job in ROLE:
            assert running.until(f'count_over_time(outrigger_scaling_pressure{{job="{job}"}}[1m])', lambda n: n >= 3, 20)
        yield running


@pytest.fixture(scope="module")
def at_rest(stage):
    """Before any load: what each answers, and what is exported."""
    answers = {identity: stage.number(question.query) for identity, question in zip(IDS, QUESTIONS)}
    return answers, {role: stage.metrics(role) for role in ROLE.values()}


@pytest.fixture(scope="module")
def under_load(stage, at_rest):
    """The most that each has answered while that was asked which it is there for."""
    most = dict.fromkeys(IDS)
    for names, (clients, body, pause) in LOADS.items():
        waited_for = {identity: question for identity, question in zip(IDS, QUESTIONS) if question.name in names}
        with load.Load(stage.url("gateway"), clients, body, pause), load.Load(stage.url("sidecar"), clients, body, pause):
            ends = time.monotonic() + 30
            while waited_for and time.monotonic() < ends:
                for identity, question in list(waited_for.items()):
                    answer = stage.number(question.query)
                    most[identity] = max(filter(None, (most[identity], answer)), default=answer)
                    if answer is not None and answer > question.threshold:
                        del waited_for[identity]
                time.sleep(0.25)
    return most, {role: stage.metrics(role) for role in ROLE.values()}


@pytest.mark.parametrize(("identity", "question"), list(zip(IDS, QUESTIONS)), ids=IDS)
def test_at_rest_it_answers_one_number_below_its_threshold(at_rest, identity, question):
    answer = at_rest[0][identity]
    if answer is None:
        assert question.by == "hpa" and question.name != "queue", "to KEDA no answer is an error; the HPA waits for one"
    else:
        assert 0 <= answer < question.threshold


@pytest.mark.parametrize(("identity", "question"), list(zip(IDS, QUESTIONS)), ids=IDS)
def test_under_its_load_it_passes_its_threshold(under_load, identity, question):
    most = under_load[0][identity]
    assert most is not None and most > question.threshold, f"{most} is not above {question.threshold}\n{question.query}"


@pytest.mark.parametrize(("identity", "question"), list(zip(IDS, QUESTIONS)), ids=IDS)
def test_each_metric_that_it_names_is_exported_with_the_labels_that_it_is_chosen_by(under_load, identity, question):
    lines = [line for line in under_load[1][ROLE[question.job]].splitlines() if not line.startswith("#")]
    names = queries.metrics(question.query)
    assert names, question.query
    for name in names:
        assert any(line.startswith((f"{name}{{", f"{name} ")) for line in lines), f"{name} is not exported"
    for name, label, value in queries.labels(question.query):
        # Prometheus gives the job, by the PodMonitor.
        if label != "job":
            assert any(line.startswith(f"{name}{{") and f'{label}="{value}"' in line for line in lines), (name, label, value)


@pytest.mark.parametrize("question", list(queries.keda()), ids=lambda question: f"{question.job}-{question.name}")
def test_where_nobody_is_scraped_it_answers_nothing(stage, question):
    query = question.query.replace(f'job="{question.job}"', 'job="nobody"')
    assert query != question.query
    assert stage.number(query) is None, "KEDA would take it for no load, and scale down"


def test_a_name_that_is_not_exported_would_be_found(under_load):
    lines = under_load[1]["gateway"]
    assert "outrigger_scaling_held_request{" not in lines and "outrigger_scaling_held_requests{" in lines


def test_who_scales_is_read_from_each_manifest():
    named = {(question.job, question.name) for question in queries.keda()}
    assert named == {(job, name) for job in ROLE for name in ("requests", "queue", "p95")} | {("vllm", "tokens")}
    assert {question.name for question in queries.hpa()} == {"requests", "queue", "p95"}


def test_the_model_server_waits_until_nothing_is_in_flight(stage):
    """The preStop hook of the patch, run against the real metrics while a stream is on its way."""
    patch = manifests.pod(manifests.one(manifests.documents(manifests.PATCH)))
    command = patch["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    script = command[-1]
    assert "127.0.0.1:9090" in script and "sleep 5;" in script
    script = script.replace("127.0.0.1:9090", f"127.0.0.1:{stage.ports['sidecar_admin']}").replace("sleep 5;", "")
    hook = [*command[:-1], script]
    idle = time.monotonic()
    subprocess.run(hook, check=False, timeout=20)
    assert time.monotonic() - idle < 2, "with nothing in flight it does not wait"
    body = {"max_tokens": 5, "sim": {"ttft_ms": 4000, "tokens": 1}}
    with load.Load(stage.url("sidecar"), 1, body, 60) as busy:
        asked = time.monotonic()
        while 'outrigger_backend_in_flight{backend="engine"} 1' not in stage.metrics("sidecar"):
            assert time.monotonic() - asked < 10
            time.sleep(0.05)
        subprocess.run(hook, check=False, timeout=20)
        waited = time.monotonic() - asked
        ended = dict(busy.seen)
    assert ended == {200: 1} and 3.5 < waited < 9, f"{waited} s, {ended}"
