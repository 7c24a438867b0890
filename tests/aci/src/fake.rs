//! A running fake, in the hands of a test.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::config::{Account, Behaviour, Config, RunsOn, Share};
use crate::engine::{Docker, Engine, Played};
use crate::fault::Fault;
use crate::group::Key;
use crate::record::{Request, Violation};
use crate::schema::Schemas;
use crate::token::AUDIENCES;
use crate::world::{World, lock};
use crate::{entra, run, server, tls};

/// What the certificate is for, and addresses of this machine besides.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];
const WORKERS: usize = 2;

/// A running fake. When it is dropped it ends what it runs.
pub struct Fake {
    world: Arc<World>,
    tls: SocketAddr,
    plain: SocketAddr,
    authority: PathBuf,
    end: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// What runs on the fake's own thread.
struct Listening {
    world: Arc<World>,
    tls: SocketAddr,
    plain: SocketAddr,
    authority: PathBuf,
    serving: (TcpListener, TlsAcceptor, TcpListener),
}

impl Fake {
    /// Starts one, on threads of its own: so a test that blocks does not stand in its way.
    ///
    /// # Errors
    ///
    /// It cannot listen, or the engine does not answer.
    pub fn start(config: Config) -> Result<Self> {
        let (ready, listening) = mpsc::channel();
        let (end, ended) = oneshot::channel::<Infallible>();
        let thread = thread::spawn(move || {
            let built = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
            let runtime = match built {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = ready.send(Err(anyhow!(error)));
                    return;
                }
            };
            runtime.block_on(async {
                match listen(config).await {
                    Ok(Listening { world, tls, plain, authority, serving: (one, acceptor, other) }) => {
                        if ready.send(Ok((world.clone(), tls, plain, authority))).is_err() {
                            return;
                        }
                        tokio::select! {
                            never = server::tls(one, acceptor, world.clone()) => match never {},
                            never = server::plain(other, world.clone()) => match never {},
                            _ = ended => {}
                        }
                        run::end_all(&world).await;
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            });
        });
        let (world, tls, plain, authority) = listening.recv().context("the fake has ended")??;
        Ok(Self { world, tls, plain, authority, end: Some(end), thread: Some(thread) })
    }

    /// Where applications sign in, and where the resource manager is: `https://localhost:PORT`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.tls.port())
    }

    /// Where the metadata service is, and the fake's own control: `http://127.0.0.1:PORT`.
    pub fn plain_url(&self) -> String {
        format!("http://{}", self.plain)
    }

    /// The certificate of its authority, as a file.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Where its files are, which is also the value of [`LABEL`](crate::LABEL) on its containers and volumes.
    pub fn folder(&self) -> &Path {
        &self.world.folder
    }

    /// Whose it is.
    pub fn account(&self) -> &Account {
        &self.world.account
    }

    /// A `credentials.json` that leads here with the application's secret.
    pub fn auth_file(&self) -> Value {
        let Account { tenant, subscription, client_id, client_secret, .. } = &self.world.account;
        let [audience, _] = AUDIENCES;
        serde_json::json!({
            "clientId": client_id, "clientSecret": client_secret, "subscriptionId": subscription, "tenantId": tenant,
            "activeDirectoryEndpointUrl": self.url(), "resourceManagerEndpointUrl": format!("{}/", self.url()),
            "activeDirectoryGraphResourceId": "https://graph.windows.net/",
            "managementEndpointUrl": audience,
        })
    }

    /// All that a client in another language is told of it.
    pub fn about(&self) -> Value {
        let Account { resource_groups, regions, shares, federated, identities, .. } = &self.world.account;
        let federated = federated.as_ref().map(|of| serde_json::json!({"issuer": of.issuer, "subject": of.subject}));
        let share = shares
            .first()
            .map(|Share { account, key, name }| serde_json::json!({"account": account, "key": key, "name": name}));
        serde_json::json!({
            "url": self.url(), "plainUrl": self.plain_url(), "authority": self.authority(), "credentials": self.auth_file(),
            "resourceGroups": resource_groups, "regions": regions, "share": share,
            "federated": federated, "identities": identities,
        })
    }

    /// How it behaves.
    pub fn behaviour(&self) -> Behaviour {
        self.world.behaviour()
    }

    /// Changes how it behaves from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.world.behave(change);
    }

    /// Something goes wrong.
    pub fn fault(&self, fault: Fault) {
        lock(&self.world.faults).add(fault);
    }

