//! What a Service's specification needs of the ranges, and how its fields are filled.

use std::net::IpAddr;

use ipnet::IpNet;
use rand::RngExt;
use serde_json::{Value, json};
use skep_api::Object;
use skep_api::names::GroupKind;
use skep_api::status::{FieldError, Status};

use super::{Holding, Services, bitmap, families};

/// The cluster addresses that a Service has.
pub(super) fn addresses(service: &Object) -> Vec<IpAddr> {
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" {
        return Vec::new();
    }
    let all = spec["clusterIPs"].as_array().into_iter().flatten().chain(spec.get("clusterIP"));
    let mut found: Vec<IpAddr> =
        all.filter_map(Value::as_str).filter_map(|text| text.parse().ok()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The node ports that a Service has, the one of its health check included.
pub(super) fn node_ports(service: &Object) -> impl Iterator<Item = u16> {
    let spec = &service["spec"];
    let ports = spec["ports"].as_array().into_iter().flatten();
    let ports = ports.filter_map(|port| port["nodePort"].as_u64());
    let all = ports.chain(spec["healthCheckNodePort"].as_u64());
    all.filter_map(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

fn needs_address(service: &Object) -> bool {
    service["spec"]["type"] != "ExternalName"
}

fn is_headless(service: &Object) -> bool {
    service["spec"]["clusterIP"] == families::NONE
}

fn needs_node_ports(service: &Object) -> bool {
    match service["spec"]["type"].as_str() {
        Some("NodePort") => true,
        Some("LoadBalancer") => service["spec"]["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

fn needs_health_port(service: &Object) -> bool {
    let spec = &service["spec"];
    spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}

fn invalid(service: &Object, errors: &[FieldError]) -> Status {
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let kind = GroupKind { group: "".into(), kind: "Service".into() };
    Status::invalid(&kind, name, errors)
}

impl Services {
    /// Fills in addresses and ports; what is newly taken goes into `taken`.
    pub(super) fn allocate(
        &self,
        service: &mut Object,
        old: Option<&Object>,
        taken: &mut Holding,
    ) -> Result<(), Status> {
        let held = old.map(|old| self.holding(old)).unwrap_or_default();
        if needs_address(service) {
            self.complete_families(service, old)?;
            if !is_headless(service) {
                self.allocate_addresses(service, &held, taken)?;
            }
        }
        self.allocate_ports(service, &held, taken)?;
        if needs_health_port(service) {
            self.allocate_health_port(service, &held, taken)?;
        }
        Ok(())
    }

    fn complete_families(&self, service: &mut Object, old: Option<&Object>) -> Result<(), Status> {
        let cluster: Vec<&str> = self.ranges.iter().map(families::of_range).collect();
        let old = old.and_then(|old| old["spec"].as_object());
        let Some(spec) = service["spec"].as_object_mut() else { return Ok(()) };
        families::complete(spec, old, &cluster).map_err(|errors| invalid(service, &errors))
    }

    /// An address of each of the Service's families, its own or a fresh one.
    fn allocate_addresses(
        &self,
        service: &mut Object,
        held: &Holding,
        taken: &mut Holding,
    ) -> Result<(), Status> {
        let Some(spec) = service["spec"].as_object() else { return Ok(()) };
        let mut addresses = families::strings(spec, "clusterIPs");
        for (index, family) in families::strings(spec, "ipFamilies").iter().enumerate() {
            match addresses.get(index) {
                Some(wanted) => self.take_address(service, wanted, held, taken)?,
                None => addresses.push(self.any_address(family, taken)?.to_string()),
            }
        }
        service["spec"]["clusterIP"] = addresses.first().cloned().into();
        service["spec"]["clusterIPs"] = json!(addresses);
        Ok(())
    }

    fn any_address(&self, family: &str, taken: &mut Holding) -> Result<IpAddr, Status> {
        let mut ranges = self.ranges.iter().enumerate();
        let (number, range) = ranges
            .find(|(_, range)| families::of_range(range) == family)
            .ok_or_else(|| Status::internal(format!("no range of {family} addresses")))?;
        let seed = rand::rng().random_range(..1 << 24);
        let offset = self.taken.lock().addresses[number].take_any(seed);
        let offset = offset.ok_or_else(|| {
            Status::internal(format!("failed to allocate a serviceIP: range {range} is full"))
        })?;
        taken.addresses.push((number, offset));
        Ok(bitmap::nth_address(*range, offset))
    }

    fn take_address(
        &self,
        service: &Object,
        wanted: &str,
        held: &Holding,
        taken: &mut Holding,
    ) -> Result<(), Status> {
        let refuse = |why: String| {
            let detail = format!("failed to allocate IP {wanted}: {why}");
            Err(invalid(
                service,
                &[FieldError::invalid("spec.clusterIPs", json!([wanted]), detail)],
            ))
        };
        let Ok(address) = wanted.parse::<IpAddr>() else {
            // Validation says what is wrong with it.
            return Ok(());
        };
        let Some(place) = self.place(address) else {
            let own = |range: &&IpNet| range.addr().is_ipv4() == address.is_ipv4();
            let ranges: Vec<String> =
                self.ranges.iter().filter(own).map(ToString::to_string).collect();
            return refuse(format!(
                "the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {}",
                ranges.join(", ")
            ));
        };
        if held.addresses.contains(&place) {
            return Ok(());
        }
        if !self.taken.lock().addresses[place.0].take(place.1) {
            return refuse("provided IP is already allocated".to_owned());
        }
        taken.addresses.push(place);
        Ok(())
    }

    fn allocate_ports(
        &self,
        service: &mut Object,
        held: &Holding,
        taken: &mut Holding,
    ) -> Result<(), Status> {
        let needed = needs_node_ports(service);
        let count = service["spec"]["ports"].as_array().map_or(0, Vec::len);
        for index in 0..count {
            let port = &service["spec"]["ports"][index];
            let wanted = port["nodePort"].as_u64().unwrap_or(0);
            if wanted == 0 && !needed {
                continue;
            }
            let number = if wanted == 0 {
                self.any_port(service, index, taken)?
            } else {
                let field = format!("spec.ports[{index}].nodePort");
                self.take_port(service, wanted, &field, held, taken)?;
                continue;
            };
            service["spec"]["ports"][index]["nodePort"] = number.into();
        }
        Ok(())
    }

    /// A node port for a port without one: the same as for the other protocol, or a fresh one.
    fn any_port(&self, service: &Object, index: usize, taken: &mut Holding) -> Result<u16, Status> {
        let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let port = &ports[index];
        let sibling = ports.iter().find(|other| {
            other["port"] == port["port"]
                && other["protocol"] != port["protocol"]
                && other["nodePort"].as_u64().is_some_and(|number| number != 0)
        });
        if let Some(number) = sibling.and_then(|other| other["nodePort"].as_u64()) {
            return Ok(u16::try_from(number).unwrap_or(0));
        }
        self.fresh_port(taken)
    }

    fn fresh_port(&self, taken: &mut Holding) -> Result<u16, Status> {
        let offset = self.taken.lock().ports.take_any(rand::rng().random_range(..1 << 24));
        let offset = offset.ok_or_else(|| {
            Status::internal("failed to allocate a nodePort: provided range is full")
        })?;
        taken.ports.push(offset);
        Ok(self.ports.start() + u16::try_from(offset).unwrap_or(0))
    }

    fn take_port(
        &self,
        service: &Object,
        wanted: u64,
        field: &str,
        held: &Holding,
        taken: &mut Holding,
    ) -> Result<(), Status> {
        let refuse =
            |detail: String| Err(invalid(service, &[FieldError::invalid(field, wanted, detail)]));
        let offset = u16::try_from(wanted).ok().and_then(|port| self.port_offset(port));
        let Some(offset) = offset else {
            return refuse(format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                self.ports.start(),
                self.ports.end()
            ));
        };
        if held.ports.contains(&offset) || taken.ports.contains(&offset) {
            return Ok(());
        }
        if !self.taken.lock().ports.take(offset) {
            return refuse("provided port is already allocated".to_owned());
        }
        taken.ports.push(offset);
        Ok(())
    }

    fn allocate_health_port(
        &self,
        service: &mut Object,
        held: &Holding,
        taken: &mut Holding,
    ) -> Result<(), Status> {
        let wanted = service["spec"]["healthCheckNodePort"].as_u64().unwrap_or(0);
        if wanted != 0 {
            return self.take_port(service, wanted, "spec.healthCheckNodePort", held, taken);
        }
        service["spec"]["healthCheckNodePort"] = self.fresh_port(taken)?.into();
        Ok(())
    }
}
