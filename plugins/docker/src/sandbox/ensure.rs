//! Makes a pod's sandbox, or finds it.
//!
//! ```text
//! render volumes ▸ make volumes ▸ create ▸ start ▸ look ▸ fill the volumes, the marker last
//! ```
//!
//! Each step finds what an earlier try has done: volumes by name, the container by name, the filling by a marker that
//! says for which start it is. Files in memory are lost with the sandbox's end, so a marker of another start does not
//! count.

use vk_engine::Failure;
use vk_engine::archive::Pack;
use vk_engine::container::Details;
use vk_engine::volume::VolumeSpec;
use vk_provider::cluster::{self, Files};
use vk_provider::containers::Sandbox;
use vk_provider::{Code, DesiredPod, Error, Result, clock};

use super::{group, has_lost_containers, is_filled, marker, shown, spec};
use crate::context::{Context, PodSeen};
use crate::end::kill;
use crate::labels::{self, Kind, Mark};
use crate::manifest::{List, Manifest, Spec};
use crate::volumes::files::{Filling, READY};
use crate::volumes::{Layout, OWN, ROOT};
use crate::{hosts, machine, pause};

/// A volume and what the host rendered for it.
type Rendered<'a> = Vec<(&'a str, Files)>;

/// What is to be made.
struct Plan<'a> {
    context: &'a Context,
    pod: &'a DesiredPod,
    spec: &'a Spec,
    layout: Layout<'a>,
}

/// Makes a pod's sandbox, or finds it.
///
/// # Errors
/// What the pod cannot be, before anything is made; an object that is missing; or the engine said no.
pub(crate) fn ensure(context: &Context, pod: &DesiredPod, manifest: &Manifest) -> Result<Sandbox> {
    let plan = Plan { context, pod, spec: &manifest.spec, layout: Layout::of(&manifest.spec)? };
    let seen = context.pod(&pod.id)?;
    let details = match plan.usable(&seen)? {
        Some(Usable::Filled(details)) => details,
        Some(Usable::Started(details)) => plan.fill(details, &plan.render()?, &seen)?,
        Some(Usable::Created(id)) => {
            let rendered = plan.render()?;
            plan.start(&id, &rendered, &seen)?
        }
        None => plan.make(&seen)?,
    };
    let mark = Mark::read(&context.node, &details.config.labels).ok_or_else(|| foreign(&details.id))?;
    Ok(shown(context, &details, mark, true))
}

/// How far an earlier try came.
enum Usable {
    Created(String),
    Started(Details),
    Filled(Details),
}

