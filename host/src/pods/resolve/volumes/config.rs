//! ConfigMaps and Secrets as files: a file a key, or those that `items` name. (kubernetes/pkg/volume/configmap, …/secret)

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, ConfigMapVolumeSource, KeyToPath, SecretProjection, SecretVolumeSource,
};

use super::super::objects::{Data, Kind, Lookup};
use super::{Context, Drawn, Error, mode, wrong_path};

/// What a volume takes of one object.
pub(super) struct Object<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    /// Empty: every key.
    items: &'a [KeyToPath],
    optional: bool,
    /// Why it may not be readable.
    hint: Option<&'static str>,
}

/// The Node authorizer reads fields, not attributes.
const OF_AN_ATTRIBUTE: &str =
    "a node may read the Secret that nodePublishSecretRef names, and needs a right of its own for one in an attribute";

impl<'a> Object<'a> {
    pub(super) fn of_config_map(volume: &'a ConfigMapVolumeSource) -> Self {
        Self::new(Kind::ConfigMap, &volume.name, volume.items.as_deref(), volume.optional)
    }

    pub(super) fn of_secret(volume: &'a SecretVolumeSource) -> Self {
        let name = volume.secret_name.as_deref().unwrap_or_default();
        Self::new(Kind::Secret, name, volume.items.as_deref(), volume.optional)
    }

    pub(super) fn of_config_map_projection(source: &'a ConfigMapProjection) -> Self {
        Self::new(Kind::ConfigMap, &source.name, source.items.as_deref(), source.optional)
    }

    pub(super) fn of_secret_projection(source: &'a SecretProjection) -> Self {
        Self::new(Kind::Secret, &source.name, source.items.as_deref(), source.optional)
    }

    /// The whole of a Secret that a field of the pod names.
    pub(super) fn of_secret_name(name: &'a str) -> Self {
        Self::new(Kind::Secret, name, None, None)
    }

    /// The same where an attribute names it.
    pub(super) fn of_secret_attribute(name: &'a str) -> Self {
        Self { hint: Some(OF_AN_ATTRIBUTE), ..Self::of_secret_name(name) }
    }

    fn new(kind: Kind, name: &'a str, items: Option<&'a [KeyToPath]>, optional: Option<bool>) -> Self {
        Self { kind, name, items: items.unwrap_or_default(), optional: optional.unwrap_or(false), hint: None }
    }

    pub(super) fn draw(&self, field: &str, context: &Context<'_>, drawn: &mut Drawn) -> Result<(), Error> {
        let Some(data) = self.data(context)? else { return Ok(()) };
        if self.items.is_empty() {
            for (key, content) in data.values.iter().chain(&data.binary) {
                let access = drawn.owner.shared(drawn.mode);
                let put = drawn.tree.put(key, access, content.clone(), self.is_secret());
                put.map_err(|wrong| wrong_path(field.to_string(), key, wrong))?;
            }
            return Ok(());
        }
        for (index, item) in self.items.iter().enumerate() {
            self.draw_item(item, &format!("{field}.items[{index}]"), data, drawn)?;
        }
        Ok(())
    }

    fn draw_item(&self, item: &KeyToPath, field: &str, data: &Data, drawn: &mut Drawn) -> Result<(), Error> {
        let KeyToPath { key, mode: own, path } = item;
        let Some(content) = data.file(key) else {
            let kind = self.kind.name().to_lowercase();
            let missing = Error::Missing(format!("{kind} {:?} has no key {key:?}", self.name));
            return if self.optional { Ok(()) } else { Err(missing) };
        };
        let access = drawn.owner.shared(mode(*own, drawn.mode));
        let put = drawn.tree.put(path, access, content.clone(), self.is_secret());
        put.map_err(|wrong| wrong_path(format!("{field}.path"), path, wrong))
    }

    /// none: it is optional and absent.
    fn data<'f>(&self, context: &Context<'f>) -> Result<Option<&'f Data>, Error> {
        let kind = self.kind.name().to_lowercase();
        match context.found.objects.get(&(self.kind, self.name.to_string())).map(|lookup| &**lookup) {
            Some(Lookup::Found(data)) => Ok(Some(data)),
            Some(Lookup::Failed(cause)) => {
                let hint = self.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                Err(Error::Unread(format!("cannot read {kind} {:?}: {cause}{hint}", self.name)))
            }
            Some(Lookup::Absent) | None if self.optional => Ok(None),
            // The kubelet's words.
            Some(Lookup::Absent) | None => Err(Error::Missing(format!("{kind} {:?} not found", self.name))),
        }
    }

    fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }
}
