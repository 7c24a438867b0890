//! The values of a pod's containers, worked out when each is started: as the cluster has them then, as the kubelet does.
//!
//! While the cluster cannot be read a container that crashes is started with what it had last. What is absent is waited for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::provider::{Cluster, Code, Error, PodRef, ResolvedContainer};

/// What was last worked out, by container.
#[derive(Debug, Default)]
pub(super) struct Values(Mutex<HashMap<String, Resolved>>);

/// Values, and the pod's IPs that they were worked out for.
#[derive(Clone, Debug)]
struct Resolved {
    ips: Vec<String>,
    container: ResolvedContainer,
}

impl Values {
    fn last(&self) -> MutexGuard<'_, HashMap<String, Resolved>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container's values as of now, or as near to it as can be known.
    pub(super) async fn resolve(
        &self,
        cluster: &dyn Cluster,
        id: &PodRef,
        name: &str,
        ips: &[String],
    ) -> Result<ResolvedContainer, Error> {
        match cluster.resolve_container(id, name, ips).await {
            Ok(container) => {
                let resolved = Resolved { ips: ips.to_vec(), container: container.clone() };
                self.last().insert(name.to_string(), resolved);
                Ok(container)
            }
            // It comes with the next look.
            Err(error) if error.reason == "PodIPMissing" => Err(Error { code: Code::Unavailable, ..error }),
            Err(error) if error.code == Code::Unavailable => {
                let last = self.last().get(name).filter(|last| last.holds(ips)).map(|last| last.container.clone());
                let Some(last) = last else { return Err(error) };
                tracing::warn!(%error, container = name, "values cannot be read now; it gets those that it had");
                Ok(last)
            }
            Err(error) => Err(error),
        }
    }
}

impl Resolved {
    /// Whether they are good for a pod of these IPs: a new sandbox may have others.
    fn holds(&self, ips: &[String]) -> bool {
        let ResolvedContainer { command, args, env, .. } = &self.container;
        let mut texts = command.iter().chain(args).chain(env.iter().map(|variable| &variable.value));
        self.ips == ips || !texts.any(|text| self.ips.iter().any(|ip| text.contains(ip.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::super::fixture::id;
    use super::*;
    use crate::provider::{Credential, Files};

    /// What the cluster answers: values with this argument, or an error.
    struct Says(Mutex<Result<String, Error>>);

    #[async_trait]
    impl Cluster for Says {
        async fn volume(&self, _: &PodRef, _: &str) -> Result<Files, Error> {
            Err(Error::new(Code::Unimplemented, "R", "m"))
        }

        async fn registry_credentials(&self, _: &PodRef, _: &str) -> Result<Vec<Credential>, Error> {
            Err(Error::new(Code::Unimplemented, "R", "m"))
        }

        async fn resolve_container(&self, _: &PodRef, name: &str, _: &[String]) -> Result<ResolvedContainer, Error> {
            self.0.lock().unwrap().clone().map(|argument| ResolvedContainer {
                name: name.into(),
                command: Vec::new(),
                args: vec![argument],
                env: Vec::new(),
                secret_args: false,
                revision: "1".into(),
                late: false,
            })
        }

        fn event(&self, _: &PodRef, _: bool, _: &str, _: &str) {}
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_as_it_was_and_what_is_absent_is_waited_for() {
        let (values, cluster) = (Values::default(), Says(Mutex::new(Ok("one".into()))));
        let ask = async |name: &str, ip: &str| {
            let resolved = values.resolve(&cluster, &id(), name, &[ip.to_string()]).await;
            resolved.map(|container| container.args[0].clone()).map_err(|error| error.code)
        };
        let says = |said: Result<&str, Code>| {
            *cluster.0.lock().unwrap() = said.map(str::to_string).map_err(|code| Error::new(code, "R", "m"));
        };
        says(Err(Code::Unavailable));
        assert_eq!(ask("a", "10.0.0.7").await, Err(Code::Unavailable), "nothing is known of it");
        says(Ok("one"));
        assert_eq!(ask("a", "10.0.0.7").await, Ok("one".into()));
        says(Ok("two"));
        assert_eq!(ask("a", "10.0.0.7").await, Ok("two".into()), "the newest counts");
        says(Err(Code::Unavailable));
        assert_eq!(ask("a", "10.0.0.8").await, Ok("two".into()), "whatever the pod's IP is");
        assert_eq!(ask("b", "10.0.0.7").await, Err(Code::Unavailable), "another container's are not its own");
        says(Err(Code::FailedPrecondition));
        assert_eq!(ask("a", "10.0.0.7").await, Err(Code::FailedPrecondition));
        says(Ok("--listen=10.0.0.7:80"));
        assert!(ask("a", "10.0.0.7").await.is_ok());
        says(Err(Code::Unavailable));
        assert!(ask("a", "10.0.0.7").await.is_ok());
        assert_eq!(
            ask("a", "10.0.0.8").await,
            Err(Code::Unavailable),
            "they name an IP that is not the pod's any more"
        );
    }
}