    /// What is still to go wrong; none: all went wrong as often as it was to. A fault is gone once its last request is there.
    pub fn faults(&self) -> Vec<Fault> {
        lock(&self.world.faults).left()
    }

    /// Nothing goes wrong any more.
    pub fn clear_faults(&self) {
        lock(&self.world.faults).clear();
    }

    /// All requests that are held ([`How::Hold`](crate::How::Hold)) are done now.
    pub fn release(&self) {
        self.world.releases.send_replace(());
    }

    /// All tokens end now.
    pub fn expire_tokens(&self) {
        lock(&self.world.tokens).expire();
    }

    /// Tokens that were given lose their rights, or get them back.
    pub fn set_powerless(&self, powerless: bool) {
        lock(&self.world.tokens).set_powerless(powerless);
    }

    /// A token of the cluster whose tokens the application takes for its own, as the kubelet writes it into a file; none: there
    /// is no such cluster.
    pub fn assertion(&self, life: Duration) -> Option<String> {
        let assertion = entra::assertion(self.world.account.federated.as_ref()?, life);
        lock(&self.world.tokens).note(assertion.clone());
        Some(assertion)
    }

    /// How many tokens were given.
    pub fn tokens(&self) -> u32 {
        lock(&self.world.tokens).given()
    }

    /// All that somebody could sign in with and that was made here: tokens of both issuers, and the cluster's. None of it is to be in
    /// anybody's log.
    pub fn issued(&self) -> Vec<String> {
        lock(&self.world.tokens).issued()
    }

    /// How long it runs: for [`count`](Self::count).
    pub fn elapsed(&self) -> Duration {
        self.world.started.elapsed()
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.world.record).requests.clone()
    }

    /// Requests that came after `since` and are as `is` says.
    pub fn count(&self, since: Duration, is: impl Fn(&Request) -> bool) -> usize {
        lock(&self.world.record).count(since, is)
    }

    /// Groups that were made, by their tag `UID`.
    pub fn made(&self) -> BTreeMap<String, u32> {
        lock(&self.world.record).made.clone()
    }

    /// Groups that were there and were put again, which starts their containers anew, by the tag `UID` of what was put.
    pub fn changed(&self) -> BTreeMap<String, u32> {
        lock(&self.world.record).changed.clone()
    }

    /// The same where it was refused, as the group was being made or removed, or cannot become what was put.
    pub fn conflicts(&self) -> BTreeMap<String, u32> {
        lock(&self.world.record).conflicts.clone()
    }

    /// What Microsoft's schema forbids of what was sent, or the least roles of a provider of ours. A test fails that finds any.
    pub fn violations(&self) -> Vec<Violation> {
        lock(&self.world.record).violations.clone()
    }

    /// The groups that are there, as `GET` shows them, with what is only pretended of each.
    pub fn groups(&self) -> Vec<(Value, Vec<&'static str>)> {
        let groups: Vec<_> = lock(&self.world.groups).values().filter(|group| !group.is_gone()).cloned().collect();
        groups.iter().map(|group| (group.shown(true), group.state().spec.pretended())).collect()
    }

    /// One of them, by its name; none: it is not there.
    pub fn group(&self, resource_group: &str, name: &str) -> Option<Value> {
        let subscription = self.world.account.subscription.clone();
        let key = Key { subscription, resource_group: resource_group.to_owned(), name: name.to_owned() };
        self.world.group(&key).ok().map(|group| group.shown(true))
    }

    /// Where the files of a share are.
    pub fn share(&self, account: &str, share: &str) -> PathBuf {
        run::share_folder(&self.world.folder, account, share)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            // It has panicked: nothing runs any more.
            let _ = thread.join();
        }
    }
}

async fn listen(config: Config) -> Result<Listening> {
    let Config { folder, runs_on, port, plain_port, account, behaviour } = config;
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let tls::Tls { config, authority } = tls::make(&folder, &NAMES)?;
    let engine = match runs_on {
        RunsOn::Docker { socket, pause } => {
            Engine::Docker(Docker::at(&socket, &pause, &folder.display().to_string()).await?)
        }
        RunsOn::Nothing => Engine::Played(Played::default()),
    };
    let one = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("listen")?;
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, plain_port)).await.context("listen")?;
    let (tls, plain) = (one.local_addr()?, other.local_addr()?);
    let world = Arc::new(World::new(account, behaviour, folder, engine, Schemas::load()?));
    Ok(Listening { world, tls, plain, authority, serving: (one, TlsAcceptor::from(config), other) })
}
