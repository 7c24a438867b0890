//! `config`: the operator's configuration.

use super::wit::config::{Host, NodeInfo};
use super::wit::types::{Code, Effect, Error};
use crate::plugin::state::State;

fn error(code: Code, reason: &str, message: String) -> Error {
    Error { code, reason: reason.into(), message, field: None, retry_after_ms: None, effect: Effect::None }
}

impl Host for State {
    fn node(&mut self) -> wasmtime::Result<NodeInfo> {
        Ok(NodeInfo::from(&self.services.node))
    }

    async fn text(&mut self) -> wasmtime::Result<Result<Option<String>, Error>> {
        let text = self.services.config.read().await;
        Ok(text
            .map(|text| text.map(|text| text.to_string()))
            .map_err(|message| error(Code::Unavailable, "ConfigUnreadable", message)))
    }

    fn file(&mut self, name: String) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        // Files are granted as wants are, and this version grants none.
        Ok(Err(error(Code::PermissionDenied, "NotGranted", format!("the file {name:?} was not granted"))))
    }
}
