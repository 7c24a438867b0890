//! `config`: the operator's configuration, and the files that it grants.

use std::path::Path;

use super::wit::config::{Host, NodeInfo};
use super::wit::types::{Code, Effect, Error};
use crate::plugin::state::State;
use crate::plugin::whole_file;

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

    async fn file(&mut self, name: String) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let Some(path) = self.rights.granted.file(&name).map(Path::to_owned) else {
            let message = format!("the file {name:?} was not wanted, or not granted");
            return Ok(Err(error(Code::PermissionDenied, "NotGranted", message)));
        };
        let limit = self.services.limits.config_file;
        let read = tokio::task::spawn_blocking(move || whole_file::read(&path, limit)).await?;
        Ok(read
            .map(|(_, bytes)| bytes)
            .map_err(|why| error(Code::Unavailable, "FileUnreadable", format!("cannot read the file {name:?}: {why}"))))
    }
}
