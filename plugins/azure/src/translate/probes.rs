//! Probes, which Azure does itself: a command or a request.

use vk_aci::Redacted;
use vk_aci::group::{ExecAction, HttpGet, HttpHeader, Probe, Scheme};
use vk_provider::{Error, Result};

use crate::manifest::{self, Placed, PortRef};
use crate::refusals::refuse;

/// # Errors
/// A kind or a value that Azure does not have.
pub(super) fn of(placed: Placed<'_>, name: &str, probe: Option<&manifest::Probe>) -> Result<Option<Probe>> {
    let Some(probe) = probe else { return Ok(None) };
    let refused = |field: &str, why: &str| refuse(placed.field(&format!("{name}.{field}")), why);
    for (field, is_set, why) in [
        ("tcpSocket", probe.tcp_socket.is_some(), "Azure runs commands and asks by HTTP: use exec or httpGet"),
        ("grpc", probe.grpc.is_some(), "Azure runs commands and asks by HTTP: use exec or httpGet"),
        (
            "terminationGracePeriodSeconds",
            probe.termination_grace_period_seconds.is_some(),
            "Azure starts a container again without grace",
        ),
    ] {
        if is_set {
            return Err(refused(field, why));
        }
    }
    let exec = probe.exec.as_ref().map(|exec| ExecAction { command: exec.command.clone() });
    let http_get = probe.http_get.as_ref().map(|get| http_get(placed, get, &refused)).transpose()?;
    if exec.is_none() && http_get.is_none() {
        return Err(refuse(placed.field(name), "it asks nothing: use exec or httpGet"));
    }
    Ok(Some(Probe {
        exec,
        http_get,
        initial_delay_seconds: probe.initial_delay_seconds,
        period_seconds: probe.period_seconds,
        failure_threshold: probe.failure_threshold,
        success_threshold: probe.success_threshold,
        timeout_seconds: probe.timeout_seconds,
    }))
}

fn http_get(placed: Placed<'_>, get: &manifest::HttpGet, refused: &dyn Fn(&str, &str) -> Error) -> Result<HttpGet> {
    if !get.host.is_empty() {
        return Err(refused("httpGet.host", "Azure asks the container: a Host header can stand in httpHeaders"));
    }
    let scheme = match get.scheme.as_str() {
        "" => None,
        _ if get.scheme.eq_ignore_ascii_case("http") => Some(Scheme::Http),
        _ if get.scheme.eq_ignore_ascii_case("https") => Some(Scheme::Https),
        other => return Err(refused("httpGet.scheme", &format!("{other:?} is no scheme; known are HTTP and HTTPS"))),
    };
    let port = port(placed, &get.port).ok_or_else(|| {
        refused("httpGet.port", "it is neither a port from 1 to 65535 nor the name of one of the container's")
    })?;
    let header =
        |header: &manifest::Header| HttpHeader { name: header.name.clone(), value: Redacted::from(&header.value) };
    Ok(HttpGet {
        path: Some(get.path.clone()).filter(|path| !path.is_empty()),
        port,
        scheme,
        http_headers: get.http_headers.iter().map(header).collect(),
    })
}

/// Azure takes numbers alone. As the kubelet has it, a name that no port has may still be a number.
fn port(placed: Placed<'_>, port: &PortRef) -> Option<u16> {
    let number = match port {
        PortRef::Number(number) => *number,
        PortRef::Name(name) => {
            let named = placed.container.ports.iter().find(|port| port.name == *name).map(|port| port.container_port);
            named.or_else(|| name.parse().ok())?
        }
    };
    Some(number).filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    fn read(probe: &str) -> Result<Option<Probe>> {
        let spec = parse(&format!(
            r#"{{"containers":[{{"name":"c","ports":[{{"name":"web","containerPort":8080}}],"livenessProbe":{probe}}}]}}"#
        ));
        let placed = spec.ordinary().next().unwrap();
        of(placed, "livenessProbe", placed.container.liveness_probe.as_ref())
    }

    fn made(probe: &str) -> Result<String, Option<String>> {
        read(probe).map(|made| serde_json::to_string(&made).unwrap()).map_err(|error| error.field)
    }

    #[test]
    fn probes_are_azures() {
        for (probe, expected) in [
            ("null", "null"),
            (r#"{"exec":{"command":["cat","/x"]}}"#, r#"{"exec":{"command":["cat","/x"]}}"#),
            (
                r#"{"httpGet":{"path":"/z","port":"web","scheme":"HTTPS","httpHeaders":[{"name":"Host","value":"a"}]},
                "initialDelaySeconds":1,"periodSeconds":2,"timeoutSeconds":3,"successThreshold":4,"failureThreshold":5}"#,
                r#"{"httpGet":{"path":"/z","port":8080,"scheme":"https","httpHeaders":[{"name":"Host","value":"a"}]},"initialDelaySeconds":1,"periodSeconds":2,"failureThreshold":5,"successThreshold":4,"timeoutSeconds":3}"#,
            ),
            (r#"{"httpGet":{"port":80,"scheme":"HTTP"}}"#, r#"{"httpGet":{"port":80,"scheme":"http"}}"#),
            (r#"{"httpGet":{"port":"81"}}"#, r#"{"httpGet":{"port":81}}"#),
        ] {
            assert_eq!(made(probe).as_deref(), Ok(expected), "{probe}");
        }
    }

    #[test]
    fn what_azure_does_not_ask_is_refused() {
        for (probe, field) in [
            (r#"{"tcpSocket":{"port":80}}"#, ".tcpSocket"),
            (r#"{"grpc":{"port":80}}"#, ".grpc"),
            (r#"{"exec":{},"terminationGracePeriodSeconds":1}"#, ".terminationGracePeriodSeconds"),
            (r#"{"httpGet":{"port":80,"host":"example.com"}}"#, ".httpGet.host"),
            (r#"{"httpGet":{"port":80,"scheme":"FTP"}}"#, ".httpGet.scheme"),
            (r#"{"httpGet":{"port":"metrics"}}"#, ".httpGet.port"),
            (r#"{"httpGet":{"port":0}}"#, ".httpGet.port"),
            ("{}", ""),
        ] {
            assert_eq!(made(probe), Err(Some(format!("spec.containers[0].livenessProbe{field}"))), "{probe}");
        }
        let error = read(r#"{"httpGet":{"port":80,"scheme":"FTP"}}"#).unwrap_err();
        assert_eq!(error.message, "\"FTP\" is no scheme; known are HTTP and HTTPS");
    }
}
