//! An egress for tests: names are a table, and there is no proxy.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hyper_util::client::proxy::matcher::Matcher;

use super::{Egress, Limits, Patience, Resolve, Rights, Surroundings};
use crate::plugin::config_text::ConfigText;
use crate::plugin::grants::{Grant, Granted, Grants, Named, weigh};
use crate::plugin::services::Services;
use crate::plugin::{self, NodeInfo, Want};

/// What names stand for. Tests change it as they go.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Arc<Mutex<BTreeMap<String, Vec<IpAddr>>>>);

impl Names {
    pub(super) fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.0.lock().unwrap().insert(name.into(), addresses);
    }

    pub(super) fn surroundings(&self) -> Surroundings {
        Surroundings::new(Arc::new(self.clone()), Matcher::builder().build())
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let known = self.0.lock().unwrap().get(name).cloned();
        known.ok_or_else(|| io::Error::other("nobody knows it"))
    }
}

/// `ACCESS=TARGET`, or an endpoint's `NAME=URL`.
pub(super) fn grants(texts: &[String]) -> Grants {
    let mut grants = Grants::default();
    for text in texts {
        match text.parse::<Grant>() {
            Ok(grant) => grants.add(grant),
            Err(_) => {
                let Named { name, url } = text.parse().unwrap();
                grants.endpoints.insert(name, url.into());
            }
        }
    }
    grants
}

/// Of a short call of a plugin that wants what it was granted, and what is written as `ACCESS TARGET`.
pub(super) fn egress(grants: Grants, wants: &[String], names: &Names, limits: Limits) -> Egress {
    let endpoints = grants.endpoints.keys().map(|name| format!("endpoint {name}"));
    let wants = wants.iter().cloned().chain(endpoints).map(|text| {
        let (access, target) = text.split_once(' ').unwrap();
        Want { access: access.into(), target: target.into(), why: "to test it".into() }
    });
    let weighed = weigh(wants.collect(), &grants, |_| None).unwrap();
    let rights = Rights { granted: Arc::new(Granted::new(&weighed, |_| None)), ..Rights::none() };
    let limits = plugin::Limits { egress: limits, ..plugin::Limits::default() };
    let services = Services::new("mock", NodeInfo::default(), ConfigText::new(None, 0), limits);
    Egress::new(Arc::new(services.with_grants(grants, names.surroundings())), rights, Patience::Short, None)
}
