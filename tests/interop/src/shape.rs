//! Services by their properties: the combinations that are compared, and random ones.

use crate::terms::Family;

/// Where an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Spot {
    /// The pod of node1 that also asks as [`Sender::Endpoint`].
    Near,
    /// Another pod of node1.
    NearOther,
    /// A pod of node2.
    Far,
    /// Another pod of node2.
    FarOther,
    /// A process in node1's own network.
    NearHost,
    /// A process in node2's own network.
    FarHost,
}

impl Spot {
    pub(crate) const ALL: [Self; 6] =
        [Self::Near, Self::NearOther, Self::Far, Self::FarOther, Self::NearHost, Self::FarHost];

    /// Whether it is on node1.
    pub(crate) fn is_near(self) -> bool {
        matches!(self, Self::Near | Self::NearOther | Self::NearHost)
    }
}

/// The conditions of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    Unready,
    /// Terminating, and still serving.
    Ending,
    /// Terminating, and no longer serving.
    Ended,
}

impl State {
    pub(crate) const ALL: [Self; 4] = [Self::Ready, Self::Unready, Self::Ending, Self::Ended];
}

/// What a slice says about who should prefer an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    None,
    /// For the zone of node1.
    OwnZone,
    /// For another zone.
    OtherZone,
    /// For node1.
    OwnNode,
    /// For node2.
    OtherNode,
}

impl Hint {
    const ALL: [Self; 5] =
        [Self::None, Self::OwnZone, Self::OtherZone, Self::OwnNode, Self::OtherNode];
}

/// An endpoint of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) at: Spot,
    pub(crate) state: State,
    pub(crate) hint: Hint,
}

/// Who may use the load balancer's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ranges {
    #[default]
    Everybody,
    /// Only the host outside.
    Outside,
    /// Only the pods.
    Pods,
    /// Only the nodes.
    Nodes,
    /// Nobody of those who ask.
    Strangers,
}

impl Ranges {
    const ALL: [Self; 5] =
        [Self::Everybody, Self::Outside, Self::Pods, Self::Nodes, Self::Strangers];
}

/// A Service: of type LoadBalancer, with every kind of address, for TCP and UDP on one port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Shape {
    pub(crate) name: String,
    /// The families of its addresses and endpoints, the first one first.
    pub(crate) families: &'static [Family],
    pub(crate) endpoints: Vec<Endpoint>,
    /// internalTrafficPolicy is Local.
    pub(crate) internal_local: bool,
    /// externalTrafficPolicy is Local.
    pub(crate) external_local: bool,
    /// sessionAffinity is ClientIP.
    pub(crate) affinity: bool,
    pub(crate) ranges: Ranges,
}

impl Shape {
    fn new(name: &str, endpoints: &[(Spot, State)]) -> Self {
        let endpoint = |&(at, state): &_| Endpoint { at, state, hint: Hint::None };
        Self {
            name: name.to_owned(),
            families: &Family::ALL,
            endpoints: endpoints.iter().map(endpoint).collect(),
            ..Self::default()
        }
    }

    fn with_policies(&self) -> impl Iterator<Item = Self> + '_ {
        [(false, false), (false, true), (true, false), (true, true)].into_iter().map(
            |(internal_local, external_local)| {
                let word = |local| if local { "Local" } else { "Cluster" };
                let (internal, external) = (word(internal_local), word(external_local));
                Self {
                    name: format!("{}, {internal} inside, {external} outside", self.name),
                    internal_local,
                    external_local,
                    ..self.clone()
                }
            },
        )
    }

    /// How often to ask so that each server that may answer most likely does.
    pub(crate) fn tries(&self) -> usize {
        match self.endpoints.len() {
            0 | 1 => 1,
            2 => 6,
            _ => 12,
        }
    }
}

