"""What lies in cluster/: manifests against the schemas of those who read them, and what they mean.

The schemas of KubeRay's resources (`ray.io_rayclusters.yaml`, `ray.io_rayjobs.yaml` of version 1.7)
are looked for beside the project, in `../shared/kuberay`, or where KUBERAY_CRDS says.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import yaml

from engine.pipeline import RayRunner
from engine.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
README = (CLUSTER / "README.md").read_text()
SCHEMAS = Path(os.environ.get("KUBERAY_CRDS") or ROOT.parent / "shared" / "kuberay")
MANIFESTS = {"raycluster.yaml": "rayclusters", "rayjob.yaml": "rayjobs"}
LAUNCHER_FILES = ("aws.yaml", "gcp.yaml")
GIB = 2**30


def manifest(name):
    return yaml.safe_load((CLUSTER / name).read_text())


def cluster_spec(name):
    spec = manifest(name)["spec"]
    return spec.get("rayClusterSpec", spec)


def quantity(value):
    """Bytes or CPUs of a Kubernetes quantity, as far as our files use them."""
    number, unit = re.fullmatch(r"([0-9.]+)(Gi|Mi|m|)", str(value)).groups()
    return float(number) * {"Gi": GIB, "Mi": 2**20, "m": 0.001, "": 1}[unit]


def closed(schema):
    """An openAPIV3Schema as JSON Schema: no unknown fields, integers that may be strings."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items() if not key.startswith("x-kuber")}
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    properties = made.get("properties")
    is_object = isinstance(properties, dict) and schema.get("type") == "object"
    if is_object and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@cache
