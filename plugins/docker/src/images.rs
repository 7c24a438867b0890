//! Images: as the pod's spec names them, with the credentials that the cluster has for them.

use vk_engine::image::{Login, Reference, pull_error};
use vk_provider::cluster::{self, Credential};
use vk_provider::containers::PullPolicy;
use vk_provider::{Code, Error, PodRef, Result};

use crate::context::Context;

/// Makes an image present and returns its exact name.
///
/// # Errors
/// It is missing and may not be pulled; its name is none; or what the registry says.
pub(crate) fn pull(context: &Context, id: &PodRef, image: &str, policy: PullPolicy) -> Result<String> {
    let reference = parse(image)?;
    if policy != PullPolicy::Always
        && let Some(there) = context.engine.image(image)?
    {
        return Ok(there.exact_name(&reference, None));
    }
    if policy == PullPolicy::Never {
        let message = format!("image {image:?} is not present with pull policy of Never");
        return Err(Error::not_found("ErrImageNeverPull", message));
    }
    let credentials = cluster::registry_credentials(id, image)?;
    let digest = pull_with(context, &reference, &credentials)?;
    exact(context, image, &reference, digest.as_deref())
}

/// Makes an image present, which needs no credentials.
///
/// # Errors
/// Its name is none; or what the registry says.
pub(crate) fn pull_anonymously(context: &Context, image: &str) -> Result<String> {
    let reference = parse(image)?;
    let digest = pull_with(context, &reference, &[])?;
    exact(context, image, &reference, digest.as_deref())
}

fn parse(image: &str) -> Result<Reference> {
    Reference::parse(image).map_err(|error| Error::invalid_argument("InvalidImageName", error.to_string()))
}

/// Tries the credentials one after the other, as the kubelet does; without any it goes without.
fn pull_with(context: &Context, image: &Reference, credentials: &[Credential]) -> Result<Option<String>> {
    let mut outcome = None;
    for credential in credentials {
        let Credential { server, username, password } = credential;
        let pulled = context.engine.pull_image(image, Some(Login { server, username, password })).map_err(pull_error);
        match pulled {
            Err(error) if is_about_credentials(&error) => outcome = Some(Err(error)),
            pulled => return pulled,
        }
    }
    outcome.unwrap_or_else(|| context.engine.pull_image(image, None).map_err(pull_error))
}

/// Others may do.
const fn is_about_credentials(error: &Error) -> bool {
    matches!(error.code, Code::Unauthenticated | Code::PermissionDenied | Code::NotFound)
}

fn exact(context: &Context, image: &str, reference: &Reference, digest: Option<&str>) -> Result<String> {
    let there = context.engine.image(image)?;
    there
        .map(|there| there.exact_name(reference, digest))
        .ok_or_else(|| Error::aborted("ImageRemoved", format!("image {image:?} was removed right after it was pulled")))
}
