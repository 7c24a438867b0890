//! The configuration comes to name another place.

use vk_provider::{Code, Effect};

use super::*;

#[test]
fn pods_are_not_looked_for_elsewhere_than_where_they_were_made() {
    let arm = azure();
    let place = |group: &str| testing::configure(&format!("Region = \"westeurope\"\nResourceGroup = \"{group}\""));
    place("others");
    assert_eq!(get("u1").unwrap(), None, "as long as there is no pod it may be anywhere");
    place("pods");
    create(pod("u1")).unwrap();
    place("Pods");
    assert!(get("u1").unwrap().is_some(), "Azure does not tell names apart by case");
    place("others");
    arm.asked();
    testing::new_call();
    for error in [get("u1").unwrap_err(), delete("u1").unwrap_err(), next(&None, 0).unwrap_err()] {
        let told = (error.code, error.reason.as_ref(), error.effect, error.field);
        assert_eq!(told, (Code::FailedPrecondition, "PodsAreElsewhere", Effect::None, None), "{}", error.message);
        assert!(error.message.contains("resource group pods of the subscription s"), "{}", error.message);
    }
    assert!(arm.asked().is_empty());
    place("pods");
    arm.0.borrow_mut().quick = true;
    assert_eq!(delete("u1").unwrap(), Deletion::Gone);
    place("others");
    assert_eq!(get("u1").unwrap(), None);
}
