//! What a plugin was granted, and what it looks like from there.

use tokio::net::{TcpListener, UnixListener};
use vk_host::plugin::LoadError;

use crate::place::Setting;
use crate::servers::{Web, pong};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_sees_the_authority_that_the_guest_wrote() {
    let web = Web::new().await;
    let setting = Setting { grants: vec!["addresses=127.0.0.1".into()], ..Setting::default() };
    let place = setting.grant("http", &format!("http://good.test:{}", web.port)).load().await;
    place.names.set("good.test", "127.0.0.1");
    let authority = format!("Good.Test:{}", web.port);
    let length = format!("200, {} bytes", authority.len());
    assert_eq!(place.fetch(&[&format!("GET http://{authority}/host")]).await, [length.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_outlive_calls() {
    let web = Web::new().await;
    let origin = format!("http://127.0.0.1:{}", web.port);
    let place = Setting::default().grant("http", &origin).load().await;
    for _ in 0..5 {
        assert_eq!(place.fetch(&[&format!("GET {origin}/")]).await, ["200, 5 bytes"]);
    }
    assert_eq!(web.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_reached_by_its_name_in_every_way() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    let socket = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        for upgrades in [true, false] {
            let (stream, _) = socket.accept().await.unwrap();
            pong(stream, upgrades).await.unwrap();
        }
    });
    let place = Setting::default().endpoint("engine", &format!("unix://{}", path.display())).load().await;
    let outcomes = place
        .fetch(&["upgrade http://engine.endpoint.internal/session tcp", "connect tcp://engine.endpoint.internal"])
        .await;
    assert_eq!(outcomes, ["101, pong", "101, pong"]);
    drop(place);
    let web = Web::new().await;
    let place = Setting::default().endpoint("engine", &format!("http://127.0.0.1:{}", web.port)).load().await;
    let outcomes =
        place.fetch(&["GET http://engine.endpoint.internal/", "GET https://engine.endpoint.internal/host"]).await;
    assert_eq!(outcomes, ["200, 5 bytes", "200, 24 bytes"], "however it is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_is_upgraded_and_connected_to_where_that_is_granted() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = server.local_addr().unwrap();
    let setting = Setting::default().grant("upgrade", &format!("http://{at}")).grant("connect", &format!("tcp://{at}"));
    let place = setting.load().await;
    tokio::spawn(async move {
        for upgrades in [true, false] {
            let (stream, _) = server.accept().await.unwrap();
            pong(stream, upgrades).await.unwrap();
        }
    });
    let upgrade = format!("upgrade http://{at}/ tcp");
    let (connect, request) = (format!("connect tcp://{at}"), format!("GET http://{at}/"));
    let outcomes = place.fetch(&[&upgrade, &connect, &request]).await;
    assert_eq!(outcomes, ["101, pong", "101, pong", "error HTTP-request-denied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_and_a_file_are_given_where_they_are_granted() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "12345").unwrap();
    let name = file.path().to_str().unwrap().to_owned();
    // Cargo sets it for the tests of a package.
    let place = Setting::default().grant("environment", "CARGO_PKG_NAME").grant("file", &name).load().await;
    let commands = ["environment CARGO_PKG_NAME", &format!("file {name}"), "environment CARGO_PKG_VERSION"];
    assert_eq!(place.fetch(&commands).await, ["vk-host", "5 bytes", "unset"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_wants_more_is_not_loaded() {
    let mut setting = Setting::default().grant("http", "http://127.0.0.1:80");
    setting.wants.extend(["http http://127.0.0.1:81", "endpoint engine", "file /etc/passwd"].map(str::to_owned));
    let error = setting.try_load().await.err().unwrap();
    let LoadError::NotGranted(missing) = &error else { panic!("{error}") };
    assert_eq!(missing.len(), 3, "{error}");
}
