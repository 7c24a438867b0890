//! Every mistake is one line that says what is wrong and how to mend it; 64 for usage, 1 otherwise.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpSocket;
use vk_tests::cluster::{Corner, PATIENCE, shared_control_plane, unique};
use vk_tests::control_plane::Identity;
use vk_tests::host::{self, HostConfig};

/// Runs the host to its end and returns exit code and last words: one line, after whatever it has logged before.
fn refused(config: &HostConfig) -> Result<(Option<i32>, String)> {
    let (status, said) = config.run(PATIENCE)?;
    let last = said.lines().last().context("it says nothing")?;
    assert!(last.starts_with("vk-host: "), "one line, and not\n{said}");
    Ok((status.code(), last.to_string()))
}

fn config() -> Result<HostConfig> {
    HostConfig::mock(shared_control_plane()?, &unique("bad-input"))
}

fn file(config: &HostConfig, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
    let path = config.state_dir.join(name);
    fs::write(&path, content)?;
    Ok(path)
}

#[test]
fn a_plugin_that_is_none_is_refused_by_what_it_is() -> Result<()> {
    let mut config = config()?;
    let table = [
        ("missing.wasm", None, "there is no plugin"),
        ("text.wasm", Some("hello".as_bytes().to_vec()), "not WebAssembly"),
        ("module.wasm", Some(b"\0asm\x01\0\0\0".to_vec()), "core module"),
        ("empty.wasm", Some(b"\0asm\x0d\0\x01\0".to_vec()), "exports no"),
    ];
    for (name, content, says) in table {
        config.plugin = match content {
            Some(content) => file(&config, name, content)?,
            None => config.state_dir.join(name),
        };
        let (code, line) = refused(&config)?;
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains(says), "{name}: {line}");
    }
    Ok(())
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_named() -> Result<()> {
    let mut config = config()?;
    config.kubeconfig = config.state_dir.join("none");
    let (code, line) = refused(&config)?;
    assert!(code == Some(1) && line.contains("--kubeconfig") && line.contains("none"), "{line}");
    config.kubeconfig = file(&config, "broken", "clusters: 7\n")?;
    let (code, line) = refused(&config)?;
    assert!(code == Some(1) && line.contains("broken") && line.contains("--kubeconfig"), "{line}");
    Ok(())
}

#[test]
fn an_api_server_that_does_not_answer_is_named() -> Result<()> {
    let mut config = config()?;
    // Bound and not listening: whoever dials it is refused, and nobody else can have the port.
    let nobody = TcpSocket::new_v4()?;
    nobody.bind("127.0.0.1:0".parse()?)?;
    let address = nobody.local_addr()?;
    let server = shared_control_plane()?.server().to_string();
    let text = fs::read_to_string(&config.kubeconfig)?.replace(&server, &format!("https://{address}"));
    config.kubeconfig = file(&config, "unreachable", text)?;
    let (code, line) = refused(&config)?;
    assert!(code == Some(1) && line.contains(&address.to_string()) && line.contains("refused"), "{line}");
    Ok(())
}

#[test]
fn a_mistake_in_the_provider_s_configuration_is_told_with_field_and_line() -> Result<()> {
    let mut config = config()?;
    for (text, says) in [
        ("cpu = \"20\"\nmemory = \"lots\"\n", vec!["memory", "lots", "line 2"]),
        ("cpu = \n", vec!["line 1"]),
        ("{\"x\": {\"cpu\": 20,}}", vec!["line 1"]),
        ("cpus = \"20\"\n", vec!["cpus"]),
    ] {
        config.provider_config = Some(text.into());
        let (status, said) = config.run(PATIENCE)?;
        assert_eq!(status.code(), Some(1), "{said}");
        // One line, and below it one for each mistake.
        let mut error = said.lines().skip_while(|line| !line.starts_with("vk-host: "));
        assert!(error.next().is_some(), "{said}");
        let mistakes: Vec<&str> = error.collect();
        assert!(!mistakes.is_empty() && mistakes.iter().all(|line| line.starts_with("  ")), "{said}");
        for part in says {
            let told = mistakes.iter().any(|line| line.contains(part));
            assert!(told, "{text:?} should be answered with {part:?}: {said}");
        }
    }
    Ok(())
}

