"""A control plane for the tests: etcd, kube-apiserver and kube-controller-manager as processes.

No scheduler, no nodes, no kubelet: an unscheduled pod is as its status says, and that is written by
`tests/controlplane/kubelet.py`. The flags follow controller-runtime's envtest
(pkg/internal/testing/controlplane); what they bring was seen on Kubernetes 1.36.
"""

import base64
import contextlib
import json
import os
import secrets
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receiver.demo.pair import HOST, free_port

BUILD = Path(__file__).parents[2] / ".ci" / "control-plane"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
ISSUER = "https://kubernetes.default.svc"
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "validatingadmissionpolicy-status-controller",
)
# Seconds.
READY_WITHIN, STOP_WITHIN = 60.0, 5.0

# Every write of what the service writes, with its body: a count that is not our own. Beside it, who
# has made which call.
AUDITED = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Request",
            "verbs": ["create", "update", "patch", "delete"],
            "resources": [{"group": "apps"}, {"group": "", "resources": ["configmaps"]}],
        },
        {
            "level": "Metadata",
            "userGroups": ["system:serviceaccounts"],
            "resources": [
                {"group": group}
                for group in (
                    "",
                    "apps",
                    "authentication.k8s.io",
                    "authorization.k8s.io",
                    "events.k8s.io",
                )
            ],
        },
        {"level": "None"},
    ],
}


class NotReadyError(Exception):
    """A part of the control plane did not come up; the text holds what it last said."""


def programs() -> Path | None:
    """Return the folder with the programs; None: `make control-plane` has not built them."""
    said = subprocess.run([BUILD, "--where"], check=True, capture_output=True, text=True)
    folder = Path(said.stdout.strip())
    return folder if all(os.access(folder / name, os.X_OK) for name in PROGRAMS) else None


@dataclass(frozen=True, slots=True)
class Connection:
    """How a cluster is reached: a kubeconfig file, a context of it, and the kubectl to use."""

    kubectl: str
    kubeconfig: Path | None
    context: str | None


