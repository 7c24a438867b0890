//! The pod's own fields as files. (kubernetes/pkg/volume/downwardapi)

use k8s_openapi::api::core::v1::DownwardAPIVolumeFile;

use super::super::field;
use super::{Context, Drawn, Error, mode, wrong_path};

pub(super) fn draw(
    items: &[DownwardAPIVolumeFile],
    field: &str,
    context: &Context<'_>,
    drawn: &mut Drawn,
) -> Result<(), Error> {
    for (index, item) in items.iter().enumerate() {
        let field = format!("{field}.items[{index}]");
        let content = content(item, context).map_err(|(what, message)| {
            let field = format!("{field}.{what}");
            Error::Refused { field, message }
        })?;
        let access = drawn.owner.shared(mode(item.mode, drawn.mode));
        let put = drawn.tree.put(&item.path, access, content.into(), false);
        put.map_err(|wrong| wrong_path(format!("{field}.path"), &item.path, wrong))?;
    }
    Ok(())
}

/// An error names the field that is wrong, and what would be right.
fn content(item: &DownwardAPIVolumeFile, context: &Context<'_>) -> Result<String, (&'static str, String)> {
    match item {
        DownwardAPIVolumeFile { field_ref: Some(reference), .. } => {
            let path = &reference.field_path;
            match field::field(context.pod, context.node, &[], path).map_err(|message| ("fieldRef", message))? {
                field::Value::Known(text) => Ok(text),
                field::Value::Late => {
                    let message = format!("fieldPath {path:?} is for variables: no file has it before the pod runs");
                    Err(("fieldRef", message))
                }
            }
        }
        DownwardAPIVolumeFile { resource_field_ref: Some(selector), .. } => {
            // The API server wants the container's name here.
            let resource = field::resource(context.pod, context.containers, "", selector, context.node);
            resource.map_err(|message| ("resourceFieldRef", message))
        }
        // The kubelet makes an empty file.
        _ => Ok(String::new()),
    }
}
