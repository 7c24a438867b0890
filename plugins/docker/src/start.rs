//! Starts one attempt at a container.
//!
//! ```text
//! the sandbox runs? ▸ parts of volumes ▸ an empty termination message ▸ create, or find ▸ start
//! ```

use std::collections::BTreeMap;

use vk_engine::archive::Pack;
use vk_engine::container::Bind;
use vk_engine::{Failure, Refusal};
use vk_provider::pod::ResolvedContainer;
use vk_provider::{Code, DesiredPod, Error, Result, clock};

use crate::container::{self, Parts};
use crate::context::{Context, PodSeen, Seen};
use crate::labels::{self, Attempt, Mark};
use crate::manifest::{List, Manifest, Placed, Spec};
use crate::volumes::files::{self, Filling};
use crate::volumes::mounts::{self, Below};
use crate::volumes::{Layout, OWN, ROOT, parts};
use crate::{hosts, machine, pause, qos, sandbox, security};

/// One attempt that is to be started.
struct Starting<'a> {
    context: &'a Context,
    pod: &'a DesiredPod,
    spec: &'a Spec,
    placed: Placed<'a>,
    resolved: &'a ResolvedContainer,
    image_id: &'a str,
    number: u32,
}

/// Creates and starts one attempt, or finds it. Returns the engine's id.
///
/// # Errors
/// `aborted`: the sandbox does not run. Or the engine said no.
pub(crate) fn start(
    context: &Context,
    pod: &DesiredPod,
    manifest: &Manifest,
    resolved: &ResolvedContainer,
    image_id: &str,
    number: u32,
) -> Result<String> {
    let spec = &manifest.spec;
    let placed = placed(spec, &resolved.name)?;
    crate::refusals::check_container(spec, placed)?;
    machine::check_container(context, spec, placed)?;
    let seen = context.pod(&pod.id)?;
    Starting { context, pod, spec, placed, resolved, image_id, number }.run(&seen)
}

fn placed<'a>(spec: &'a Spec, name: &str) -> Result<Placed<'a>> {
    spec.all().find(|placed| placed.container.name == name).ok_or_else(|| {
        Error::invalid_argument("ContainerNotFound", format!("the pod's spec has no container {name:?}"))
    })
}

