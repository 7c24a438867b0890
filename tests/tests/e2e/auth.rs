//! Who may speak to the node's port, by which right, and under which certificate the node answers.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use reqwest::{Client, ClientBuilder, Method, Response};
use serde_json::{Value, json};
use vk_tests::cluster::{Corner, event, eventually};
use vk_tests::control_plane::{ControlPlane, Credentials, Identity, succeed};

/// Flags with which every right is asked for each time.
const NO_CACHE: [&str; 2] =
    ["--authorization-webhook-cache-authorized-ttl=0s", "--authorization-webhook-cache-unauthorized-ttl=0s"];

/// The port of the kubelet API, as the Node says.
async fn port(corner: &Corner<'_>) -> Result<u16> {
    let nodes: Api<Node> = Api::all(corner.client.clone());
    let status = nodes.get(corner.host.node()).await?.status.context("no status")?;
    let endpoint = status.daemon_endpoints.and_then(|endpoints| endpoints.kubelet_endpoint);
    Ok(endpoint.context("no endpoint")?.port.try_into()?)
}

/// A client of the node that takes its certificate whoever signed it, and may tell which it was.
fn trusting() -> ClientBuilder {
    Client::builder().danger_accept_invalid_certs(true).tls_info(true)
}

/// The same with a client certificate.
fn with_certificate(credentials: &Credentials) -> Result<ClientBuilder> {
    let pem = [fs::read(&credentials.certificate)?, fs::read(&credentials.key)?].concat();
    Ok(trusting().identity(reqwest::Identity::from_pem(&pem)?))
}

/// Asks the node, over a new connection.
async fn ask(corner: &Corner<'_>, client: ClientBuilder, token: Option<&str>, path: &str) -> Result<(u16, String)> {
    let request = client.build()?.get(format!("https://127.0.0.1:{}{path}", port(corner).await?));
    let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
    let response = request.send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}

/// The certificate that the node showed.
fn shown(response: &Response) -> Result<Vec<u8>> {
    let info = response.extensions().get::<reqwest::tls::TlsInfo>().context("no TLS")?;
    Ok(info.peer_certificate().context("no certificate")?.to_vec())
}

/// The certificate that the node shows to a new connection.
async fn shows(corner: &Corner<'_>) -> Result<Vec<u8>> {
    let request = trusting().build()?.get(format!("https://127.0.0.1:{}/", port(corner).await?));
    shown(&request.send().await?)
}

/// A token of a service account of the test's namespace, which is made.
async fn token(corner: &Corner<'_>, account: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let params = PostParams::default();
    accounts.create(&params, &serde_json::from_value(json!({"metadata": {"name": account}}))?).await?;
    let request = TokenRequest::default();
    let made = accounts.create_token_request(account, &params, &request).await?;
    made.status.and_then(|status| status.token).context("no token")
}

fn account(corner: &Corner<'_>, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "namespace": corner.namespace, "name": name})
}