#[test]
fn every_mistake_of_the_file_of_config_is_told_with_file_line_field_and_value() -> Result<()> {
    let base = config()?;
    let table: [(&str, &[&str]); 7] = [
        ("[grants]\nhtpp = [\"http://10.0.0.7:5000\"]\n", &[":2: grants.htpp: ", "http, upgrade, connect"]),
        ("[grants]\nhttp = [\"10.0.0.7:5000\"]\n", &[":2: grants.http[0] = \"10.0.0.7:5000\": "]),
        (
            "[endpoints.engine]\nurl = \"http://10.0.0.7:2375/v1.41\"\n",
            &[":2: endpoints.engine.url = \"http://10.0.0.7:2375/v1.41\": ", "write http://10.0.0.7:2375"],
        ),
        (
            "[endpoints.engine]\nurl = \"unix:///run/docker.sock\"\n[endpoints.engine]\nurl = \"unix:///run/podman.sock\"\n",
            &[":3: ", "duplicate"],
        ),
        ("[endpoints.engine]\nurl = \"/run/docker.sock\"\n", &[":2: ", "unix:///run/docker.sock"]),
        (
            "[grants]\nfile = [\"credentials.json\"]\n[grant]\n",
            &[":2: grants.file[0] = \"credentials.json\": ", "absolute"],
        ),
        ("[grants]\nfile = [\"credentials.json\"]\n[grant]\n", &[":3: grant: ", "grants, endpoints and tls"]),
    ];
    for (text, says) in table {
        let path = file(&base, "vk.toml", text)?;
        let (status, said) = base.clone().flag("--config").flag(path.display().to_string()).run(PATIENCE)?;
        assert_eq!(status.code(), Some(1), "{said}");
        let (first, mistakes) = said.split_once('\n').with_context(|| format!("no list in {said}"))?;
        assert!(first.starts_with("vk-host: the file of --config"), "{said}");
        let mut mistakes = mistakes.lines();
        let place = format!("  {}:", path.display());
        assert!(mistakes.clone().all(|line| line.starts_with(&place)), "{said}");
        let told = mistakes.any(|line| says.iter().all(|part| line.contains(part)));
        assert!(told, "{text:?} should be answered with {says:?}: {said}");
    }
    Ok(())
}

#[test]
fn what_a_provider_wants_and_is_not_granted_is_told_with_the_flag_that_grants_it() -> Result<()> {
    let mut config = config()?;
    config.provider_config = Some("wants = [\"endpoint engine\", \"environment PATH\"]\n".into());
    let (status, said) = config.run(PATIENCE)?;
    assert_eq!(status.code(), Some(1), "{said}");
    for says in ["--endpoint engine=unix:///PATH", "--grant environment=PATH"] {
        assert!(said.lines().any(|line| line.starts_with("  ") && line.contains(says)), "{says}: {said}");
    }
    Ok(())
}

#[test]
fn an_endpoint_is_named_once() -> Result<()> {
    let config = config()?;
    let path = file(&config, "vk.toml", "[endpoints.engine]\nurl = \"unix:///run/docker.sock\"\n")?;
    let flags = [format!("--config={}", path.display()), "--endpoint=engine=http://10.0.0.7:2375".to_string()];
    let (code, line) = refused(&flags.into_iter().fold(config, HostConfig::flag))?;
    assert!(code == Some(64) && line.contains("engine=http://10.0.0.7:2375"), "{line}");
    assert!(line.contains("unix:///run/docker.sock") && line.ends_with("; see --help"), "{line}");
    Ok(())
}

