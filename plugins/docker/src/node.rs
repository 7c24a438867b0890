//! The node: the engine's machine.

use vk_engine::dialect::Dialect;
use vk_engine::system::Info;
use vk_provider::node::{Amount, Details};

use crate::config::Config;

/// What else the Node object says.
pub(crate) fn details(info: &Info, dialect: Dialect) -> Details {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let engine = if dialect.podman { "podman" } else { "docker" };
    Details {
        architecture: text(info.go_architecture()),
        runtime_version: text(&info.server_version).map(|version| format!("{engine}://{version}")),
        os_image: text(&info.operating_system),
        kernel_version: text(&info.kernel_version),
        ..Details::default()
    }
}

/// What the operator says, else what the machine has.
pub(crate) fn capacity(config: &Config, info: &Info) -> Vec<Amount> {
    let cpu = config.cpu.clone().unwrap_or_else(|| info.cores.to_string());
    let memory = config.memory.clone().unwrap_or_else(|| info.mem_total.to_string());
    vec![Amount::new("cpu", cpu), Amount::new("memory", memory), Amount::new("pods", config.pods.clone())]
}