def schema_of(name):
    path = SCHEMAS / f"ray.io_{MANIFESTS[name]}.yaml"
    if not path.is_file():
        pytest.skip(f"no schema of KubeRay at {path}; KUBERAY_CRDS may name its folder")
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a megabyte each
    versions = yaml.load(path.read_text(), Loader=fast)["spec"]["versions"]
    [stored] = [each for each in versions if each["storage"]]
    schema = closed(stored["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {
        "type": "object", "additionalProperties": False,
        "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
    }  # fmt: skip
    return stored["name"], schema


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_keeps_kuberay_s_schema(name):
    version, schema = schema_of(name)
    document = manifest(name)
    assert document["apiVersion"] == f"ray.io/{version}"
    jsonschema.Draft7Validator(schema).validate(document)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda spec: spec.update(headGroup={}),
        lambda spec: spec["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        lambda spec: spec["authOptions"].update(mode="tokens"),
        lambda spec: spec["workerGroupSpecs"][0].pop("groupName"),
        lambda spec: spec["workerGroupSpecs"][0]["template"]["spec"]["containers"][0].update(x=1),
    ],
)
def test_the_schema_would_catch_a_mistake(spoil):
    _, schema = schema_of("raycluster.yaml")
    document = manifest("raycluster.yaml")
    spoil(document["spec"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(document)


def test_the_run_has_the_same_cluster_as_the_one_that_stays():
    assert cluster_spec("rayjob.yaml") == cluster_spec("raycluster.yaml")


def test_a_quality_failed_is_not_tried_again_and_nothing_stays_behind():
    spec = manifest("rayjob.yaml")["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    words = shlex.split(spec["entrypoint"])
    assert words[:3] == ["python", "-m", "jobs.prepare"]
    from jobs.prepare import main as prepare

    prepare.make_context("prepare", words[3:])


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_head_runs_no_tasks_and_has_room_for_the_driver(name):
    spec = cluster_spec(name)
    [head] = spec["headGroupSpec"]["template"]["spec"]["containers"]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert quantity(head["resources"]["limits"]["memory"]) >= 8 * GIB
    assert head["resources"]["limits"]["memory"] == head["resources"]["requests"]["memory"]
    assert spec["authOptions"]["mode"] == "token"
    assert spec["enableInTreeAutoscaling"] is True


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_worker_has_the_documented_memory_for_every_task(name):
    of_task = float(re.search(r"reserve (\d+) GiB a CPU", README).group(1)) * GIB
    assert RayRunner().task_memory_bytes == of_task
    for group in cluster_spec(name)["workerGroupSpecs"]:
        [worker] = group["template"]["spec"]["containers"]
        cpus = int(group["rayStartParams"]["num-cpus"])
        limits, requests = worker["resources"]["limits"], worker["resources"]["requests"]
        assert limits == requests
        assert quantity(limits["cpu"]) == cpus
        store = int(group["rayStartParams"]["object-store-memory"])
        assert quantity(limits["memory"]) >= cpus * of_task + store + GIB
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_pods_are_nobody_and_of_this_version(name):
    spec = cluster_spec(name)
    templates = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for pod in (each["template"]["spec"] for each in templates):
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["image"] == f"sam2prep:{VERSION}"
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def locked(package):
    lock = (ROOT / "requirements.lock").read_text()
    return re.search(rf"^{package}==(\S+)", lock, re.MULTILINE).group(1)


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_version_of_ray_is_that_of_the_image(name):
    assert cluster_spec(name)["rayVersion"] == locked("ray")


def strings(value):
    if isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    else:
        yield str(value)


@pytest.mark.parametrize("name", [*MANIFESTS, *LAUNCHER_FILES])
def test_no_token_no_key_and_no_host_stand_in_a_file(name):
    for text in (word for each in strings(manifest(name)) for word in each.split()):
        assert not re.search(r"(?i)secret_?(access)?_?key|password|AKIA[0-9A-Z]{16}", text), text
        # The one address is a name, of Google's scope of rights; the service account decides.
        assert "://" not in re.sub(r"^(s3://|https://www.googleapis.com/auth/)", "", text), text
    assert "RAY_AUTH_TOKEN" not in (CLUSTER / name).read_text()


# The image


def instructions():
    text = re.sub(r"^#.*\n", "", (CLUSTER / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def test_the_image_is_made_of_pinned_parts():
    steps = instructions()
    bases = [rest.split()[0] for word, rest in steps if word == "FROM"]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-\w+", bases[0])
    runs = [rest for word, rest in steps if word == "RUN"]
    assert any("--require-hashes --only-binary :all: -r /src/requirements.lock" in r for r in runs)
    assert any("pip check" in run for run in runs)


@pytest.mark.parametrize("name", ["Dockerfile", *LAUNCHER_FILES])
def test_a_store_s_package_leaves_the_locked_versions_as_they_are(name):
    """What pip gets as constraints is every line of the lock, without hashes, which it refuses."""
    if name == "Dockerfile":
        steps = [rest for word, rest in instructions() if word == "RUN"]
    else:
        steps = manifest(name)["setup_commands"]
    script = "\n".join(steps)
    expression = re.search(r"sed -E '(.*?)' \S*requirements.lock > (\S+versions.txt)", script)
    assert re.search(rf"--constraint {re.escape(expression[2])} .?sam2prep\[", script)
    made = subprocess.run(
        ["sed", "-E", expression[1], ROOT / "requirements.lock"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    locked = re.findall(r"^(\S+==\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert len(locked) > 50
    assert [line.split(" ;")[0] for line in made if line] == locked


def test_the_image_is_nobody_s_and_holds_no_secret():
    steps = instructions()
    last = max(i for i, (word, _) in enumerate(steps) if word == "FROM")
    users = [rest for word, rest in steps[last:] if word == "USER"]
    assert users == ["1000:100"]
    named = [rest for word, rest in steps if word in ("ENV", "ARG")]
    assert not any(re.search(r"(?i)token|secret|password|key", rest) for rest in named)


def test_everything_that_is_copied_exists_and_is_let_through():
    let_through = (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines()
    assert let_through[0] == "*"
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in let_through


# ray up


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_ray_up_takes_the_file(name):
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    config = manifest(name)
    jsonschema.Draft7Validator(schema).validate(config)
    types = config["available_node_types"]
    head = types[config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    workers = [each for key, each in types.items() if key != config["head_node_type"]]
    assert all(each["min_workers"] == 0 for each in workers)
    spot = {
        "aws.yaml": lambda node: node.get("InstanceMarketOptions") == {"MarketType": "spot"},
        "gcp.yaml": lambda node: node.get("scheduling") == [{"preemptible": True}],
    }[name]
    assert not spot(head["node_config"])
    assert all(spot(each["node_config"]) for each in workers)
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert "RAY_AUTH_MODE=token" in config[key][-1]
    assert any("--require-hashes" in line for line in config["setup_commands"])
    sources = [each for each in config["file_mounts"].values() if not each.startswith("~")]
    assert sources == ["."]


# What the README promises


def figures():
    """Seconds of a core a frame, seconds of the driver a frame, from the committed benchmark."""
    path = ROOT / "benchmarks/results/runs_on_ray.json"
    found = json.loads(path.read_text())
    parameters = found["parameters"]
    frames = parameters["exports"] * parameters["frames_per_export"]
    median = sorted(found["engine_timings_sec"], key=lambda each: each["total"])[1]
    tasks = sum(median[stage] for stage in ("open", "scan", "write"))
    return parameters["workers"] * tasks / frames, (median["total"] - tasks) / frames


def test_the_formula_is_that_of_the_benchmark():
    of_core, of_driver = figures()
    shown = re.search(r"(\d+) s \+ frames x ([0-9.]+) ms / cores \+ frames x ([0-9.]+) ms", README)
    assert float(shown.group(2)) == pytest.approx(1000 * of_core, rel=0.05)
    assert float(shown.group(3)) == pytest.approx(1000 * of_driver, rel=0.1)


def test_the_table_is_that_of_the_formula():
    shown = re.search(r"(\d+) s \+ frames x ([0-9.]+) ms / cores \+ frames x ([0-9.]+) ms", README)
    start, of_core, of_driver = (float(each) for each in shown.groups())
    rows = re.findall(r"^\| ([\d,]+) \| (\d+) \| ([\d,]+) \| ([\d,.]+) \|$", README, re.MULTILINE)
    assert len(rows) >= 6
    for frames, nodes, seconds, core_hours in rows:
        count, cores = int(frames.replace(",", "")), 8 * int(nodes)
        wall = start + count * (of_core / cores + of_driver) / 1000
        assert int(seconds.replace(",", "")) == pytest.approx(wall, rel=0.02, abs=1)
        assert float(core_hours.replace(",", "")) == pytest.approx(wall * cores / 3600, abs=0.06)


# What is simulated


def simulated():
    return json.loads((ROOT / "benchmarks/results/simulate_cluster.json").read_text())


def simulation(*only, measured="benchmarks/results/task_times.json", long_runs=None):
    """One scenario anew, by the program itself."""
    long_runs = long_runs or "benchmarks/results/runs_on_ray.json"
    words = [sys.executable, "-m", "benchmarks.simulate_cluster", "--measured", str(measured)]
    words += ["--long-runs", str(long_runs), "--only", *(str(number) for number in only)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_the_simulator_gives_what_is_committed():
    rows = {(r["frames"], r["nodes"], r["cores_a_node"]): r for r in simulated()["results"]}
    assert {key[0] for key in rows} == {10**6, 10**8, 10**9}
    assert {key[1] for key in rows} >= {10, 100, 1000}
    for key in ((10**6, 10, 8), (10**6, 1000, 16)):
        assert simulation(*key) == rows[key]


def test_the_simulator_stays_near_what_was_measured():
    found = simulated()
    for row in [*found["held_against_measured_runs"], found["held_against_the_long_runs"]]:
        assert abs(row["simulated_sec"] / row["measured_sec"] - 1) == pytest.approx(
            abs(row["off"]), abs=0.001
        )
        assert abs(row["off"]) <= 0.2
    assert [row["workers"] for row in found["held_against_measured_runs"]] == [1, 2]


@pytest.mark.parametrize("task_sec", [0.0, 0.25])
def test_the_simulator_is_right_where_a_pencil_is_enough(tmp_path, task_sec):
    """Tasks all alike: a wave of cores after the other, or one task every 0.25 s."""
    stages = ("open", "scan", "track", "write")
    frames = {"open": 0, "scan": 500, "track": 0, "write": 400}
    measured = {
        "frames_per_export": 1000, "image_bytes": 335_544,  # 400 rows in 128 MiB
        "runs": [{"workers": 2, "frames": 1000, "exports": 1, "ray_ready_sec": 0.0,
                  "seconds": dict.fromkeys(stages, 1.0) | {"total": 4.0},
                  "tasks": [[stage, 1.0, frames[stage]] for stage in stages]}],
        "empty_tasks": {"seconds": {"1": task_sec, "11": 11 * task_sec}},
        "driver": [{"frames": n, "index_sec": 0, "split_sec": 0, "plan_sec": 0, "peak_bytes": n}
                   for n in (1, 2)],
    }  # fmt: skip
    long_runs = {
        "parameters": {"exports": 1, "frames_per_export": 1000, "workers": 1},
        "engine_timings_sec": [dict.fromkeys(stages, 1.0) | {"total": 4.0}] * 3,
    }
    for name, document in (("m.json", measured), ("l.json", long_runs)):
        (tmp_path / name).write_text(json.dumps(document))
    found = simulation(
        40_000, 2, 8, measured=tmp_path / "m.json", long_runs=tmp_path / "l.json"
    )  # a millisecond a frame in each stage
    tasks = {"open": (40, 1.0), "scan": (80, 0.5), "track": (40, 1.0), "write": (100, 0.4)}
    for stage, (count, seconds) in tasks.items():
        waves = -(-count // 16) * seconds
        wanted = waves if task_sec == 0 else count * task_sec + seconds
        assert found["stages_sec"][stage] == pytest.approx(wanted, abs=0.06)


def test_the_simulated_table_is_that_of_the_results():
    rows = re.findall(
        r"^\| ([\d,]+) \| ([\d,]+) x (8|16) \| ([\d,.]+) (min|h) \| ([\d,]+) \| (\d+) % \|$",
        README, re.MULTILINE,
    )  # fmt: skip
    results = [each for each in simulated()["results"] if each["cores_a_node"] == 8]
    assert len(rows) == len(results)
    for row, found in zip(rows, results, strict=True):
        frames, nodes, cores, time, unit, core_hours, busy = (
            each if each in ("min", "h") else float(each.replace(",", "")) for each in row
        )
        assert (frames, nodes, cores) == (found["frames"], found["nodes"], found["cores_a_node"])
        seconds = time * (60 if unit == "min" else 3600)
        assert seconds == pytest.approx(found["wall_sec"], rel=0.02)
        assert core_hours == pytest.approx(found["core_hours"], abs=0.51)
        assert busy == pytest.approx(100 * found["workers_busy"], abs=0.51)


def test_the_limits_in_the_readme_are_those_of_the_results():
    limits = simulated()["limits"]
    cores = int(re.search(r"From (\d+) cores on the driver", README).group(1))
    assert cores == limits["cores_where_driver_takes_as_long"]
    found = simulated()
    misses = [*found["held_against_measured_runs"], found["held_against_the_long_runs"]]
    said = re.search(
        r"within (\d+) % of its time with one worker, (\d+) % with two, (\d+) %", README
    )
    for text, row in zip(said.groups(), misses, strict=True):
        assert int(text) == pytest.approx(100 * abs(row["off"]), abs=0.6)
    worst = max(abs(row["off"]) for row in found["with_the_tasks_of_the_other_run"])
    assert int(re.search(r"by up to\s+(\d+) %", README).group(1)) == round(100 * worst)
    a_frame = int(re.search(r"holds ([\d,]+) bytes a frame", README).group(1).replace(",", ""))
    assert a_frame == limits["bytes_a_frame"]
    held = re.search(r"8 GiB hold ([\d.]+) million frames", README).group(1)
    assert float(held) == pytest.approx(limits["frames_in_the_head_s_memory"] / 1e6, abs=0.06)
