use std::sync::Mutex;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::pods::played::ApiServer;

const NAME: &str = "s";

fn key() -> Key {
    Key { kind: Kind::Secret, namespace: "default".into(), name: NAME.into() }
}

/// A Secret of one value, in base64.
fn put(server: &ApiServer, value: &str) {
    server.put("secrets", NAME, json!({"data": {"key": value}}));
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(300);
    while !is() {
        assert!(Instant::now() < limit, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_follows_with_what_is_outworn_hears_of_it_at_once() {
    let server = Arc::<ApiServer>::default();
    let objects = Arc::new(Objects::new(server.client()));
    put(&server, "b25l");
    let old = objects.read(&key()).await;
    let mut first = objects.follow(key(), old.clone());
    put(&server, "dHdv");
    first.changed().await;
    let mut second = objects.follow(key(), old);
    second.changed().await;
    until("it is watched", || !server.watched().is_empty()).await;
    let new = objects.get(&key()).await;
    let mut third = objects.follow(key(), new);
    let hears = tokio::time::timeout(Duration::from_secs(60), third.changed());
    assert!(hears.await.is_err(), "it has what there is");
    assert_eq!(server.asked(), ["get secrets/s", "list secrets/s", "watch secrets/s"]);
}

/// What becomes of a watch that is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Opens {
    Yes,
    No,
    Hangs,
}

/// A client of the server on a way on which watches become of this.
fn client(server: &Arc<ApiServer>, opens: &Arc<Mutex<Opens>>) -> Client {
    let (inner, opens) = (server.client(), opens.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, opens) = (inner.clone(), *opens.lock().unwrap());
        async move {
            let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            match opens {
                Opens::No if watches => {
                    let status = json!({"kind": "Status", "status": "Failure", "reason": "Busy", "code": 503});
                    Ok(Response::builder().status(503).body(Body::from(status.to_string().into_bytes())).unwrap())
                }
                Opens::Hangs if watches => std::future::pending().await,
                _ => inner.send(request).await,
            }
        }
    });
    Client::new(service, "default")
}

fn value(lookup: &Lookup) -> Value {
    match lookup {
        Lookup::Found(data) => json!(String::from_utf8_lossy(&data.values["key"])),
        _ => Value::Null,
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_watched_is_no_older_for_whoever_asks_and_changes_are_heard_all_the_same() {
    for opens in [Opens::No, Opens::Hangs] {
        let (server, way) = (Arc::<ApiServer>::default(), Arc::new(Mutex::new(opens)));
        let objects = Arc::new(Objects::new(client(&server, &way)));
        put(&server, "b25l");
        let found = objects.read(&key()).await;
        let mut followed = objects.follow(key(), found);
        // Longer than everything of kube's own would have taken to be listed.
        tokio::time::sleep(Duration::from_secs(5)).await;
        put(&server, "dHdv");
        assert_eq!(value(&*objects.get(&key()).await), "two", "whoever asks now has what there is now");
        let heard = tokio::time::timeout(Duration::from_secs(120), followed.changed());
        heard.await.expect("it is listed again");
        // Where watches are opened again, one is enough.
        *way.lock().unwrap() = Opens::Yes;
        until("it is watched", || !server.watched().is_empty()).await;
        server.asked();
        put(&server, "dGhyZWU=");
        followed.changed().await;
        assert_eq!(value(&*objects.get(&key()).await), "three");
        assert!(server.asked().is_empty(), "the watch has told it");
    }
}