impl Starting<'_> {
    fn run(&self, seen: &PodSeen) -> Result<String> {
        let sandbox = sandbox::running(seen, &self.pod.id)?;
        let id = match seen.attempt(&self.resolved.name, self.number) {
            Some(there) if !there.created => return Ok(there.id.clone()),
            Some(there) if there.mark.sandbox.as_deref() == Some(sandbox.id.as_str()) => there.id.clone(),
            there => {
                if let Some(stale) = there {
                    // It was made for a sandbox that is no more, and never ran.
                    self.context.engine.remove_container(&stale.id, true)?;
                }
                self.create(seen, sandbox)?
            }
        };
        self.context.engine.start_container(&id).map_err(not_started)?;
        Ok(id)
    }

    fn create(&self, seen: &PodSeen, sandbox: &Seen) -> Result<String> {
        self.check_user()?;
        let target = self.target(seen)?;
        let layout = Layout::of(self.spec)?;
        let names = self.context.names(&self.pod.id, seen);
        let parts = parts::settle(self.context, &sandbox.id, &layout, self.placed)?;
        let mounts::Mounts { binds, below } = mounts::of(&layout, &names, self.placed.container, &parts);
        let mut bound = self.bound(sandbox, &below)?;
        let own = self.mountpoint(&names.own_volume())?;
        bound.push(self.message(sandbox, &own)?);
        bound.extend(self.hosts(sandbox, &own)?);
        let attempt = Attempt {
            name: &self.resolved.name,
            number: self.number,
            revision: &self.resolved.revision,
            image: &self.placed.container.image,
            image_id: self.image_id,
            sandbox: &sandbox.id,
        };
        let parts = Parts {
            resolved: self.resolved,
            image: self.image_id,
            labels: labels::container(&self.context.node, &self.pod.id, attempt),
            sandbox: &sandbox.id,
            target,
            binds,
            mounts: bound,
            oom_score: qos::oom_score(self.context, self.spec, self.placed)?,
        };
        let spec = container::spec(self.spec, self.placed, self.context.engine.dialect(), parts);
        let name = names.container(&self.resolved.name, self.number);
        match self.context.engine.create_container(&name, &spec) {
            Err(failure) if failure.is_conflict() => self.created_before(&name, failure),
            outcome => Ok(machine::made(&self.pod.id, outcome.map_err(not_created)?)),
        }
    }

    /// The name is taken: by what another call has made, or by somebody else.
    fn created_before(&self, name: &str, failure: Failure) -> Result<String> {
        let there = self.context.engine.container(name)?;
        let ours = there.filter(|details| {
            let mark = Mark::read(&self.context.node, &details.config.labels);
            mark.is_some_and(|mark| mark.pod == self.pod.id && mark.is_attempt(&self.resolved.name, self.number))
        });
        ours.map(|details| details.id).ok_or_else(|| failure.into())
    }

    /// Who must not be root, and does not say who he is.
    fn check_user(&self) -> Result<()> {
        if !security::depends_on_image(self.placed.container, &self.spec.security_context) {
            return Ok(());
        }
        let image = self.context.engine.image(self.image_id)?.ok_or_else(|| image_missing(self.image_id))?;
        match security::root_by_image(image.user()) {
            Some(why) => Err(Error::failed_precondition("CreateContainerConfigError", why)),
            None => Ok(()),
        }
    }

    /// What is bound by path: only in directories that we alone write. Podman would make what is not there.
    fn bound(&self, sandbox: &Seen, below: &[Below]) -> Result<Vec<Bind>> {
        let (mut binds, mut roots) = (Vec::new(), BTreeMap::<&str, String>::new());
        for Below { name, volume, path, target, read_only, rendered } in below {
            if let Some(said) = rendered
                && self.context.engine.stat_path(&sandbox.id, &format!("{ROOT}/{name}/{path}"))?.is_none()
            {
                let message = format!("volume {name:?} has no {said:?} to be mounted as subPath");
                return Err(Error::failed_precondition("SubPathMissing", message));
            }
            let root = match roots.get(volume.as_str()) {
                Some(root) => root,
                None => roots.entry(volume).or_insert(self.mountpoint(volume)?),
            };
            binds.push(Bind::new(format!("{root}/{path}"), target, *read_only));
        }
        Ok(binds)
    }

    /// An empty termination message, bound to where the container leaves it.
    fn message(&self, sandbox: &Seen, own: &str) -> Result<Bind> {
        // The first attempts' were put there with the volumes.
        if self.number > 0 || self.placed.list == List::Ephemeral {
            let mut filling = Filling::new(Pack::new(clock::now()), None);
            let packed =
                filling.messages([(self.resolved.name.as_str(), self.number)]).and_then(|()| filling.finish(None));
            let archive = packed.map_err(|error| pause::unpackable(&error))?;
            self.context.engine.put_archive(&sandbox.id, ROOT, archive)?;
        }
        let source = format!("{own}/{}", files::message(&self.resolved.name, self.number));
        Ok(Bind::new(source, self.placed.container.message_path(), false))
    }

    /// The hosts file that was put there with the volumes; none: the engine's own counts, also where an earlier build made
    /// the sandbox.
    fn hosts(&self, sandbox: &Seen, own: &str) -> Result<Option<Bind>> {
        let engine = &self.context.engine;
        if !hosts::is_ours(engine.dialect(), self.spec) || hosts::is_mounted(self.placed.container) {
            return Ok(None);
        }
        let there = engine.stat_path(&sandbox.id, &format!("{ROOT}/{OWN}/{}", hosts::FILE))?;
        Ok(there.map(|_| Bind::new(format!("{own}/{}", hosts::FILE), hosts::TARGET, false)))
    }

    /// Where a volume is on the engine's machine.
    fn mountpoint(&self, volume: &str) -> Result<String> {
        let there = self.context.engine.volume(volume)?;
        there
            .map(|volume| volume.mountpoint)
            .ok_or_else(|| Error::aborted("VolumeMissing", format!("the engine has lost the volume {volume:?}")))
    }

    /// The container whose processes an ephemeral one wants to see.
    fn target<'b>(&self, seen: &'b PodSeen) -> Result<Option<&'b str>> {
        let Some(name) = self.placed.container.target_container_name.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let running = seen.running(name).ok_or_else(|| {
            Error::failed_precondition("TargetNotRunning", format!("container {name:?} does not run"))
        })?;
        Ok(Some(&running.id))
    }
}

fn image_missing(image: &str) -> Error {
    Error::not_found("ImageNotFound", format!("the engine has no image {image:?} any more"))
}

/// Why a container cannot be made, which is tried again: what is refused for good was refused before.
fn not_created(failure: Failure) -> Error {
    match failure {
        Failure::Refused(refusal) if refusal.is_not_found() => refusal.error(Code::NotFound, "ImageNotFound"),
        Failure::Refused(refusal) if refusal.is_verdict() => {
            refusal.error(Code::FailedPrecondition, "CreateContainerError")
        }
        failure => failure.into(),
    }
}

/// Why a container does not start: most often its program is not there, and that was the attempt. What is said by a proxy
/// or an authorizer, or by an engine that is busy, is not: the same attempt is started again.
fn not_started(failure: Failure) -> Error {
    let is_joined = |refusal: &Refusal| refusal.says("cannot join network") || refusal.says("non running container");
    match failure {
        Failure::Refused(refusal) if is_joined(&refusal) => refusal.error(Code::Aborted, "SandboxNotReady"),
        // Somebody has removed it, or its sandbox, since it was made.
        Failure::Refused(refusal) if refusal.says("no such container") => {
            refusal.error(Code::Aborted, "ContainerRemoved")
        }
        // Such as that it is being removed.
        Failure::Refused(refusal) if refusal.status == 409 => Failure::from(refusal).into(),
        Failure::Refused(refusal) if refusal.is_verdict() => refusal.error(Code::FailedPrecondition, "StartError"),
        failure => failure.into(),
    }
}
