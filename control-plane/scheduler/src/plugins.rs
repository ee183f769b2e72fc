//! The default plugins, in the order and with the weights of upstream's default profile.

mod affinity;
mod balanced;
mod fit;
mod images;
mod node_affinity;
mod node_name;
mod ports;
mod spread;
mod taints;
mod unschedulable;
mod volume_binding;
mod volume_restrictions;
mod volume_zone;

use crate::plugin::{FilterPlugin, ScorePlugin};

/// What keeps pods off nodes. The first to object is the one that is heard.
pub fn filters() -> Vec<Box<dyn FilterPlugin>> {
    vec![
        Box::new(node_name::NodeName),
        Box::new(unschedulable::NodeUnschedulable),
        Box::new(taints::TaintToleration),
        Box::new(node_affinity::NodeAffinity),
        Box::new(ports::NodePorts),
        Box::new(fit::NodeResourcesFit),
        Box::new(volume_restrictions::VolumeRestrictions),
        Box::new(volume_binding::VolumeBinding),
        Box::new(volume_zone::VolumeZone),
        Box::new(spread::PodTopologySpread),
        Box::new(affinity::InterPodAffinity),
    ]
}

/// What prefers some nodes over others.
pub fn scorers() -> Vec<Box<dyn ScorePlugin>> {
    vec![
        Box::new(taints::TaintToleration),
        Box::new(node_affinity::NodeAffinity),
        Box::new(fit::NodeResourcesFit),
        Box::new(spread::PodTopologySpread),
        Box::new(affinity::InterPodAffinity),
        Box::new(balanced::NodeResourcesBalancedAllocation),
        Box::new(images::ImageLocality),
    ]
}
