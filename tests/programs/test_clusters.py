"""What a cluster lacks that processes could train together is said in a line."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from cnnjax.programs import process

ROOT = Path(__file__).parents[2]
ALONE = """
import os
from cnnjax.config import ConfigError
from cnnjax.programs import process, train

train.FLAGS(["train", "--coordinator=auto"])
for host in ("", "10.0.0.1"):
    os.environ |= {"KUBERNETES_SERVICE_HOST": host} if host else {}
    try:
        process.connect(train.FLAGS)
    except ConfigError as error:
        print(error)
"""


def test_a_coordinator_that_is_not_found_says_where_it_was_looked_for_and_what_is_missing():
    known = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "OMPI", "KUBERNETES"))}
    code = f"import sys; sys.modules['kubernetes'] = None\n{ALONE}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=known, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "--coordinator=auto: no Slurm step, Open MPI, TPU pod or Kubernetes job is found here; "
        "give --coordinator=host:port --processes=N --process=I",
        "--coordinator=auto on Kubernetes: the package that asks the cluster is missing: pip install 'cnnjax[k8s]'",
    ], done.stderr


def test_a_pod_that_may_not_ask_is_shown_the_manifest_that_lets_it():
    said = process._lack_on_kubernetes(RuntimeError("Kubernetes API Error: 403 - Forbidden\nIt appears that …"))
    assert said.startswith("the pod's service account may not get and list pods, jobs and services; the manifest in ")
    said = process._lack_on_kubernetes(RuntimeError("Pods within a job need\na headless service"))
    assert said.startswith("Pods within a job need a headless service; the manifest in cnnjax/sweep/README.md")


def test_the_manifest_has_what_jax_asks_a_cluster_for():
    text = (ROOT / "cnnjax" / "sweep" / "README.md").read_text()
    parts = list(yaml.safe_load_all(text.partition("```yaml\n")[2].partition("```")[0]))
    account, role, binding, service, job = parts
    assert [part["kind"] for part in parts] == ["ServiceAccount", "Role", "RoleBinding", "Service", "Job"]
    allowed = {name: set(rule["verbs"]) for rule in role["rules"] for name in rule["resources"]}
    assert allowed == {name: {"get", "list"} for name in ("pods", "services", "jobs")}
    pod = job["spec"]["template"]
    assert pod["spec"]["serviceAccountName"] == account["metadata"]["name"] == binding["subjects"][0]["name"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    assert pod["spec"]["subdomain"] == service["metadata"]["name"]
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    (container,) = pod["spec"]["containers"]
    assert f"--gpus={container['resources']['limits']['nvidia.com/gpu']}" in container["command"]