/// The combinations.
pub(crate) fn named() -> Vec<Shape> {
    use Spot::{Far, FarHost, FarOther, Near, NearHost, NearOther};
    use State::{Ended, Ending, Ready, Unready};
    let sets: [(&str, &[(Spot, State)]); 18] = [
        ("no endpoint", &[]),
        ("one here", &[(Near, Ready)]),
        ("another one here", &[(NearOther, Ready)]),
        ("one there", &[(Far, Ready)]),
        ("one here and one there", &[(Near, Ready), (Far, Ready)]),
        (
            "two here and two there",
            &[(Near, Ready), (NearOther, Ready), (Far, Ready), (FarOther, Ready)],
        ),
        ("one ending here", &[(Near, Ending)]),
        ("one ending there", &[(Far, Ending)]),
        ("one ending here and one there", &[(Near, Ending), (Far, Ending)]),
        ("one ending here, one ready there", &[(Near, Ending), (Far, Ready)]),
        ("one ready here, one ending there", &[(Near, Ready), (Far, Ending)]),
        ("one ending and one ready here", &[(Near, Ending), (NearOther, Ready)]),
        ("one unready here", &[(Near, Unready)]),
        ("one unready here, one ready there", &[(Near, Unready), (Far, Ready)]),
        ("one ended here", &[(Near, Ended)]),
        ("one ended here, one ending there", &[(Near, Ended), (Far, Ending)]),
        ("the node itself", &[(NearHost, Ready)]),
        ("the other node", &[(FarHost, Ready)]),
    ];
    let mut shapes: Vec<Shape> = Vec::new();
    for (name, endpoints) in sets {
        shapes.extend(Shape::new(name, endpoints).with_policies());
    }
    let both: &[(Spot, State)] = &[(Near, Ready), (NearOther, Ready), (Far, Ready)];
    for ranges in Ranges::ALL.into_iter().filter(|ranges| *ranges != Ranges::Everybody) {
        let name = format!("for {ranges:?} only").to_lowercase();
        let shape = Shape { ranges, ..Shape::new(&name, &[(NearOther, Ready)]) };
        shapes.extend(shape.with_policies().filter(|shape| !shape.internal_local));
    }
    let affine = Shape { affinity: true, ..Shape::new("three with affinity", both) };
    shapes.extend(affine.with_policies());
    for (name, families) in [("IPv4 alone", &[Family::V4]), ("IPv6 alone", &[Family::V6])] {
        shapes.push(Shape { families, ..Shape::new(name, both) });
    }
    shapes.extend(hinted());
    shapes
}

fn hinted() -> Vec<Shape> {
    use Hint::{None, OtherNode, OtherZone, OwnNode, OwnZone};
    let sets: [(&str, [Hint; 3]); 7] = [
        ("own zone here", [OwnZone, OtherZone, OtherZone]),
        ("own zone there", [OtherZone, OtherZone, OwnZone]),
        ("no hint for own zone", [OtherZone, OtherZone, OtherZone]),
        ("a hint is missing", [OwnZone, None, OtherZone]),
        ("own node here", [OwnNode, OtherNode, OtherNode]),
        ("own node there", [OtherNode, OtherNode, OwnNode]),
        ("other node only", [OtherNode, OtherNode, OtherNode]),
    ];
    let spots = [Spot::Near, Spot::NearOther, Spot::Far];
    let shape = |(name, hints): (&str, [Hint; 3])| Shape {
        endpoints: spots
            .into_iter()
            .zip(hints)
            .map(|(at, hint)| Endpoint { at, state: State::Ready, hint })
            .collect(),
        ..Shape::new(&format!("hints: {name}"), &[])
    };
    sets.map(shape).into()
}

/// What a random Service may have.
const FAMILIES: [&[Family]; 4] =
    [&Family::ALL, &[Family::V6, Family::V4], &[Family::V4], &[Family::V6]];

/// Random ones; the same for the same seed.
pub(crate) fn random(seed: u64, count: usize) -> Vec<Shape> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..count).map(|number| random_one(number, &mut rng)).collect()
}

fn random_one(number: usize, rng: &mut fastrand::Rng) -> Shape {
    let mut endpoints = Vec::new();
    let hinted = rng.u8(..4) == 0;
    for at in Spot::ALL {
        if rng.bool() {
            continue;
        }
        // Mostly ready, or hardly any Service would be served.
        let state = if rng.bool() { State::Ready } else { rng.choice(State::ALL).expect("some") };
        let hint = if hinted { rng.choice(Hint::ALL).expect("there are some") } else { Hint::None };
        endpoints.push(Endpoint { at, state, hint });
    }
    let ranged = rng.u8(..3) == 0;
    let mut shape = Shape {
        name: String::new(),
        families: rng.choice(FAMILIES).expect("there are some"),
        endpoints,
        internal_local: rng.bool(),
        external_local: rng.bool(),
        affinity: rng.u8(..4) == 0,
        ranges: if ranged { rng.choice(Ranges::ALL).expect("some") } else { Ranges::Everybody },
    };
    shape.name = format!("random {number}: {}", shape.describe());
    shape
}

impl Shape {
    fn describe(&self) -> String {
        let word = |local| if local { "Local" } else { "Cluster" };
        let mut words = vec![format!("{:?}", self.families)];
        for Endpoint { at, state, hint } in &self.endpoints {
            let hint = if *hint == Hint::None { String::new() } else { format!(" for {hint:?}") };
            words.push(format!("{at:?} {state:?}{hint}"));
        }
        words.push(format!("{} inside", word(self.internal_local)));
        words.push(format!("{} outside", word(self.external_local)));
        if self.affinity {
            words.push("affinity".to_owned());
        }
        if self.ranges != Ranges::Everybody {
            words.push(format!("for {:?} only", self.ranges));
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_services_again() {
        assert_eq!(random(7, 20), random(7, 20));
        assert_ne!(random(7, 20), random(8, 20));
    }

    #[test]
    fn names_tell_services_apart() {
        let names: Vec<String> = named().into_iter().map(|shape| shape.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }
}