/// Gives a right to this subject, of this node alone; returns the name of role and binding.
async fn allow(corner: &Corner<'_>, name: &str, subject: Value, subresource: &str, node: &str) -> Result<String> {
    let name = format!("{}-{name}", corner.namespace);
    let rule = json!({"apiGroups": [""], "resources": [format!("nodes/{subresource}")], "resourceNames": [node], "verbs": ["get"]});
    let role = json!({"metadata": {"name": name}, "rules": [rule]});
    let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    let binding = json!({"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]});
    let (roles, params) = (Api::<ClusterRole>::all(corner.client.clone()), PostParams::default());
    roles.create(&params, &serde_json::from_value(role)?).await?;
    bindings(corner).create(&params, &serde_json::from_value(binding)?).await?;
    Ok(name)
}

fn bindings(corner: &Corner<'_>) -> Api<ClusterRoleBinding> {
    Api::all(corner.client.clone())
}

/// Waits until the API server's authorizer, which follows its own watch, has taken note.
async fn status_becomes(corner: &Corner<'_>, token: Option<&str>, path: &str, allowed: bool) -> Result<()> {
    eventually(&format!("{path} is {}", if allowed { "allowed" } else { "forbidden" }), || async {
        let (status, body) = ask(corner, trusting(), token, path).await?;
        ensure!(status != 401 && status != 500, "{status} {body}");
        Ok(((status != 403) == allowed).then_some(()))
    })
    .await
}

#[tokio::test]
async fn nobody_and_a_wrong_token_are_refused_whatever_they_ask_for() -> Result<()> {
    let corner = Corner::new("auth-nobody").await?;
    let foreign = Identity { user: "admin".into(), groups: vec!["system:masters".into()], impostor: true };
    let foreign = corner.control_plane.issue(&foreign)?;
    for path in
        ["/containerLogs/default/web/main", "/metrics/resource", "/stats/summary", "/pods", "/healthz", "/", "/none"]
    {
        let refused = (401, "Unauthorized".to_string());
        assert_eq!(ask(&corner, trusting(), None, path).await?, refused, "{path}");
        assert_eq!(ask(&corner, trusting(), Some("wrong"), path).await?, refused, "{path}");
        assert_eq!(ask(&corner, with_certificate(&foreign)?, None, path).await?, refused, "{path}");
    }
    // Once for all of them.
    let log = corner.host.log()?;
    let told =
        |line: &&str| line.contains("WARN") && line.contains("CN=\"admin\"") && line.contains("--client-ca-file");
    assert_eq!(log.lines().filter(told).count(), 1, "{log}");
    // It is neither better nor worse than none, for one who has a token.
    let token = token(&corner, "monitor").await?;
    assert_eq!(ask(&corner, with_certificate(&foreign)?, Some(&token), "/metrics").await?.0, 403);
    Ok(())
}

/// More than the node serves at once, and they say nothing.
#[tokio::test]
async fn silent_connections_do_not_shut_the_api_server_out() -> Result<()> {
    let corner = Corner::new("auth-silent").await?;
    corner.create(corner.pod("web", json!({}))).await?;
    corner.running("web").await?;
    let port = port(&corner).await?;
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?);
    }
    let log = tokio::time::timeout(Duration::from_secs(5), corner.log("web")).await;
    assert!(!log.context("nobody is served")??.is_empty());
    assert_eq!(ask(&corner, trusting(), None, "/healthz").await?.0, 401);
    Ok(())
}

#[tokio::test]
async fn a_token_may_what_rbac_says_path_by_path() -> Result<()> {
    let corner =
        Corner::with("auth-token", |config| NO_CACHE.into_iter().fold(config, |config, flag| config.flag(flag)))
            .await?;
    corner.create(corner.pod("web", json!({}))).await?;
    corner.running("web").await?;
    let node = corner.host.node();
    let logs = format!("/containerLogs/{}/web/main", corner.namespace);

    let nobody = token(&corner, "nobody").await?;
    for (path, tried) in [
        (logs.as_str(), "proxy"),
        ("/exec/default/web/main", "proxy"),
        ("/none", "proxy"),
        ("/metrics/resource", "metrics"),
        ("/stats/summary", "stats"),
        ("/pods", "pods proxy"),
        ("/healthz", "healthz proxy"),
        ("/configz", "configz proxy"),
    ] {
        let text = format!(
            "Forbidden (user=system:serviceaccount:{}:nobody, verb=get, resource=nodes, subresource(s)=[{tried}])\n",
            corner.namespace
        );
        assert_eq!(ask(&corner, trusting(), Some(&nobody), path).await?, (403, text), "{path}");
    }

    // Which paths a subresource opens, and which it does not.
    for (subresource, open, closed) in [
        ("proxy", vec![&logs, "/pods", "/healthz", "/none"], vec!["/metrics/resource", "/stats/summary"]),
        ("metrics", vec!["/metrics", "/metrics/resource"], vec![&logs, "/pods", "/stats/summary", "/healthz"]),
        ("stats", vec!["/stats/summary"], vec![&logs, "/metrics/resource", "/pods"]),
        ("pods", vec!["/pods", "/runningpods/"], vec![&logs, "/metrics", "/healthz"]),
    ] {
        let token = token(&corner, subresource).await?;
        allow(&corner, subresource, account(&corner, subresource), subresource, node).await?;
        for path in open {
            status_becomes(&corner, Some(&token), path, true).await?;
        }
        for path in closed {
            assert_eq!(ask(&corner, trusting(), Some(&token), path).await?.0, 403, "{subresource}: {path}");
        }
        if subresource == "proxy" {
            assert_eq!(ask(&corner, trusting(), Some(&token), &logs).await?.0, 200);
            let url = format!("https://127.0.0.1:{}{logs}", port(&corner).await?);
            let post = trusting().build()?.request(Method::POST, url).bearer_auth(&token).send().await?;
            assert_eq!(post.status(), 403, "the role is for get");
            let text = post.text().await?;
            assert!(text.contains("verb=create"), "{text}");
        }
    }

    // Of another node: what was given later is in force, so this is too.
    let elsewhere = token(&corner, "elsewhere").await?;
    allow(&corner, "elsewhere", account(&corner, "elsewhere"), "metrics", "another-node").await?;
    allow(&corner, "elsewhere-here", account(&corner, "elsewhere"), "stats", node).await?;
    status_becomes(&corner, Some(&elsewhere), "/stats/summary", true).await?;
    assert_eq!(ask(&corner, trusting(), Some(&elsewhere), "/metrics").await?.0, 403);

    // A right that is taken away is gone, where none is kept.
    let late = token(&corner, "late").await?;
    let name = allow(&corner, "late", account(&corner, "late"), "proxy", node).await?;
    status_becomes(&corner, Some(&late), &logs, true).await?;
    bindings(&corner).delete(&name, &DeleteParams::default()).await?;
    status_becomes(&corner, Some(&late), &logs, false).await
}

