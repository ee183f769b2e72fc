//! Whose addresses are whose: the ranges of Services' cluster addresses, and those of pods.

use std::collections::BTreeMap;

use ipnet::IpNet;
use skep_abi::{Config, Family, FamilyConfig};

use crate::objects::{Object, ServiceCidr};
use crate::watch;

/// The ranges of Service addresses, by the names of their objects.
#[derive(Debug, Default)]
pub(crate) struct ServiceRanges {
    by_name: BTreeMap<String, Vec<IpNet>>,
    synced: bool,
}

impl ServiceRanges {
    /// Takes an event; whether the ranges may be other ones now.
    pub(crate) fn take(&mut self, event: watch::Event<ServiceCidr>) -> bool {
        match event {
            watch::Event::Restarted => {
                self.by_name.clear();
                self.synced = false;
            }
            watch::Event::Synced => self.synced = true,
            watch::Event::Listed(cidr) | watch::Event::Applied(cidr) => {
                let spec = cidr.spec.as_ref();
                let texts = spec.into_iter().flat_map(|spec| &spec.cidrs);
                let ranges = texts.filter_map(|text| text.parse().ok()).collect();
                self.by_name.insert(cidr.meta().name.clone(), ranges);
            }
            watch::Event::Deleted(cidr) => drop(self.by_name.remove(&cidr.meta().name)),
        }
        self.synced
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = IpNet> {
        self.by_name.values().flatten().copied()
    }

    /// At most one per family: as many as the programs know.
    pub(crate) fn first(&self) -> Vec<IpNet> {
        let of = |v4: bool| self.all().find(|range| range.addr().is_ipv4() == v4);
        of(true).into_iter().chain(of(false)).collect()
    }
}

/// The ranges of all pods of skep's own network, as the programs know them; of somebody else's they know
/// none.
pub(crate) fn of_pods(config: &Config) -> Vec<IpNet> {
    fn of<F: Family>(family: &FamilyConfig<F>) -> Option<IpNet> {
        let (address, mask) = (F::addr_to_ip(family.cluster), F::addr_to_ip(family.cluster_mask));
        IpNet::with_netmask(address, mask).ok().filter(|range| range.prefix_len() > 0)
    }
    of(&config.v4).into_iter().chain(of(&config.v6)).collect()
}

#[cfg(test)]
mod tests {
    use skep_abi::{V4, V6};

    use super::*;
    use crate::objects::{Meta, ServiceCidrSpec};

    fn cidr(name: &str, ranges: &[&str]) -> ServiceCidr {
        let cidrs = ranges.iter().map(|&range| range.into()).collect();
        let metadata = Some(Meta { name: name.into(), ..Meta::default() });
        ServiceCidr { metadata, spec: Some(ServiceCidrSpec { cidrs }) }
    }

    fn texts(ranges: impl IntoIterator<Item = IpNet>) -> Vec<String> {
        ranges.into_iter().map(|range| range.to_string()).collect()
    }

    #[test]
    fn ranges_count_once_all_are_known() {
        let mut ranges = ServiceRanges::default();
        assert!(!ranges.take(watch::Event::Restarted));
        assert!(!ranges.take(watch::Event::Listed(cidr("a", &["10.96.0.0/16", "fd00::/112"]))));
        assert!(ranges.take(watch::Event::Synced));
        assert!(ranges.take(watch::Event::Applied(cidr("b", &["10.97.0.0/16"]))));
        assert_eq!(texts(ranges.all()), ["10.96.0.0/16", "fd00::/112", "10.97.0.0/16"]);
        assert_eq!(texts(ranges.first()), ["10.96.0.0/16", "fd00::/112"]);
        assert!(ranges.take(watch::Event::Deleted(cidr("a", &[]))));
        assert_eq!(texts(ranges.first()), ["10.97.0.0/16"]);
    }

    #[test]
    fn pods_are_in_the_ranges_that_the_programs_know() {
        let v4 = |text: &str| V4::addr_from_ip(text.parse().expect("address")).expect("IPv4");
        let v6 = |text: &str| V6::addr_from_ip(text.parse().expect("address")).expect("IPv6");
        let mut config = Config::default();
        assert_eq!(of_pods(&config), []);
        (config.v4.cluster, config.v4.cluster_mask) = (v4("10.244.0.0"), v4("255.255.0.0"));
        (config.v6.cluster, config.v6.cluster_mask) = (v6("fd00:1::"), v6("ffff:ffff:ffff::"));
        assert_eq!(texts(of_pods(&config)), ["10.244.0.0/16", "fd00:1::/48"]);
    }
}
