//! `store`: what the plugin remembers.

use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable};

use super::pollable;
use super::wit::store::{Entry, Expect, Failure, Host, HostLock, News};
use crate::plugin::state::State;
use crate::plugin::store::{self, Lock, Wait, Watch};

#[async_trait::async_trait]
impl Pollable for Watch {
    async fn ready(&mut self) {
        Self::ready(self).await;
    }
}

#[async_trait::async_trait]
impl Pollable for Wait {
    async fn ready(&mut self) {
        Self::ready(self).await;
    }
}

impl State {
    fn kv(&self) -> Result<store::Store, Failure> {
        Ok(self.readable()?.clone())
    }

    fn readable(&self) -> Result<&store::Store, store::Failure> {
        self.access.reads()?;
        self.services.store()
    }

    fn writable(&self) -> Result<store::Store, Failure> {
        self.access.writes()?;
        self.kv()
    }

    /// What is kept on the host's side must not be longer than a key; where no failure can be answered, it is a trap.
    fn fits(&self, what: &str, text: &str) -> wasmtime::Result<()> {
        let limit = self.services.limits.store.key;
        if text.len() > limit {
            return Err(wasmtime::Error::msg(format!("a {what} of {} bytes; at most {limit}", text.len())));
        }
        Ok(())
    }
}

impl Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Entry>, Failure>> {
        Ok(self.kv().map(|store| store.get(&key).map(Entry::from)))
    }

    async fn put(
        &mut self,
        key: String,
        value: Vec<u8>,
        expect: Expect,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<u64, Failure>> {
        let store = match self.writable() {
            Ok(store) => store,
            Err(failure) => return Ok(Err(failure)),
        };
        let put = store.put(&key, Bytes::from(value), expect.into(), ttl_ms.map(Duration::from_millis)).await;
        Ok(put.map_err(Failure::from))
    }

    async fn remove(&mut self, key: String, expect: Expect) -> wasmtime::Result<Result<(), Failure>> {
        match self.writable() {
            Ok(store) => Ok(store.remove(&key, expect.into()).await.map_err(Failure::from)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    fn keys(&mut self, prefix: String, after: Option<String>) -> wasmtime::Result<Result<Vec<String>, Failure>> {
        Ok(self.kv().map(|store| store.keys(&prefix, after.as_deref())))
    }

    fn scan(
        &mut self,
        prefix: String,
        after: Option<String>,
    ) -> wasmtime::Result<Result<Vec<(String, Entry)>, Failure>> {
        Ok(self.kv().map(|store| {
            store
                .scan(&prefix, after.as_deref())
                .into_iter()
                .map(|(key, entry)| (key.to_string(), entry.into()))
                .collect()
        }))
    }

    fn revision(&mut self) -> wasmtime::Result<Result<u64, Failure>> {
        Ok(self.kv().map(|store| store.revision()))
    }

    fn since(&mut self, prefix: String, revision: u64) -> wasmtime::Result<Result<News, Failure>> {
        Ok(self.kv().and_then(|store| store.since(&prefix, revision).map(News::from).map_err(Failure::from)))
    }

    fn subscribe(&mut self, prefix: String, revision: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.fits("prefix", &prefix)?;
        let watch = self.readable()?.watch(&prefix, revision);
        pollable(&mut self.table, watch)
    }

    fn acquire(&mut self, name: String, ttl_ms: u32) -> wasmtime::Result<Resource<Lock>> {
        self.fits("name of a lock", &name)?;
        let lock = self.readable()?.acquire(&name, Duration::from_millis(ttl_ms.into()));
        Ok(self.table.push(lock)?)
    }
}

impl HostLock for State {
    fn subscribe(&mut self, lock: Resource<Lock>) -> wasmtime::Result<Resource<DynPollable>> {
        let wait = self.table.get(&lock)?.wait();
        pollable(&mut self.table, wait)
    }

    fn held(&mut self, lock: Resource<Lock>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&lock)?.held())
    }

    fn drop(&mut self, lock: Resource<Lock>) -> wasmtime::Result<()> {
        self.table.delete(lock)?;
        Ok(())
    }
}
