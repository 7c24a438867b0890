//! What a group runs on: kind of machine, price, zone.

use vk_aci::group::{ConfidentialComputeProperties, Priority, Sku};
use vk_provider::Result;

use super::Scene;
use crate::annotations::{DNS_LABEL, PRIORITY, PUBLIC_IP, SKU, SUBNET, ZONES};
use crate::limits::{self, Size};
use crate::refusals::refuse_annotation;

/// Hundredths of a core: a confidential group in a virtual network may have one core more.
const CONFIDENTIAL_IN_SUBNET: i64 = 3200;

/// What a group runs on.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) sku: Option<Sku>,
    pub(super) priority: Option<Priority>,
    pub(super) zone: Option<String>,
    pub(super) confidential: Option<ConfidentialComputeProperties>,
    /// The largest group of this kind.
    pub(super) most: Size,
}

impl Placement {
    pub(super) fn is_spot(&self) -> bool {
        self.priority == Some(Priority::Spot)
    }

    pub(super) fn is_confidential(&self) -> bool {
        self.sku == Some(Sku::Confidential)
    }
}

/// # Errors
/// What does not go together.
pub(super) fn of(scene: Scene<'_>) -> Result<Placement> {
    let Scene { wishes, config, .. } = scene;
    let defaults = &config.defaults;
    let policy = wishes.cce_policy.as_ref().map(|policy| policy.text.clone());
    let sku = if policy.is_some() { Some(Sku::Confidential) } else { wishes.sku.clone().or(defaults.sku.clone()) };
    let priority = wishes.priority.clone().or(defaults.priority.clone());
    let zone = wishes.zone.clone().or(defaults.zone.clone());
    let confidential = policy.map(|policy| ConfidentialComputeProperties { cce_policy: Some(policy) });
    let mut placement = Placement { sku, priority, zone, confidential, most: limits::MOST_STANDARD };
    if placement.is_confidential() {
        if !scene.is_linux() {
            return Err(match wishes.confidential_by() {
                Some(name) => refuse_annotation(name, "confidential groups are of Linux"),
                None => refuse_annotation(
                    SKU,
                    "confidential groups are of Linux, and the configuration's sku is Confidential: ask for Standard here",
                ),
            });
        }
        placement.most = limits::MOST_CONFIDENTIAL;
        if scene.subnet().is_some() {
            placement.most.cpu = CONFIDENTIAL_IN_SUBNET;
        }
    }
    if placement.is_spot() {
        check_spot(scene, &placement)?;
        placement.most = limits::MOST_SPOT;
    }
    Ok(placement)
}

/// What a group of priority Spot cannot have, at the annotation that asks for it, else at the one that asks for Spot.
fn check_spot(scene: Scene<'_>, placement: &Placement) -> Result<()> {
    let Scene { wishes, .. } = scene;
    for (is_set, own, what) in [
        (scene.subnet().is_some(), wishes.subnet.as_ref().map(|_| SUBNET), "subnet"),
        (placement.zone.is_some(), wishes.zone.as_ref().map(|_| ZONES), "zone"),
        (placement.is_confidential(), wishes.confidential_by(), "confidential machine"),
        (wishes.public_ip == Some(true), Some(PUBLIC_IP), "public address"),
        (wishes.dns_label.is_some(), Some(DNS_LABEL), "public address"),
    ] {
        if is_set {
            let why = format!("a group of priority Spot has no {what}");
            return Err(refuse_annotation(own.unwrap_or(PRIORITY), why));
        }
    }
    Ok(())
}
