"""The files of docker/, without running any of them: well-formed, in agreement with each other, and careful."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml

from written import COMPOSE, DOCKERFILE, ROOT, TOOLS, copied, instructions, project, run

SERVICES = project()["services"]
OURS = {"outrigger", "simulator"}
SETTINGS = tomllib.loads((ROOT / "docker/settings.toml").read_text())
BACKENDS = ({}, {"OUTRIGGER_BACKEND": "http://gpu:8000"})


def test_the_dockerfile_has_no_known_fault():
    # A suite's packages get their security fixes by not being pinned.
    said = run(TOOLS / "hadolint", "--ignore", "DL3008", DOCKERFILE)
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_script_that_puts_the_root_together_is_plain_shell():
    said = run("sh", "-n", ROOT / "docker/root.sh")
    assert said.returncode == 0, said.stderr


def test_what_is_copied_is_there_and_reaches_the_builder():
    taken = [line[2:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!/")]
    assert copied(), "something is copied"
    for source in copied():
        assert (ROOT / source).exists(), f"{source} is not there"
        assert any(source == path or source.startswith(f"{path}/") for path in taken), f".dockerignore hides {source}"
    for path in taken:
        assert any(source == path or source.startswith(f"{path}/") for source in copied()), f"nobody copies {path}"


def test_the_compiler_is_new_enough_and_the_version_is_ours():
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    arguments = dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG")
    compiler = re.fullmatch(r"rust:(\d+)\.(\d+)-(\w+)", arguments["BUILD_IMAGE"])
    assert compiler, arguments["BUILD_IMAGE"]
    assert tuple(map(int, compiler.groups()[:2])) >= tuple(map(int, package["rust-version"].split(".")))
    assert arguments["RUNTIME_IMAGE"] == f"debian:{compiler[3]}-slim", "both are of one suite: their C library is one"
    assert arguments["VERSION"] == package["version"], "the image says which version it is"


def test_one_variable_names_the_backend():
    set_to = [project(**given)["services"]["outrigger"]["environment"]["OUTRIGGER_BACKEND"] for given in BACKENDS]
    assert set_to == [None, "http://gpu:8000"], (
        "unset, it is not set for Outrigger either, and the settings' own is asked"
    )
    assert SETTINGS["backends"][0]["url"] == "http://simulator:8000"


def test_the_other_variables_do_what_they_say():
    changed = project(OUTRIGGER_TARGET="with-model", OUTRIGGER_SETTINGS="/etc/mine.toml", OUTRIGGER_ADDRESS="0.0.0.0")
    outrigger = changed["services"]["outrigger"]
    assert outrigger["build"]["target"] == "with-model"
    assert outrigger["volumes"][0]["source"] == "/etc/mine.toml"
    assert {port["published"]: port["host_ip"] for port in outrigger["ports"]} == {
        "8080": "0.0.0.0",
        "9090": "127.0.0.1",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_no_more_than_it_must(name):
    service = SERVICES[name]
    assert service["read_only"] is True, "its root cannot be written to"
    assert service["cap_drop"] == ["ALL"] and not service.get("cap_add") and not service.get("privileged")
    assert service["security_opt"] == ["no-new-privileges:true"]
    limits = service["deploy"]["resources"]["limits"]
    assert all(limits.get(what) for what in ("cpus", "memory", "pids")), f"all is limited: {limits}"
    assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), "nothing is published further"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_and_checked(name):
    service = SERVICES[name]
    image, _, tag = service["image"].partition(":")
    if name in OURS:
        assert (tag, service["build"]["dockerfile"]) == ("latest", "docker/Dockerfile"), (
            "it is built from these sources"
        )
    else:
        assert re.search(r"\d+\.\d+", tag), f"{image} has a tag that stays what it is: {tag}"
    # The collector's image has nothing in it that could ask.
    assert name == "collector" or service["healthcheck"]["test"], "it says whether it is well"


def test_what_is_mounted_is_there():
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                source = volume["source"]
                assert (COMPOSE.parent / source).exists(), f"{name}: {source}"
                assert volume.get("read_only"), f"{name} could write to {source}"


def test_the_settings_name_services():
    for url in (SETTINGS["backends"][0]["url"], SETTINGS["redis"]["url"], SETTINGS["telemetry"]["otlp_endpoint"]):
        service = re.match(r"\w+://(\w+):\d+", url)[1]
        assert set(SERVICES[service]["networks"]) & set(SERVICES["outrigger"]["networks"]), f"{service} can be reached"


def test_what_waits_for_another_can_reach_it():
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert set(service["networks"]) & set(SERVICES[other]["networks"]), f"{name} and {other} share no network"
            checked = "healthcheck" in SERVICES[other]
            assert (how["condition"] == "service_healthy") == checked, f"{name} waits until {other} is well"


def environment_of_the_image():
    words = " ".join(rest for word, rest in instructions() if word == "ENV").split()
    return dict(word.split("=", 1) for word in words)


def test_prometheus_reads_what_compose_runs():
    jobs = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}
    port = environment_of_the_image()["OUTRIGGER__SERVER__ADMIN"].rsplit(":", 1)[1]
    assert targets["outrigger"] == [f"outrigger:{port}"], "the admin port of the service"
    assert set(SERVICES["prometheus"]["networks"]) & set(SERVICES["outrigger"]["networks"])
    assert "--enable-feature=exemplar-storage" in SERVICES["prometheus"]["command"], "exemplars are kept"


def test_grafana_reads_prometheus_and_finds_the_board():
    provisioning = ROOT / "docker/grafana/provisioning"
    sources = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    assert [source["url"] for source in sources] == ["http://prometheus:9090"]
    assert "prometheus" in SERVICES and "--web.listen-address" not in str(SERVICES["prometheus"]["command"])
    boards = yaml.safe_load((provisioning / "dashboards/outrigger.yaml").read_text())["providers"]
    mounted = {volume["target"] for volume in SERVICES["grafana"]["volumes"]}
    assert boards[0]["options"]["path"] in mounted and "/etc/grafana/provisioning" in mounted


def test_the_collector_takes_what_outrigger_sends():
    collector = yaml.safe_load((ROOT / "docker/collector/config.yaml").read_text())
    for name, pipeline in collector["service"]["pipelines"].items():
        for kind in ("receivers", "processors", "exporters"):
            missing = set(pipeline[kind]) - set(collector[kind])
            assert not missing, f"{name} names {kind} that are not there: {missing}"
    assert set(collector["service"]["pipelines"]) == {"traces", "metrics"}
    endpoint = SETTINGS["telemetry"]["otlp_endpoint"]
    port = collector["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].rsplit(":", 1)[1]
    assert endpoint == f"http://collector:{port}", "by gRPC, which is the default"


def test_what_is_to_stay_is_in_a_volume():
    outrigger = SERVICES["outrigger"]
    volumes = {volume["target"] for volume in outrigger["volumes"] if volume["type"] == "volume"}
    for table, key in (("cost", "ledger_path"), ("semantic_cache", "disk_path"), ("latency", "baseline_path")):
        path = SETTINGS[table][key]
        assert any(path.startswith(f"{volume}/") for volume in volumes), f"{path} is in a volume"
    assert outrigger["stop_grace_period"] == "45s", "longer than server.drain_secs and ten seconds after it"