impl Plan<'_> {
    /// What an earlier try has left that can be gone on with.
    fn usable(&self, seen: &PodSeen) -> Result<Option<Usable>> {
        let engine = &self.context.engine;
        let Some(last) = seen.sandboxes.last() else { return Ok(None) };
        if last.created {
            return Ok(Some(Usable::Created(last.id.clone())));
        }
        if !last.running {
            return Ok(None);
        }
        let Some(details) = engine.container(&last.id)?.filter(|details| details.state.is_running()) else {
            return Ok(None);
        };
        if has_lost_containers(seen, &details) {
            return Ok(None);
        }
        Ok(Some(if is_filled(self.context, &details)? { Usable::Filled(details) } else { Usable::Started(details) }))
    }

    /// A new sandbox. Of one that is dead the containers are of no use any more: they have no network. It stays as long
    /// as they do, as it shows how they ended, and Podman wants it so.
    fn make(&self, seen: &PodSeen) -> Result<Details> {
        let rendered = self.render()?;
        // One that was started again may still run, and hold the pod's ports.
        for lost in seen.containers.iter().chain(&seen.sandboxes).filter(|seen| seen.running) {
            kill(self.context, lost)?;
        }
        self.make_volumes(seen)?;
        let id = self.create(seen)?;
        let details = self.start(&id, &rendered, seen)?;
        for old in seen.sandboxes.iter().filter(|old| !seen.has_joined(&old.id)) {
            self.context.engine.remove_container(&old.id, true)?;
        }
        Ok(details)
    }

    /// What the host renders, asked for before anything is made: an object may be missing.
    fn render(&self) -> Result<Rendered<'_>> {
        self.layout.rendered().map(|volume| Ok((volume.name, cluster::volume(&self.pod.id, volume.name)?))).collect()
    }

    fn make_volumes(&self, seen: &PodSeen) -> Result<()> {
        let (context, id) = (self.context, &self.pod.id);
        for spec in self.layout.specs(&context.names(id, seen), &context.node, id, context.engine.dialect()) {
            make_volume(self.context, &spec)?;
        }
        Ok(())
    }

    /// Creates the container, or finds it.
    fn create(&self, seen: &PodSeen) -> Result<String> {
        let (context, id, attempt) = (self.context, &self.pod.id, seen.next_sandbox());
        let names = context.names(id, seen);
        let labels = labels::sandbox(&context.node, id, attempt, &self.pod.revision);
        let spec = spec::of(context, self.spec, &self.pod.network, self.layout.sandbox_binds(&names), labels);
        let name = names.sandbox(attempt);
        let mut outcome = context.engine.create_container(&name, &spec);
        if outcome.as_ref().is_err_and(Failure::is_not_found) {
            pause::provide_image(context)?;
            outcome = context.engine.create_container(&name, &spec);
        }
        match outcome {
            Err(failure) if failure.is_conflict() => self.created_before(&name, failure),
            outcome => Ok(machine::made(&self.pod.id, outcome?)),
        }
    }

    /// The name is taken: by what another call has made, or by somebody else.
    fn created_before(&self, name: &str, failure: Failure) -> Result<String> {
        let there = self.context.engine.container(name)?;
        let ours = there.filter(|details| {
            let mark = Mark::read(&self.context.node, &details.config.labels);
            mark.is_some_and(|mark| mark.pod == self.pod.id && matches!(mark.kind, Kind::Sandbox { .. }))
        });
        ours.map(|details| details.id).ok_or_else(|| failure.into())
    }

    fn start(&self, id: &str, rendered: &Rendered<'_>, seen: &PodSeen) -> Result<Details> {
        pause::provide_program(self.context, id)?;
        if let Err(failure) = self.context.engine.start_container(id) {
            if failure.refusal().is_some() {
                // It holds nothing yet, and its ports are tried anew with a new one. If it cannot be removed, it is
                // found as made.
                let _ = self.context.engine.remove_container(id, true);
            }
            return Err(not_started(failure));
        }
        let details = self.context.engine.container(id)?.filter(|details| details.state.is_running());
        let details = details.ok_or_else(|| {
            Error::unavailable(
                "SandboxEnded",
                format!("the sandbox of pod {:?} ended right after its start", self.pod.id.name),
            )
        })?;
        self.fill(details, rendered, seen)
    }

    /// Fills the volumes of a sandbox that runs, before any container does.
    fn fill(&self, details: Details, rendered: &Rendered<'_>, seen: &PodSeen) -> Result<Details> {
        // Of a pod's first sandbox there is nothing to be looked for.
        let ready =
            !seen.is_empty() && self.context.engine.stat_path(&details.id, &format!("{ROOT}/{OWN}/{READY}"))?.is_some();
        let archive = self.pack(&details, rendered, ready).map_err(|error| pause::unpackable(&error))?;
        self.context.engine.put_archive(&details.id, ROOT, archive)?;
        Ok(details)
    }

    fn pack(&self, sandbox: &Details, rendered: &Rendered<'_>, ready: bool) -> std::io::Result<Vec<u8>> {
        let mut filling = Filling::new(Pack::new(clock::now()), group(self.spec));
        filling.roots(&self.layout, ready)?;
        for (volume, files) in rendered {
            filling.first(volume, files)?;
        }
        // Ephemeral ones come later, and bring theirs.
        let known = self.spec.all().filter(|placed| placed.list != List::Ephemeral);
        filling.messages(known.map(|placed| (placed.container.name.as_str(), 0)))?;
        if hosts::is_ours(self.context.engine.dialect(), self.spec) {
            filling.hosts(&hosts::file(&self.pod.network, &sandbox.network_settings.addresses()))?;
        }
        filling.finish(Some(&marker(sandbox)))
    }
}

/// Makes one volume, or finds it.
fn make_volume(context: &Context, spec: &VolumeSpec) -> Result<()> {
    let there = context.engine.create_volume(spec)?;
    if there.is(spec) {
        return Ok(());
    }
    let message = format!("the engine has another volume {:?}, which is not of this pod", spec.name);
    Err(Error::failed_precondition("VolumeTaken", message))
}

/// Why a sandbox does not start, which may be mended.
fn not_started(failure: Failure) -> Error {
    let Failure::Refused(refusal) = failure else { return failure.into() };
    let taken = refusal.says("port is already allocated") || refusal.says("address already in use");
    if taken {
        refusal.error(Code::ResourceExhausted, "HostPortTaken")
    } else {
        refusal.error(Code::Unknown, "SandboxFailed")
    }
}

fn foreign(id: &str) -> Error {
    Error::internal("SandboxNotOurs", format!("the engine's container {id} has lost its labels"))
}
