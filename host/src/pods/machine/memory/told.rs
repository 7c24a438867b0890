//! What people are told of containers that wait, in the kubelet's words.

use std::time::Duration;

use super::super::action::{Event, Trouble, go_duration};

/// An image is not pulled because that failed before.
pub(in crate::pods::machine) fn pull_back_off(image: &str, error: &str) -> (Trouble, Vec<Event>) {
    let message = format!("Back-off pulling image {image:?}");
    let trouble = Trouble { reason: "ImagePullBackOff", message: format!("{message}: ErrImagePull: {error}") };
    (trouble, vec![Event::normal("BackOff", message), Event::warning("Failed", "Error: ImagePullBackOff")])
}

/// No registry could have an image of this name.
pub(in crate::pods::machine) fn invalid_image(image: &str) -> (Trouble, Vec<Event>) {
    let why = format!("couldn't parse image name {image:?}: invalid reference format");
    let message = format!("Failed to apply default image tag {image:?}: {why}");
    let events =
        vec![Event::warning("InspectFailed", message.clone()), Event::warning("Failed", "Error: InvalidImageName")];
    (Trouble { reason: "InvalidImageName", message }, events)
}

/// An image is not there and must not be pulled.
pub(in crate::pods::machine) fn never_pulled(image: &str) -> (Trouble, Vec<Event>) {
    let message = format!("Container image {image:?} is not present with pull policy of Never");
    let events = vec![
        Event::warning("ErrImageNeverPull", message.clone()),
        Event::warning("Failed", "Error: ErrImageNeverPull"),
    ];
    (Trouble { reason: "ErrImageNeverPull", message }, events)
}

/// An ephemeral container wants to look into another one that never was.
pub(in crate::pods::machine) fn no_target(target: &str) -> (Trouble, Vec<Event>) {
    let message = format!("unable to find target container {target:?}");
    let events = vec![Event::warning("Failed", format!("Error: {message}"))];
    (Trouble { reason: "CreateContainerConfigError", message }, events)
}

/// A container is not started because it crashed before. `pod` is its title.
pub(in crate::pods::machine) fn crash_back_off(pod: &str, name: &str) -> Event {
    Event::warning("BackOff", format!("Back-off restarting failed container {name} in pod {pod}"))
}

/// The same in its status.
pub(in crate::pods::machine) fn crash_loop(pod: &str, name: &str, pause: Duration) -> Trouble {
    let message = format!("back-off {} restarting failed container={name} pod={pod}", go_duration(pause));
    Trouble { reason: "CrashLoopBackOff", message }
}
