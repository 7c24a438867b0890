//! Ports of containers, which are the group's: there is no mapping.

use vk_aci::group::{ContainerPort, Port, Protocol};
use vk_provider::Result;

use crate::manifest::{self, Placed, Spec};
use crate::refusals::refuse;

/// A port of the group, and which field asks for it.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) port: Port,
    pub(super) field: String,
}

/// The group's ports, each once.
///
/// # Errors
/// Two containers want the same, or it is none that Azure opens.
pub(super) fn of_group(spec: &Spec) -> Result<Vec<Open>> {
    let mut open: Vec<Open> = Vec::new();
    for placed in spec.ordinary() {
        let before = open.len();
        for (index, port) in placed.container.ports.iter().enumerate() {
            let field = placed.field(&format!("ports[{index}]"));
            let port = Port { port: port.container_port, protocol: Some(protocol(placed, index, port)?) };
            match open.iter().position(|other| other.port == port) {
                None => open.push(Open { port, field }),
                // A container may give one port two names.
                Some(at) if at >= before => {}
                Some(_) => {
                    let why = format!("another container has port {} already, and all share one address", port.port);
                    return Err(refuse(format!("{field}.containerPort"), why));
                }
            }
        }
    }
    Ok(open)
}

/// A container's ports, each once.
///
/// # Errors
/// It is none that Azure opens.
pub(super) fn of_container(placed: Placed<'_>) -> Result<Vec<ContainerPort>> {
    let mut ports: Vec<ContainerPort> = Vec::new();
    for (index, port) in placed.container.ports.iter().enumerate() {
        let port = ContainerPort { port: port.container_port, protocol: Some(protocol(placed, index, port)?) };
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    Ok(ports)
}

fn protocol(placed: Placed<'_>, index: usize, port: &manifest::Port) -> Result<Protocol> {
    let field = |name: &str| placed.field(&format!("ports[{index}].{name}"));
    if port.host_port != 0 {
        let why = "there is no machine whose port it could be: the group's own address has containerPort";
        return Err(refuse(field("hostPort"), why));
    }
    match port.protocol.as_str() {
        "" | "TCP" => Ok(Protocol::Tcp),
        "UDP" => Ok(Protocol::Udp),
        other => Err(refuse(field("protocol"), format!("{other} is not known; known are TCP and UDP"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    fn opened(containers: &str) -> Result<Vec<String>, Option<String>> {
        let spec = parse(&format!(r#"{{"containers":[{containers}]}}"#));
        let open = of_group(&spec).map_err(|error| error.field)?;
        Ok(open.iter().map(|open| format!("{}/{}", open.port.port, open.port.protocol.as_ref().unwrap())).collect())
    }

    #[test]
    fn ports_are_the_groups_each_once() {
        let containers = r#"{"name":"a","ports":[{"containerPort":80},{"name":"same","containerPort":80,"protocol":"TCP"},
            {"containerPort":53,"protocol":"UDP"}]},{"name":"b","ports":[{"containerPort":53,"protocol":"TCP"}]},{"name":"c"}"#;
        assert_eq!(opened(containers).unwrap(), ["80/TCP", "53/UDP", "53/TCP"]);
        let spec = parse(&format!(r#"{{"containers":[{containers}]}}"#));
        let own: Vec<usize> = spec.ordinary().map(|placed| of_container(placed).unwrap().len()).collect();
        assert_eq!(own, [2, 1, 0]);
    }

    #[test]
    fn ports_that_azure_does_not_open_are_refused() {
        for (containers, field) in [
            (
                r#"{"name":"a","ports":[{"containerPort":80}]},{"name":"b","ports":[{"containerPort":81},{"containerPort":80}]}"#,
                "spec.containers[1].ports[1].containerPort",
            ),
            (
                r#"{"name":"a","ports":[{"containerPort":80,"protocol":"SCTP"}]}"#,
                "spec.containers[0].ports[0].protocol",
            ),
            (r#"{"name":"a","ports":[{"containerPort":80,"hostPort":80}]}"#, "spec.containers[0].ports[0].hostPort"),
        ] {
            assert_eq!(opened(containers).unwrap_err().as_deref(), Some(field), "{containers}");
        }
    }
}
