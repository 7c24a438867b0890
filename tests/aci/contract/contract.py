"""Drives the fake through Microsoft's own client, and so checks the fake's protocol from outside.

Usage: contract.py ABOUT.json, the file being what `fake-aci` says of itself on its first line, with `image` besides.
Prints a line for each thing that holds, and ends with 0 if all do.
"""

import base64
import http.client
import json
import os
import ssl
import sys
import time
import unittest
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import (
    ClientAssertionCredential,
    ClientSecretCredential,
    CredentialUnavailableError,
    ManagedIdentityCredential,
)
from azure.mgmt.containerinstance import ContainerInstanceManagementClient
from azure.mgmt.containerinstance.models import (
    AzureFileVolume,
    Container,
    ContainerExec,
    ContainerGroup,
    ContainerHttpGet,
    ContainerPort,
    ContainerProbe,
    EnvironmentVariable,
    InitContainerDefinition,
    IpAddress,
    Port,
    Resource,
    ResourceRequests,
    ResourceRequirements,
    SecurityContextDefinition,
    Volume,
    VolumeMount,
)

with open(sys.argv.pop(1), encoding="utf-8") as about_file:
    ABOUT = json.load(about_file)
GROUP = ABOUT["resourceGroups"][0]
REGION = ABOUT["regions"][0]
# What `base_url` and `authority` are given with: nothing but the fake is reached.
OWN = {"connection_verify": ABOUT["authority"]}


