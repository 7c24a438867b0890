//! What opens a volume that the backend mounts by itself: the keys of the Secret that an azureFile or csi volume
//! names, as files that no container sees. Which of them opens what, the provider knows.
//! (kubernetes/pkg/api/v1/pod VisitPodSecretNames, sigs.k8s.io/azurefile-csi-driver/docs/driver-parameters.md)

use k8s_openapi::api::core::v1::{AzureFileVolumeSource, CSIVolumeSource};

use super::{Error, Source, What, config};
use crate::pods::object::PodObject;

/// The driver that takes a Secret's name as an attribute, too.
const AZURE_FILE: &str = "file.csi.azure.com";

pub(super) fn of_azure_file<'a>(volume: &'a AzureFileVolumeSource, field: &str) -> Vec<Source<'a>> {
    let object = config::Object::of_secret_name(&volume.secret_name);
    vec![Source { field: format!("{field}.azureFile"), what: What::Object(object) }]
}

/// An error: it names no Secret, or another namespace's.
pub(super) fn of_csi<'a>(pod: &PodObject, volume: &'a CSIVolumeSource, field: &str) -> Result<Vec<Source<'a>>, Error> {
    let named = volume.node_publish_secret_ref.as_ref().map(|reference| &*reference.name);
    let object = match named.filter(|name| !name.is_empty()) {
        Some(name) => config::Object::of_secret_name(name),
        None if volume.driver == AZURE_FILE => of_attributes(pod, volume, field)?,
        None => return Err(Error::NoFiles),
    };
    Ok(vec![Source { field: format!("{field}.csi"), what: What::Object(object) }])
}

/// Whoever may make pods in one namespace gets no Secret of another.
fn of_attributes<'a>(pod: &PodObject, volume: &'a CSIVolumeSource, field: &str) -> Result<config::Object<'a>, Error> {
    let name = attribute(volume, "secretName").ok_or(Error::NoFiles)?;
    let namespace = attribute(volume, "secretNamespace");
    if namespace.is_some_and(|namespace| Some(namespace) != pod.metadata.namespace.as_deref()) {
        let field = format!("{field}.csi.volumeAttributes[secretNamespace]");
        return Err(Error::Refused { field, message: "a pod has the Secrets of its own namespace alone".into() });
    }
    Ok(config::Object::of_secret_attribute(name))
}

/// The driver takes names in any case.
fn attribute<'a>(volume: &'a CSIVolumeSource, name: &str) -> Option<&'a str> {
    let mut all = volume.volume_attributes.iter().flatten();
    let found = all.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
    found.filter(|value| !value.is_empty())
}
