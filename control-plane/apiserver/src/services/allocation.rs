//! What a Service's specification needs of the ranges, and how its fields are filled.

use std::net::IpAddr;

use ipnet::IpNet;
use rand::RngExt;
use serde_json::{Value, json};
use skep_api::Object;
use skep_api::names::GroupKind;
use skep_api::status::{FieldError, Status};

use super::{Holding, Services, bitmap};

const NONE: &str = "None";

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
    service["spec"]["clusterIP"] == NONE
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

fn invalid(service: &Object, error: FieldError) -> Status {
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let kind = GroupKind { group: "".into(), kind: "Service".into() };
    Status::invalid(&kind, name, &[error])
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
        if let Some(old) = old {
            carry_over(service, old);
        }
        if needs_address(service) {
            if !is_headless(service) {
                self.allocate_address(service, &held, taken)?;
            }
            self.complete_families(service)?;
        }
        self.allocate_ports(service, &held, taken)?;
        if needs_health_port(service) {
            self.allocate_health_port(service, &held, taken)?;
        }
        Ok(())
    }

    fn allocate_address(
        &self,
        service: &mut Object,
        held: &Holding,
        taken: &mut Holding,
    ) -> Result<(), Status> {
        let wanted = service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
        let address = if wanted.is_empty() {
            let offset = self.taken.lock().addresses.take_any(rand::rng().random_range(..1 << 24));
            let offset = offset.ok_or_else(|| {
                Status::internal(format!(
                    "failed to allocate a serviceIP: range {} is full",
                    self.range
                ))
            })?;
            taken.addresses.push(offset);
            bitmap::nth_address(self.range, offset).to_string()
        } else {
            self.take_address(service, &wanted, held, taken)?;
            wanted
        };
        service["spec"]["clusterIPs"] = json!([address]);
        service["spec"]["clusterIP"] = address.into();
        Ok(())
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
            Err(invalid(service, FieldError::invalid("spec.clusterIPs", json!([wanted]), detail)))
        };
        let Ok(address) = wanted.parse::<IpAddr>() else {
            // Validation says what is wrong with it.
            return Ok(());
        };
        let Some(offset) = self.address_offset(address) else {
            return refuse(format!(
                "the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {}",
                self.range
            ));
        };
        if held.addresses.contains(&offset) {
            return Ok(());
        }
        if !self.taken.lock().addresses.take(offset) {
            return refuse("provided IP is already allocated".to_owned());
        }
        taken.addresses.push(offset);
        Ok(())
    }

    /// `ipFamilies` and `ipFamilyPolicy` of a cluster with one family.
    fn complete_families(&self, service: &mut Object) -> Result<(), Status> {
        let (own, other) = match self.range {
            IpNet::V4(_) => ("IPv4", "IPv6"),
            IpNet::V6(_) => ("IPv6", "IPv4"),
        };
        let headless = is_headless(service);
        let selects = service["spec"]["selector"].as_object().is_some_and(|map| !map.is_empty());
        // Endpoints that somebody else writes may have any family.
        let any_family = headless && !selects;
        let spec = &mut service["spec"];
        if headless {
            spec["clusterIPs"] = json!([NONE]);
        }
        let policy = spec["ipFamilyPolicy"].as_str().map(str::to_owned);
        if policy.as_deref() == Some("RequireDualStack") && !any_family {
            let detail = "this cluster is not configured for dual-stack services";
            let error =
                FieldError::invalid("spec.ipFamilyPolicy", json!("RequireDualStack"), detail);
            return Err(invalid(service, error));
        }
        let families = spec["ipFamilies"].as_array().is_some_and(|families| !families.is_empty());
        if any_family && policy.is_none() && !families {
            spec["ipFamilyPolicy"] = "RequireDualStack".into();
            spec["ipFamilies"] = json!([own, other]);
            return Ok(());
        }
        if policy.is_none() {
            spec["ipFamilyPolicy"] = "SingleStack".into();
        }
        if !families {
            spec["ipFamilies"] = match policy.as_deref() {
                Some("RequireDualStack") => json!([own, other]),
                _ => json!([own]),
            };
        } else if spec["ipFamilies"][0] != own && !any_family {
            let detail = "not configured on this cluster";
            let family = spec["ipFamilies"][0].clone();
            return Err(invalid(
                service,
                FieldError::invalid("spec.ipFamilies[0]", family, detail),
            ));
        }
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
            |detail: String| Err(invalid(service, FieldError::invalid(field, wanted, detail)));
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

/// A client that does not tell what the server chose means that it should stay.
fn carry_over(service: &mut Object, old: &Object) {
    let absent = |value: &Value| value.is_null() || value == "" || value == 0;
    if needs_address(service) && needs_address(old) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if absent(&service["spec"][field]) && !absent(&old["spec"][field]) {
                service["spec"][field] = old["spec"][field].clone();
            }
        }
    }
    if needs_health_port(service)
        && needs_health_port(old)
        && absent(&service["spec"]["healthCheckNodePort"])
    {
        service["spec"]["healthCheckNodePort"] = old["spec"]["healthCheckNodePort"].clone();
    }
    if !needs_node_ports(service) || !needs_node_ports(old) {
        return;
    }
    let mut used: Vec<u16> = node_ports(service).collect();
    let Some(ports) = service["spec"]["ports"].as_array_mut() else { return };
    for port in ports.iter_mut().filter(|port| absent(&port["nodePort"])) {
        let same =
            |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        let before = old["spec"]["ports"].as_array().into_iter().flatten().find(same);
        let number = before.and_then(|before| before["nodePort"].as_u64()).unwrap_or(0);
        let number = u16::try_from(number).unwrap_or(0);
        if number != 0 && !used.contains(&number) {
            used.push(number);
            port["nodePort"] = number.into();
        }
    }
}
