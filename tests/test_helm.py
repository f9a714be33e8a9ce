"""The Helm chart: what it makes is valid for Kubernetes, fits the server, and refuses values that would not work."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

from maskery.settings import Settings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "maskery"
HELM = Path(sys.executable).with_name("helm")

if not HELM.exists():
    pytest.skip("helm-binary is not available for this platform", allow_module_level=True)

DATABASE = {"DATABASE_URL": {"name": "maskery", "key": "database-url"}}
EVERYTHING = {
    "settings": {"PRELOAD": "maskery/nano", "MAX_IMAGE_BYTES": 100_000_000, "OPEN_METRICS": True},
    "secretSettings": DATABASE,
    "models": ["syscv-community/sam-hq-vit-base"],
    "imagePullSecrets": [{"name": "registry"}],
    "persistence": {"storageClass": "fast"},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "host": "segment.example",
        "tlsSecret": "tls",
        "annotations": {"a": "b"},
    },
    "networkPolicy": {"from": [{"namespaceSelector": {}}], "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": EVERYTHING | {"replicas": 3},
    "Ray": {"ray": {"enabled": True}, "secretSettings": DATABASE},
    "Ray, everything": EVERYTHING | {"ray": {"enabled": True, "minReplicas": 1, "maxReplicas": 4}},
}

Manifests = dict[str, dict[str, Any]]


def helm(command: str, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    # No folder of the user's is read or written.
    environment = {"PATH": os.environ["PATH"], "HELM_CACHE_HOME": "/nonexistent", "HELM_CONFIG_HOME": "/nonexistent"}
    name = ["release"] if command == "template" else ["--strict"]
    return subprocess.run(
        [HELM, command, *name, CHART, "--values", "-"],
        input=yaml.safe_dump(values),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def render(values: dict[str, Any]) -> Manifests:
    """The objects by kind."""
    result = helm("template", values)
    assert result.returncode == 0, result.stderr
    return {each["kind"]: each for each in yaml.safe_load_all(result.stdout) if each}


def pods(manifests: Manifests) -> list[dict[str, Any]]:
    """The specifications of pods with their labels, as Pods."""
    if "RayService" in manifests:
        cluster = manifests["RayService"]["spec"]["rayClusterConfig"]
        templates = [
            cluster["headGroupSpec"]["template"],
            *(group["template"] for group in cluster["workerGroupSpecs"]),
        ]
    else:
        templates = [manifests["StatefulSet"]["spec"]["template"]]
    return [
        {"apiVersion": "v1", "kind": "Pod", **each, "metadata": each["metadata"] | {"name": "pod"}}
        for each in templates
    ]


def containers(manifests: Manifests) -> list[dict[str, Any]]:
    return [
        each for pod in pods(manifests) for each in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    ]


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_the_objects_are_valid_for_kubernetes(values: dict[str, Any]) -> None:
    linted = helm("lint", values)
    assert linted.returncode == 0, linted.stdout
    manifests = render(values)
    objects = [each for each in manifests.values() if each["kind"] != "RayService"] + pods(manifests)
    for version in ("1.29", "1.34"):
        for each in objects:
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_policies_select_the_pods_and_containers_are_confined(values: dict[str, Any]) -> None:
    manifests = render(values)
    for pod in pods(manifests):
        labels = pod["metadata"]["labels"].items()
        assert manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels
        assert manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels
        if "Service" in manifests:
            assert manifests["Service"]["spec"]["selector"].items() <= labels
        spec = pod["spec"]
        assert spec["terminationGracePeriodSeconds"] >= Settings.model_fields["grace_period"].default + 10
        assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"]) == (True, 10001)
        volumes = {each["name"] for each in spec["volumes"]}
        if "StatefulSet" in manifests:
            volumes |= {each["metadata"]["name"] for each in manifests["StatefulSet"]["spec"]["volumeClaimTemplates"]}
        assert all({m["name"] for m in each["volumeMounts"]} == volumes for each in spec["containers"])
    for container in containers(manifests):
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        # Memory defaults follow the limit.
        assert container["resources"]["limits"]["memory"]


def test_settings_reach_the_server_as_they_were_given() -> None:
    for container in containers(render(EVERYTHING)):
        environment = {each["name"]: each.get("value") for each in container["env"]}
        named = {
            name.removeprefix("MASKERY_").lower(): value
            for name, value in environment.items()
            if name.startswith("MASKERY_") and value is not None
        }
        settings = Settings.load(**named)
        assert (settings.preload, settings.max_image_bytes, settings.open_metrics) == (
            ("maskery/nano",),
            100_000_000,
            True,
        )
        assert settings.grace_period == 30
        assert {"MASKERY_DATABASE_URL"} == {name for name, value in environment.items() if value is None}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"replicas": 2}, "set secretSettings.DATABASE_URL"),
        ({"ray": {"enabled": True}}, "set secretSettings.DATABASE_URL"),
        ({"ingress": {"enabled": True}}, "set ingress.host"),
        ({"replicsa": 2}, "replicsa is not allowed"),
        ({"settings": {"MASKERY_PRELOAD": "a"}}, "settings"),
        ({"settings": {"GRACE_PERIOD": 5}}, "settings"),
        ({"models": ["a; rm -rf /"]}, "models"),
        ({"firstKey": {"account": "$(id)", "scopes": "segment"}}, "firstKey.account"),
    ],
)
def test_values_that_would_not_work_are_refused(values: dict[str, Any], message: str) -> None:
    result = helm("template", values)
    assert result.returncode == 1
    assert message in result.stderr


def test_the_setup_creates_one_key_and_the_server_starts_with_it(tmp_path: Path) -> None:
    [setup, *_] = containers(render({}))
    script = setup["args"][0].replace("/var/lib/maskery", str(tmp_path))
    environment = {"PATH": f"{HELM.parent}:{os.environ['PATH']}", "MASKERY_HOME": str(tmp_path)}
    keys = []
    for _ in range(2):
        subprocess.run([*setup["command"], script], env=environment, check=True, timeout=60)
        keys.append((tmp_path / "first-key").read_text().strip())
    assert keys[0] == keys[1]
    assert (tmp_path / "first-key").stat().st_mode & 0o77 == 0
    listed = subprocess.run(
        [HELM.with_name("maskery"), "keys", "list"], env=environment, capture_output=True, text=True
    )
    assert len(listed.stdout.splitlines()) == 2
    assert "first key" in listed.stdout


def test_models_are_installed_once(tmp_path: Path) -> None:
    [setup, *_] = containers(render({"models": ["team/a", "team/b"]}))
    log = tmp_path / "log"
    fake = tmp_path / "maskery"
    # team/a is installed already.
    fake.write_text(f'#!/bin/sh\necho "$@" >>{log}\n[ "$*" != "models show team/b" ]\n')
    fake.chmod(0o755)
    script = setup["args"][0].replace("/var/lib/maskery", str(tmp_path))
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([*setup["command"], script], env=environment, check=True, timeout=60)
    commands = [line for line in log.read_text().splitlines() if line.startswith("models")]
    assert commands == ["models show team/a", "models show team/b", "models install team/b"]


def test_probes_ask_routes_of_the_server(server: Any) -> None:
    [_, container] = containers(render({}))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "http"
        assert httpx.get(server.url + container[probe]["httpGet"]["path"]).status_code == 200
    assert container["ports"] == [{"name": "http", "containerPort": Settings.model_fields["port"].default}]


def test_the_application_of_ray_is_that_of_the_configuration_file() -> None:
    rendered = yaml.safe_load(render(VARIANTS["Ray"])["RayService"]["spec"]["serveConfigV2"])
    expected = yaml.safe_load((ROOT / "deploy" / "ray-serve.yaml").read_text())
    # In the chart, settings are in the environment of the pods, and a pod's processors are a value.
    del expected["applications"][0]["runtime_env"]
    for each in (rendered, expected):
        del each["applications"][0]["deployments"][0]["ray_actor_options"]["num_cpus"]
    assert rendered == expected


def test_the_chart_has_the_version_of_the_server() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = subprocess.run(
        [HELM.with_name("maskery"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert version.split()[-1] == chart["version"] == chart["appVersion"]