#[tokio::test]
async fn nobody_in_particular_is_let_in_where_flag_and_rbac_say_so() -> Result<()> {
    let corner = Corner::with("auth-anonymous", |config| {
        NO_CACHE.into_iter().fold(config, |config, flag| config.flag(flag)).flag("--anonymous-auth=true")
    })
    .await?;
    let (status, text) = ask(&corner, trusting(), None, "/metrics").await?;
    assert_eq!(status, 403, "{text}");
    assert!(text.contains("user=system:anonymous") && text.contains("[metrics]"), "{text}");
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated"});
    allow(&corner, "anonymous", subject, "metrics", corner.host.node()).await?;
    status_becomes(&corner, None, "/metrics", true).await?;
    assert_eq!(ask(&corner, trusting(), None, "/healthz").await?.0, 403);
    assert_eq!(ask(&corner, trusting(), Some("wrong"), "/metrics").await?.0, 401, "a wrong token is not no token");
    Ok(())
}

#[tokio::test]
async fn tokens_can_be_turned_off() -> Result<()> {
    let corner = Corner::with("auth-no-tokens", |config| config.flag("--authentication-token-webhook=false")).await?;
    let token = token(&corner, "monitor").await?;
    assert_eq!(ask(&corner, trusting(), Some(&token), "/healthz").await?.0, 401);
    let api_server = corner.control_plane.issue(&ControlPlane::kubelet_client())?;
    assert_ne!(
        ask(&corner, with_certificate(&api_server)?, Some(&token), "/healthz").await?.0,
        401,
        "a certificate wins"
    );
    Ok(())
}

/// A directory as a mounted Secret is: its files are behind a link that is swapped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(control_plane: &ControlPlane, name: &str) -> Result<Self> {
        let directory = control_plane.dir().join(name);
        fs::create_dir(&directory)?;
        Ok(Self(directory))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join("..data").join(name)
    }

    /// Makes it hold these files.
    fn hold(&self, version: &str, files: &[(&str, &Path)]) -> Result<()> {
        fs::create_dir(self.0.join(version))?;
        for (name, source) in files {
            fs::copy(source, self.0.join(version).join(name))?;
        }
        let link = self.0.join("..data-new");
        symlink(version, &link)?;
        Ok(fs::rename(link, self.0.join("..data"))?)
    }
}

/// The one certificate of a PEM file.
fn der(path: &Path) -> Result<Vec<u8>> {
    use rustls::pki_types::pem::PemObject as _;
    Ok(rustls::pki_types::CertificateDer::from_pem_file(path)?.to_vec())
}