#[test]
fn wrong_usage_is_64() -> Result<()> {
    for flags in [
        ["--taint", "a:Never"],
        ["--os", "plan9"],
        ["--internal-ip", "here"],
        ["--no-such-flag", "x"],
        ["--endpoint", "/run/docker.sock"],
        ["--endpoint", "engine=tcp://10.0.0.7:2375"],
        ["--grant", "http://10.0.0.7:5000"],
    ] {
        let config = flags.iter().fold(config()?, |config, flag| config.flag(*flag));
        let (status, said) = config.run(PATIENCE)?;
        assert_eq!(status.code(), Some(64), "{said}");
        let [line] = said.lines().collect::<Vec<_>>()[..] else { bail!("one line, and not\n{said}") };
        assert!(line.starts_with("vk-host: ") && line.ends_with("; see --help"), "{line}");
        assert!(line.contains(flags[0]) && (flags[0] == "--no-such-flag" || line.contains(flags[1])), "{line}");
    }
    Ok(())
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    // The last `--port` of a command line would be a second one; the variable is what it stands in for.
    let config = config()?;
    let command = config.command()?;
    let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_os_string).collect();
    let at = arguments.iter().position(|argument| argument == "--port").context("no --port")?;
    let rest = arguments
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != at && *index != at + 1)
        .map(|(_, argument)| argument);
    let mut again = Command::new(command.get_program());
    again.args(rest);
    host::isolate(&mut again);
    again.env("KUBELET_PORT", &port);
    let (status, said) = host::run(&again, &config.state_dir.with_extension("refusal.log"), PATIENCE)?;
    let line = said.lines().last().context("it says nothing")?;
    assert!(status.code() == Some(1) && line.contains(&port) && line.contains("--port"), "{said}");
    Ok(())
}

#[test]
fn a_certificate_file_that_cannot_be_used_is_named_with_its_flag() -> Result<()> {
    let config = config()?;
    let control_plane = shared_control_plane()?;
    let [one, two] =
        ["bad-one", "bad-two"].map(|user| control_plane.issue(&Identity { user: user.into(), ..Identity::default() }));
    let (one, two) = (one?, two?);
    let none = file(&config, "none.pem", "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n")?;
    let half = fs::read_to_string(control_plane.ca_file())? + &fs::read_to_string(&none)?;
    let half = file(&config, "half.pem", half)?;
    let missing = config.state_dir.join("missing.pem");
    let (ca, certificate, key) = ("--client-ca-file", "--tls-cert-file", "--tls-private-key-file");
    let table = [
        (vec![(ca, &missing)], vec![ca, "missing.pem"]),
        (vec![(ca, &one.key)], vec![ca, "no PEM certificate"]),
        (vec![(ca, &none)], vec!["certificate 1 of --client-ca-file", "none.pem"]),
        (vec![(ca, &half)], vec!["certificate 2 of --client-ca-file", "half.pem"]),
        (vec![(certificate, &one.certificate), (key, &missing)], vec![key, "missing.pem"]),
        (vec![(certificate, &one.key), (key, &one.key)], vec![certificate, "no PEM certificate"]),
        (vec![(certificate, &one.certificate), (key, &two.key)], vec![certificate, key, "bad-one", "bad-two"]),
    ];
    for (flags, says) in table {
        let given = flags.iter().map(|(flag, path)| format!("{flag}={}", path.display()));
        let (code, line) = refused(&given.fold(config.clone(), HostConfig::flag))?;
        assert!(code == Some(1) && says.iter().all(|part| line.contains(part)), "{says:?}: {line}");
    }
    Ok(())
}

#[test]
fn another_node_s_identity_is_refused_by_name() -> Result<()> {
    let mut config = config()?;
    config.kubeconfig = shared_control_plane()?.node_kubeconfig("somebody-else")?;
    let (code, line) = refused(&config)?;
    assert!(code == Some(1) && line.contains("somebody-else") && line.contains("--nodename"), "{line}");
    Ok(())
}

#[tokio::test]
async fn a_state_directory_in_use_is_refused() -> Result<()> {
    let corner = Corner::new("bad-input-state").await?;
    let (code, line) = refused(corner.host.config())?;
    assert!(code == Some(1) && line.contains("--state-dir"), "{line}");
    Ok(())
}