class ControlPlane:
    """The processes. `start` returns when all are ready, `stop` when all have ended."""

    def __init__(self, folder: Path, home: Path) -> None:
        """`folder` has the programs; `home`, which is there and empty, gets data and logs."""
        self._folder, self._home = folder, home
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._etcd_port, self._api_port, self._controllers_port = (free_port() for _ in range(3))
        self._certificates = home / "certificates"
        self.token = secrets.token_hex(16)
        self.url = f"https://{HOST}:{self._api_port}"
        self.key = self._certificates / "apiserver.key"
        self.audit_log = home / "audit.jsonl"
        self.connection = Connection(str(folder / "kubectl"), home / "admin.kubeconfig", None)

    def start(self) -> None:
        """Start everything; raises `NotReadyError`."""
        self._certificates.mkdir(parents=True)
        users = f'{self.token},admin,admin,"system:masters"\n'
        (self._home / "tokens.csv").write_text(users)
        (self._home / "audit-policy.json").write_text(json.dumps(AUDITED))
        self._start_etcd()
        self.start_api_server()
        (self._home / "admin.kubeconfig").write_text(json.dumps(self.kubeconfig()))
        self._start_controllers()

    def stop(self) -> None:
        """End everything, the last one first: an API server whose etcd has gone does not end."""
        while self._running:
            _end(self._running.pop()[1])

    def _start_etcd(self) -> None:
        url = f"http://{HOST}:{self._etcd_port}"
        self._start(
            "etcd",
            f"--data-dir={self._home / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls=http://{HOST}:0",
            "--unsafe-no-fsync",
        )
        self._until_ready("etcd", f"{url}/health")

    def start_api_server(self) -> None:
        """Start the API server; with the same address, keys and data when it ran before."""
        # It makes this key for its certificate; in the tests it serves for the tokens, too.
        key = self.key
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://{HOST}:{self._etcd_port}",
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            f"--secure-port={self._api_port}",
            f"--cert-dir={self._certificates}",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={self._home / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            # It would wait for ServiceAccounts that no controller makes.
            "--disable-admission-plugins=ServiceAccount",
            "--enable-priority-and-fairness=false",
            f"--audit-policy-file={self._home / 'audit-policy.json'}",
            f"--audit-log-path={self.audit_log}",
        )
        self._until_ready("kube-apiserver", f"{self.url}/readyz", authority=True)

    def stop_api_server(self, *, at_once: bool = False) -> None:
        """End the API server alone; `at_once`: as a power cut would."""
        index = next(i for i, (name, _) in enumerate(self._running) if name == "kube-apiserver")
        process = self._running.pop(index)[1]
        if at_once:
            process.kill()
        _end(process)

    def _start_controllers(self) -> None:
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self._home / 'admin.kubeconfig'}",
            "--leader-elect=false",
            f"--bind-address={HOST}",
            f"--secure-port={self._controllers_port}",
            f"--cert-dir={self._home / 'controllers'}",
            f"--controllers={','.join(CONTROLLERS)}",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        )
        self._until_ready(
            "kube-controller-manager", f"https://{HOST}:{self._controllers_port}/healthz"
        )

    def _start(self, program: str, *flags: str) -> None:
        with (self._home / f"{program}.log").open("ab") as log:
            process = subprocess.Popen(
                [self._folder / program, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._home,
                env=os.environ | {"GOGC": "400"},  # memory for a fifth of the CPU time
                start_new_session=True,  # a Ctrl-C is for the tests; they end these in their order
            )
        place = 1 if program == "kube-apiserver" else len(self._running)
        self._running.insert(place, (program, process))

    def _until_ready(self, program: str, url: str, *, authority: bool = False) -> None:
        process = dict(self._running)[program]
        end = time.monotonic() + READY_WITHIN
        while not self._answers(url, authority=authority):
            if process.poll() is not None or time.monotonic() > end:
                said = (self._home / f"{program}.log").read_text(errors="replace")
                raise NotReadyError(f"{program} is not ready:\n{said[-3000:]}")
            time.sleep(0.05)

    def _answers(self, url: str, *, authority: bool) -> bool:
        try:
            context = self._context(authority=authority) if url.startswith("https:") else None
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.token}"})
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
            )
            with opener.open(request, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:  # its certificate may not be there, or be written at this moment
            return False

    def _context(self, *, authority: bool) -> ssl.SSLContext:
        """Trust the API server's own certificate; without `authority`, any."""
        if authority:
            return ssl.create_default_context(cafile=self._certificates / "apiserver.crt")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    # --- what a test asks of it

    def kubeconfig(self, token: str | None = None) -> dict[str, Any]:
        """Return the kubeconfig of somebody with a token, else of one who may do everything."""
        authority = (self._certificates / "apiserver.crt").read_bytes()
        cluster = {
            "server": self.url,
            "certificate-authority-data": base64.b64encode(authority).decode(),
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "tests", "user": {"token": token or self.token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        }

    def audited(self, since: int = 0) -> list[dict[str, Any]]:
        """Return what the API server has written down: one record for each write, in order.

        `since` is a size that the log has had: what was there by then is left out.
        """
        return self._records(since, b'"level":"Request"')

    def called(self, username: str, since: int = 0) -> list[dict[str, Any]]:
        """Return a record for each call of a ServiceAccount, reads included."""
        return self._records(since, json.dumps(username).encode())

    def _records(self, since: int, text: bytes) -> list[dict[str, Any]]:
        with self.audit_log.open("rb") as log:
            log.seek(since)
            return [json.loads(line) for line in log if text in line and line.endswith(b"}\n")]

    def audit_size(self) -> int:
        """Return the size of what the API server has written down, in bytes."""
        return self.audit_log.stat().st_size


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def control_plane(folder: Path, home: Path) -> Iterator[ControlPlane]:
    """Run a control plane until the end of the block."""
    plane = ControlPlane(folder, home)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