#[tokio::test]
async fn certificates_are_replaced_while_a_log_is_followed() -> Result<()> {
    let control_plane = vk_tests::cluster::shared_control_plane()?;
    let secret = Mounted::new(control_plane, "auth-files")?;
    let issue = |user: &str| {
        let identity = Identity { user: user.into(), ..Identity::default() };
        control_plane.issue(&identity)
    };
    let (one, two, three) = (issue("serving-one")?, issue("serving-two")?, issue("serving-three")?);
    secret.hold("1", &[("tls.crt", &one.certificate), ("tls.key", &one.key), ("ca.crt", control_plane.ca_file())])?;
    let corner = Corner::with("auth-files", |config| {
        let flag = |name: &str, file: &str| format!("{name}={}", secret.file(file).display());
        config
            .flag(flag("--tls-cert-file", "tls.crt"))
            .flag(flag("--tls-private-key-file", "tls.key"))
            .flag(flag("--client-ca-file", "ca.crt"))
    })
    .await?;
    corner.create(corner.pod("web", json!({"log-every": "100ms"}))).await?;
    corner.running("web").await?;
    let api_server = control_plane.issue(&ControlPlane::kubelet_client())?;
    let url = format!("https://127.0.0.1:{}/containerLogs/{}/web/main", port(&corner).await?, corner.namespace);
    let follow = with_certificate(&api_server)?.build()?.get(format!("{url}?follow=true")).send().await?;
    assert_eq!((follow.status().as_u16(), shown(&follow)?), (200, der(&one.certificate)?));
    let mut follow = follow.bytes_stream();
    let mut log = Vec::new();
    // Reads on until there are so many lines more.
    let mut read_on = async |lines: usize| -> Result<String> {
        let wanted = lines + log.iter().filter(|byte| **byte == b'\n').count();
        while log.iter().filter(|byte| **byte == b'\n').count() < wanted {
            let next = tokio::time::timeout(vk_tests::cluster::PATIENCE, follow.next()).await?;
            log.extend_from_slice(&next.context("the log has ended")??);
        }
        let text = String::from_utf8(log.clone())?;
        Ok(text.rsplit_once('\n').context("no line")?.0.to_string())
    };
    read_on(3).await?;

    secret.hold("2", &[("tls.crt", &two.certificate), ("tls.key", &two.key), ("ca.crt", control_plane.ca_file())])?;
    let second = der(&two.certificate)?;
    eventually("new connections see the second certificate", || async {
        Ok((shows(&corner).await? == second).then_some(()))
    })
    .await?;

    // A certificate with another one's key, and authorities that are none.
    secret.hold("3", &[("tls.crt", &three.certificate), ("tls.key", &two.key), ("ca.crt", &two.key)])?;
    event(&corner.client, "default", corner.host.node(), "CertificateRefused").await?;
    assert_eq!(shows(&corner).await?, second, "the old one serves on");
    assert_eq!(ask(&corner, with_certificate(&api_server)?, None, "/none").await?.0, 404, "whom it knew it knows");

    // Another authority's clients: those of before are known no more, not even over a connection that they have.
    let front_proxy = control_plane.dir().join("pki/front-proxy-ca.crt");
    let connected = with_certificate(&api_server)?.build()?;
    // Read to its end, so that the connection can be used again.
    assert!(!connected.get(&url).send().await?.error_for_status()?.bytes().await?.is_empty());
    secret.hold("4", &[("tls.crt", &three.certificate), ("tls.key", &three.key), ("ca.crt", &front_proxy)])?;
    let third = der(&three.certificate)?;
    eventually("new connections see the third certificate", || async {
        Ok((shows(&corner).await? == third).then_some(()))
    })
    .await?;
    eventually("clients of before are refused", || async {
        let old = connected.get(&url).send().await?.status();
        let (new, _) = ask(&corner, with_certificate(&api_server)?, None, "/none").await?;
        Ok((old == 401 && new == 401).then_some(()))
    })
    .await?;

    // All the while one reader has read on.
    let log = read_on(3).await?;
    let ticks: Vec<&str> = log.lines().filter(|line| line.starts_with("tick ")).collect();
    let expected: Vec<String> = (1..=ticks.len()).map(|n| format!("tick {n}")).collect();
    assert_eq!(ticks, expected, "none lost, none twice");
    Ok(())
}