def control(method, path, body=None):
    """The fake's own control."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{ABOUT['plainUrl']}/fake/{path}", data, method=method)
    with urllib.request.urlopen(request) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def fault(method, path, how, times=1):
    control("POST", "faults", {"method": method, "path": path, "times": times, "how": how})


def asked(method, end):
    return [r for r in control("GET", "requests") if r["method"] == method and r["path"].endswith(end)]


def looks():
    """At which of its two URLs an operation was looked at, each time."""
    paths = [r["path"] for r in control("GET", "requests") if r["method"] == "GET"]
    return [kind for path in paths for kind in ("operations", "operationResults") if f"/{kind}/" in path]


def client(secret=None):
    credentials = ABOUT["credentials"]
    credential = ClientSecretCredential(
        credentials["tenantId"],
        credentials["clientId"],
        secret or credentials["clientSecret"],
        authority=ABOUT["url"],
        disable_instance_discovery=True,
        **OWN,
    )
    return ContainerInstanceManagementClient(
        credential,
        credentials["subscriptionId"],
        base_url=ABOUT["url"],
        credential_scopes=["https://management.azure.com/.default"],
        polling_interval=1,
        retry_backoff_factor=0.1,
        **OWN,
    )


def group(command=("sleep", "100000"), policy="Always", **more):
    requests = ResourceRequests(cpu=1.0, memory_in_gb=1.0)
    container = Container(
        name="main",
        image=ABOUT["image"],
        command=list(command),
        resources=ResourceRequirements(requests=requests),
        **more.pop("container", {}),
    )
    more.setdefault("location", REGION)
    return ContainerGroup(containers=[container], os_type="Linux", restart_policy=policy, **more)


class Contract(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = client()
        cls.groups = cls.client.container_groups

    def setUp(self):
        self.made = []
        control("DELETE", "faults")

    def tearDown(self):
        control("DELETE", "faults")
        for name in self.made:
            self.groups.begin_delete(GROUP, name).result()

    def make(self, name, body=None):
        self.made.append(name)
        return self.groups.begin_create_or_update(GROUP, name, body or group()).result()

    def until(self, name, what, is_so):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = self.groups.get(GROUP, name)
            if is_so(found):
                return found
            time.sleep(0.1)
        self.fail(f"{name}: waited in vain: {what}; it is {found.serialize(keep_readonly=True)}")

    def test_a_group_is_made_shown_and_removed(self):
        ports = [Port(port=80, protocol="TCP")]
        made = self.make(
            "shop-web",
            group(
                ip_address=IpAddress(ports=ports, type="Public", dns_name_label="shop-web"),
                tags={"UID": "u-1", "PodName": "web"},
                volumes=[Volume(name="files", secret={"key": "c2VjcmV0LWZpbGU="})],
                container={
                    "ports": [ContainerPort(port=80)],
                    "environment_variables": [
                        EnvironmentVariable(name="SAID", value="said"),
                        EnvironmentVariable(name="HIDDEN", secure_value="hidden-value"),
                    ],
                    "volume_mounts": [VolumeMount(name="files", mount_path="/files", read_only=True)],
                },
            ),
        )
        self.assertEqual((made.name, made.provisioning_state, made.location), ("shop-web", "Succeeded", REGION))
        got = self.groups.get(GROUP, "SHOP-WEB")
        self.assertEqual((got.instance_view.state, got.tags["PodName"]), ("Running", "web"))
        view = got.containers[0].instance_view
        self.assertEqual((view.current_state.state, view.restart_count), ("Running", 0))
        self.assertLessEqual({"Pulling", "Pulled", "Created", "Started"}, {event.name for event in view.events})
        self.assertTrue(got.ip_address.ip and got.ip_address.fqdn == f"shop-web.{REGION}.azurecontainer.io")
        text = json.dumps(got.serialize(keep_readonly=True))
        self.assertNotIn("hidden-value", text)
        self.assertNotIn("c2VjcmV0LWZpbGU=", text)
        self.assertEqual(control("GET", "made")["u-1"], 1)
        self.assertNotIn("u-1", control("GET", "changed"))
        self.groups.begin_delete(GROUP, "shop-web").result()
        with self.assertRaises(ResourceNotFoundError) as refused:
            self.groups.get(GROUP, "shop-web")
        self.assertEqual(refused.exception.error.code, "ResourceNotFound")

    def test_operations_are_followed_by_either_header(self):
        def followed(kinds, act):
            before = len(looks())
            came_to = act()
            self.assertEqual(set(looks()[before:]), kinds)
            return came_to

        for headers, kinds in [
            ("asyncOperation", {"operations"}),
            ("location", {"operationResults"}),
            ("none", set()),
            ("both", {"operations"}),
        ]:
            with self.subTest(headers=headers):
                control("PATCH", "behaviour", {"headers": headers})
                name = f"by-{headers.lower()}"
                self.assertEqual(followed(kinds, lambda: self.make(name)).provisioning_state, "Succeeded")
                # Where there are both, the client asks at the other one for what a POST has come to.
                restarted = kinds | {"operationResults"} if headers == "both" else kinds
                followed(restarted, lambda: self.groups.begin_restart(GROUP, name).result())
                self.until(name, "runs again", lambda got: got.instance_view and got.instance_view.state == "Running")
                followed(kinds, lambda: self.groups.begin_delete(GROUP, name).result())

    def test_an_operation_that_fails_is_told(self):
        how = {"failOperation": {"code": "InsufficientCapacity", "message": "there is none"}}
        fault("PUT", "/containerGroups/fails", how)
        with self.assertRaises(HttpResponseError) as failed:
            self.make("fails")
        self.assertIn("there is none", str(failed.exception))
        self.assertEqual(self.groups.get(GROUP, "fails").provisioning_state, "Failed")

    def test_what_is_stopped_while_it_is_made_is_not_made(self):
        fault("PUT", "/containerGroups/early", {"slowOperation": 60000})
        self.made.append("early")
        making = self.groups.begin_create_or_update(GROUP, "early", group())
        self.groups.stop(GROUP, "early")
        self.until("early", "is stopped", lambda got: got.instance_view and got.instance_view.state == "Stopped")
        with self.assertRaises(HttpResponseError) as ended:
            making.result()
        self.assertEqual(ended.exception.error.code, "OperationPreempted")

    def test_what_is_removed_while_it_is_made_is_gone(self):
        self.groups.begin_create_or_update(GROUP, "brief", group(["sleep", "0"]))
        self.groups.begin_delete(GROUP, "brief").result()
        with self.assertRaises(ResourceNotFoundError):
            self.groups.get(GROUP, "brief")

    def test_lists_have_pages_and_no_views(self):
        control("PATCH", "behaviour", {"page": 2})
        names = [f"list-{number}" for number in range(5)]
        for name in names:
            self.made.append(name)
        pollers = [self.groups.begin_create_or_update(GROUP, name, group()) for name in names]
        for poller in pollers:
            poller.result()
        for listed in [list(self.groups.list_by_resource_group(GROUP)), list(self.groups.list())]:
            self.assertEqual([got.name for got in listed], names)
            self.assertTrue(all(got.instance_view is None for got in listed))
            self.assertTrue(all(got.containers[0].instance_view is None for got in listed))
        self.assertEqual(len(asked("GET", f"/resourceGroups/{GROUP}/providers/Microsoft.ContainerInstance/containerGroups")), 3)
        control("PATCH", "behaviour", {"page": 100})

    def test_tags_are_changed_and_nothing_else(self):
        self.make("tagged", group(tags={"a": "1"}))
        changed = self.groups.update(GROUP, "tagged", Resource(location=REGION, tags={"b": "2"}))
        self.assertEqual(changed.tags, {"b": "2"})
        self.assertEqual(self.groups.get(GROUP, "tagged").containers[0].instance_view.restart_count, 0)

    def test_what_a_container_wrote_is_read(self):
        self.make("writes", group(["sh", "-c", "echo one; echo two; echo three; sleep 100000"]))
        containers = self.client.containers
        read = lambda **how: containers.list_logs(GROUP, "writes", "main", **how).content
        end = time.monotonic() + 60
        while "three" not in (read() or "") and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(read(), "one\ntwo\nthree\n")
        self.assertEqual(read(tail=1), "three\n")
        self.assertRegex(read(tail=1, timestamps=True), r"^\d{4}-\d\d-\d\dT\S+Z three\n$")
        with self.assertRaises(ResourceNotFoundError):
            containers.list_logs(GROUP, "writes", "other")

    def test_groups_are_stopped_and_started(self):
        self.make("stops")
        self.groups.stop(GROUP, "stops")
        stopped = self.until("stops", "is stopped", lambda got: got.instance_view.state == "Stopped")
        self.assertEqual(stopped.containers[0].instance_view.current_state.state, "Terminated")
        self.groups.begin_start(GROUP, "stops").result()
        self.until("stops", "runs", lambda got: got.instance_view and got.instance_view.state == "Running")

    def test_codes_and_ends_are_told(self):
        self.make("ends-badly", group(["sh", "-c", "exit 7"], "Never"))
        ended = self.until("ends-badly", "has failed", lambda got: got.instance_view.state == "Failed")
        state = ended.containers[0].instance_view.current_state
        self.assertEqual((state.state, state.exit_code, state.detail_status), ("Terminated", 7, "Error"))
        self.make("ends-well", group(["sleep", "0"], "OnFailure"))
        ended = self.until("ends-well", "has ended", lambda got: got.instance_view.state == "Succeeded")
        state = ended.containers[0].instance_view.current_state
        self.assertEqual((state.exit_code, state.detail_status), (0, "Completed"))

    def test_a_container_that_ends_is_started_again(self):
        control("PATCH", "behaviour", {"backOff": 200})
        self.make("again", group(["sleep", "0"]))
        again = self.until("again", "was restarted", lambda got: got.containers[0].instance_view.restart_count > 1)
        self.assertEqual(again.containers[0].instance_view.previous_state.exit_code, 0)
        control("PATCH", "behaviour", {"backOff": 10000})

    def test_conflicts_are_told(self):
        fault("PUT", "/containerGroups/slow", {"slowOperation": 2000})
        self.made.append("slow")
        making = self.groups.begin_create_or_update(GROUP, "slow", group())
        with self.assertRaises(HttpResponseError) as refused:
            self.groups.begin_create_or_update(GROUP, "slow", group())
        self.assertEqual((refused.exception.status_code, refused.exception.error.code), (409, "ContainerGroupTransitioning"))
        making.result()
        with self.assertRaises(HttpResponseError) as refused:
            self.groups.begin_create_or_update(GROUP, "slow", group(location=ABOUT["regions"][1]))
        self.assertEqual((refused.exception.status_code, refused.exception.error.code), (409, "InvalidResourceLocation"))
        with self.assertRaises(HttpResponseError) as refused:
            self.groups.begin_create_or_update(GROUP, "slow", group(policy="Never"))
        self.assertEqual(refused.exception.error.code, "InvalidContainerGroupUpdate")

    def test_quotas_are_told(self):
        control("PATCH", "behaviour", {"groups": 0})
        try:
            with self.assertRaises(HttpResponseError) as refused:
                self.groups.begin_create_or_update(GROUP, "too-many", group())
        finally:
            control("PATCH", "behaviour", {"groups": 100})
        self.assertEqual((refused.exception.status_code, refused.exception.error.code), (409, "ContainerGroupQuotaReached"))
        usages = {usage.name.value: usage.limit for usage in self.client.location.list_usage(REGION)}
        self.assertEqual(usages, {"ContainerGroups": 100, "StandardCores": 100})

    def test_throttled_requests_are_tried_again_when_they_may(self):
        how = {"refuse": {"status": 429, "code": "TooManyRequests", "message": "later", "retryAfter": 1}}
        fault("GET", "/usages", how, times=2)
        began = time.monotonic()
        self.assertEqual(len(list(self.client.location.list_usage(REGION))), 2)
        self.assertGreaterEqual(time.monotonic() - began, 2)

    def test_lost_answers_are_asked_for_again(self):
        for how in ["loseRequest", "loseAnswer"]:
            fault("GET", "/capabilities", how)
            self.assertEqual(len(list(self.client.location.list_capabilities(REGION))), 3)

    def test_what_is_not_there_is_told(self):
        with self.assertRaises(ResourceNotFoundError) as refused:
            self.groups.get("nowhere", "x")
        self.assertEqual(refused.exception.error.code, "ResourceGroupNotFound")
        self.groups.begin_delete(GROUP, "never-made").result()

    def test_images_and_names_are_looked_at(self):
        wrong = group()
        wrong.containers[0].image = "missing.invalid/image:1"
        with self.assertRaises(HttpResponseError) as refused:
            self.groups.begin_create_or_update(GROUP, "wrong", wrong)
        self.assertEqual((refused.exception.status_code, refused.exception.error.code), (400, "InaccessibleImage"))
        with self.assertRaises(HttpResponseError) as refused:
            self.groups.begin_create_or_update(GROUP, "a--b", group())
        self.assertEqual(refused.exception.status_code, 400)

    def test_a_wrong_secret_and_a_token_that_ended_are_told(self):
        with self.assertRaises(ClientAuthenticationError) as refused:
            client(secret="wrong").container_groups.get(GROUP, "x")
        self.assertIn("AADSTS7000215", str(refused.exception))
        own = client()
        list(own.location.list_usage(REGION))
        control("POST", "tokens/expire")
        with self.assertRaises(ClientAuthenticationError) as refused:
            list(own.location.list_usage(REGION))
        self.assertIn("ExpiredAuthenticationToken", str(refused.exception))
        # The other client's token has ended too, and it keeps it.
        type(self).client = client()
        type(self).groups = self.client.container_groups
        self.groups = type(self).groups
        own = client()
        list(own.location.list_usage(REGION))
        control("POST", "tokens/powerless")
        with self.assertRaises(HttpResponseError) as refused:
            list(own.location.list_usage(REGION))
        self.assertEqual((refused.exception.status_code, refused.exception.error.code), (403, "AuthorizationFailed"))
        control("POST", "tokens/powerful")

    def log_until(self, name, container, what):
        end = time.monotonic() + 60
        log = ""
        while time.monotonic() < end:
            try:
                log = self.client.containers.list_logs(GROUP, name, container).content or ""
            except ResourceNotFoundError:
                pass
            if what in log:
                return log
            time.sleep(0.1)
        self.fail(f"{name}: waited in vain for {what!r} in the log {log!r}")

    def test_containers_have_what_they_were_given(self):
        share = ABOUT["share"]
        script = "id -u; echo $SAID $HIDDEN; cat /files/key; cat /shared/word; cat /share/file; touch /files/no 2>&1; hostname; echo end; sleep 100000"
        body = group(
            ["sh", "-c", script],
            volumes=[
                Volume(name="files", secret={"key": "c2VjcmV0LWZpbGUK"}),
                Volume(name="shared", empty_dir={}),
                Volume(name="share", azure_file=AzureFileVolume(share_name=share["name"], storage_account_name=share["account"], storage_account_key=share["key"])),
            ],
            init_containers=[
                InitContainerDefinition(
                    name="first",
                    image=ABOUT["image"],
                    command=["sh", "-c", "echo from-init > /shared/word; echo from-share > /share/file"],
                    volume_mounts=[VolumeMount(name="shared", mount_path="/shared"), VolumeMount(name="share", mount_path="/share")],
                )
            ],
            container={
                "environment_variables": [EnvironmentVariable(name="SAID", value="said"), EnvironmentVariable(name="HIDDEN", secure_value="hidden")],
                "volume_mounts": [VolumeMount(name=name, mount_path=f"/{name}") for name in ["files", "shared", "share"]],
                "security_context": SecurityContextDefinition(run_as_user=1000),
            },
        )
        self.make("given", body)
        log = self.log_until("given", "main", "end\n").split("\n")
        self.assertEqual(log[:5], ["1000", "said hidden", "secret-file", "from-init", "from-share"])
        self.assertIn("Read-only file system", log[5])
        first = self.groups.get(GROUP, "given").init_containers[0].instance_view
        self.assertEqual((first.current_state.state, first.current_state.exit_code), ("Terminated", 0))

    def test_a_share_with_a_wrong_key_fails_the_group(self):
        share = ABOUT["share"]
        file = AzureFileVolume(share_name=share["name"], storage_account_name=share["account"], storage_account_key="d3Jvbmc=")
        with self.assertRaises(HttpResponseError):
            self.make("no-share", group(volumes=[Volume(name="share", azure_file=file)]))
        failed = self.groups.get(GROUP, "no-share")
        self.assertEqual(failed.provisioning_state, "Failed")
        # As recorded answers have it.
        self.assertEqual([(event.name, event.type) for event in failed.instance_view.events], [("FailedMount", "Normal")])
        state = failed.containers[0].instance_view.current_state
        self.assertTrue(state.state == "Waiting" and state.start_time, state)

    def test_probes_are_made(self):
        serves = "touch /tmp/fine; mkdir -p /tmp/www; echo well > /tmp/www/index.html; httpd -p 8080 -h /tmp/www; sleep 100000"
        http = ContainerProbe(http_get=ContainerHttpGet(path="/index.html", port=8080), period_seconds=1, failure_threshold=1, initial_delay_seconds=2)
        exec_probe = ContainerProbe(exec_property=ContainerExec(command=["test", "-e", "/tmp/missing"]), period_seconds=1, failure_threshold=2)
        self.make("is-well", group(["sh", "-c", serves], container={"liveness_probe": http, "readiness_probe": exec_probe}))
        unhealthy = lambda got: "Unhealthy" in {event.name for event in got.containers[0].instance_view.events}
        well = self.until("is-well", "is not ready", unhealthy)
        self.assertEqual((well.containers[0].instance_view.restart_count, well.instance_view.state), (0, "Running"))
        control("PATCH", "behaviour", {"backOff": 200})
        self.make("is-ill", group(["sh", "-c", "sleep 100000"], container={"liveness_probe": exec_probe}))
        ill = self.until("is-ill", "was restarted", lambda got: got.containers[0].instance_view.restart_count > 0)
        control("PATCH", "behaviour", {"backOff": 10000})
        self.assertIn("Killing", {event.name for event in ill.containers[0].instance_view.events})

    def test_containers_of_a_group_share_a_network_and_an_end(self):
        body = group(["sh", "-c", "until wget -q -O - http://127.0.0.1:8080/word; do sleep 0.2; done; sleep 100000"])
        requests = ResourceRequests(cpu=0.5, memory_in_gb=0.5)
        serves = "mkdir /tmp/www; echo from-beside > /tmp/www/word; httpd -f -p 8080 -h /tmp/www"
        beside = Container(name="beside", image=ABOUT["image"], command=["sh", "-c", serves], resources=ResourceRequirements(requests=requests))
        body.containers.append(beside)
        self.make("two", body)
        self.log_until("two", "main", "from-beside")

    def test_a_log_is_cut_when_its_group_stops(self):
        self.make("long", group(["sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo line-$i; i=$((i+1)); done; echo last; sleep 100000"]))
        whole = self.log_until("long", "main", "last\n")
        self.assertTrue(whole.startswith("line-0\n"))
        self.groups.stop(GROUP, "long")
        self.until("long", "is stopped", lambda got: got.instance_view.state == "Stopped")
        kept = self.client.containers.list_logs(GROUP, "long", "main").content
        self.assertTrue(kept.endswith("last\n") and len(kept) <= 16 << 10, len(kept))

    def test_an_init_container_that_fails_for_good_fails_the_group(self):
        first = InitContainerDefinition(name="first", image=ABOUT["image"], command=["sh", "-c", "exit 3"])
        self.make("no-begin", group(policy="Never", init_containers=[first]))
        failed = self.until("no-begin", "has failed", lambda got: got.instance_view.state == "Failed")
        self.assertEqual(failed.init_containers[0].instance_view.current_state.exit_code, 3)
        self.assertEqual(failed.containers[0].instance_view.current_state.state, "Waiting")

    def test_a_cluster_s_token_is_as_good_as_a_secret(self):
        credentials, federated = ABOUT["credentials"], ABOUT["federated"]
        claims = {"iss": federated["issuer"], "sub": federated["subject"], "aud": "api://AzureADTokenExchange", "exp": time.time() + 60}

        def token(**other):
            part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
            whole = {**claims, **other}
            jwt = f"{part({'alg': 'RS256'})}.{part({**whole, 'exp': int(whole['exp'])})}.c2lnbmF0dXJl"
            credential = ClientAssertionCredential(
                credentials["tenantId"], credentials["clientId"], lambda: jwt, authority=ABOUT["url"], disable_instance_discovery=True, **OWN
            )
            return credential.get_token("https://management.azure.com/.default")

        self.assertGreater(token().expires_on, time.time() + 3000)
        for wrong, code in [
            ({"iss": "https://other.test"}, "AADSTS700211"),
            ({"sub": "system:serviceaccount:a:b"}, "AADSTS700213"),
            ({"aud": "other"}, "AADSTS700212"),
            ({"exp": 1}, "AADSTS700024"),
        ]:
            with self.assertRaises(ClientAuthenticationError) as refused:
                token(**wrong)
            self.assertIn(f"{code}:", str(refused.exception))

    def test_a_machine_has_tokens_of_its_identity(self):
        os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = ABOUT["plainUrl"]
        scope = "https://management.azure.com/.default"
        for chosen in [{}, {"client_id": ABOUT["identities"][0]}]:
            how = {"refuse": {"status": 410, "code": "gone", "message": "it is being updated"}}
            fault("GET", "/metadata/identity", how)
            self.assertGreater(ManagedIdentityCredential(**chosen).get_token(scope).expires_on, time.time() + 3000)
        with self.assertRaises((ClientAuthenticationError, CredentialUnavailableError)):
            ManagedIdentityCredential(client_id="other").get_token(scope)

    def test_answers_break_and_are_no_json_when_they_should(self):
        path = f"/{ABOUT['credentials']['tenantId']}/v2.0/.well-known/openid-configuration"
        trust = ssl.create_default_context(cafile=ABOUT["authority"])
        read = lambda: urllib.request.urlopen(f"{ABOUT['url']}{path}", context=trust, timeout=2).read()
        whole = read()
        json.loads(whole)
        fault("GET", path, "malformed")
        with self.assertRaises(json.JSONDecodeError):
            json.loads(read())
        fault("GET", path, "breakBody")
        with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
            read()
        fault("GET", path, "hang")
        with self.assertRaises(TimeoutError):
            read()
        fault("GET", path, {"delay": 500})
        began = time.monotonic()
        self.assertEqual(read(), whole)
        self.assertGreaterEqual(time.monotonic() - began, 0.5)
        fault("GET", path, "hold")
        with ThreadPoolExecutor() as pool:
            held = pool.submit(read)
            while control("GET", "faults"):
                time.sleep(0.1)
            self.assertFalse(held.done())
            control("POST", "release")
            self.assertEqual(held.result(), whole)

    def test_z_nothing_that_was_sent_breaks_the_schema(self):
        self.assertEqual(control("GET", "violations"), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