/// Requests of this node for a serving certificate that nobody has answered.
async fn open_requests(corner: &Corner<'_>) -> Result<Vec<CertificateSigningRequest>> {
    let requests: Api<CertificateSigningRequest> = Api::all(corner.client.clone());
    let signer = ListParams::default().fields("spec.signerName=kubernetes.io/kubelet-serving");
    let user = format!("system:node:{}", corner.host.node());
    let all = requests.list(&signer).await?.items.into_iter();
    Ok(all
        .filter(|request| request.spec.username.as_ref() == Some(&user))
        .filter(|request| {
            request.status.as_ref().is_none_or(|status| status.conditions.iter().flatten().next().is_none())
        })
        .collect())
}

pub(crate) async fn open_request(corner: &Corner<'_>) -> Result<String> {
    let request = eventually("the node asks for a certificate", || async { Ok(open_requests(corner).await?.pop()) });
    request.await?.metadata.name.context("no name")
}

/// What the node says to one who trusts the cluster's authority alone and calls it by this name.
async fn verified(corner: &Corner<'_>, name: &str) -> Result<u16> {
    let port = port(corner).await?;
    let authority = reqwest::Certificate::from_pem(&fs::read(corner.control_plane.ca_file())?)?;
    let client = Client::builder()
        .tls_built_in_root_certs(false)
        .add_root_certificate(authority)
        .resolve(name, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    Ok(client.build()?.get(format!("https://{name}:{port}/healthz")).send().await?.status().as_u16())
}

#[tokio::test]
async fn an_approved_request_gives_the_node_a_certificate_of_the_cluster() -> Result<()> {
    let corner = Corner::with("auth-csr", |config| config.flag("--rotate-server-certificates")).await?;
    let node = corner.host.node().to_string();
    let answer =
        |verb: &str, name: &str| succeed(&mut corner.control_plane.kubectl(&["certificate", verb, name])).map(drop);

    // A no is not the end of it.
    let denied = open_request(&corner).await?;
    event(&corner.client, "default", &node, "ServingCertificateRequested").await?;
    answer("deny", &denied)?;
    event(&corner.client, "default", &node, "ServingCertificateDenied").await?;
    let name = open_request(&corner).await?;
    assert_ne!(name, denied);
    assert!(verified(&corner, "127.0.0.1").await.is_err(), "nothing is approved by itself");
    assert_eq!(ask(&corner, trusting(), None, "/healthz").await?.0, 401, "self-signed until then");

    // A request waits over a restart.
    let mut corner = corner;
    corner.host.kill()?;
    let said = corner.host.log()?.len();
    let corner = corner.restarted()?;
    eventually("the restarted host waits for the same request", || async {
        let log = corner.host.log()?;
        Ok(log[said..].contains(&format!("kubectl certificate approve {name}")).then_some(()))
    })
    .await?;
    assert_eq!(open_requests(&corner).await?.len(), 1, "the one of before");

    succeed(&mut corner.control_plane.kubectl(&["certificate", "approve", &name]))?;
    for called in ["127.0.0.1", node.as_str()] {
        let status = eventually("it is verified", || async { Ok(Some(verified(&corner, called).await?)) }).await?;
        assert_eq!(status, 401, "{called}");
    }
    event(&corner.client, "default", &node, "ServingCertificateIssued").await?;
    let kept = corner.host.config().state_dir.join("kubelet-server-current.pem");
    assert_eq!(fs::metadata(&kept)?.permissions().mode() & 0o777, 0o600);
    assert!(!corner.host.config().state_dir.join("kubelet-server-pending.pem").exists());

    // It is kept, too.
    let before = shows(&corner).await?;
    let mut corner = corner;
    corner.host.kill()?;
    let corner = corner.restarted()?;
    eventually("the certificate of before serves", || async { Ok((shows(&corner).await? == before).then_some(())) })
        .await?;
    assert!(open_requests(&corner).await?.is_empty());
    Ok(())
}
