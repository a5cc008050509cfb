//! Endpoints: a Service's addresses in the form that old clients read.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, Endpoints};
use serde_json::Value;

use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{NONE, age, column, name};
use crate::validation::{Errors, Path, names, values};

/// How many addresses a row shows.
const SHOWN: usize = 3;

impl Served for Endpoints {
    const ROW: Row = Row {
        singular: "endpoints",
        short_names: &["ep"],
        columns: &[column("Name"), column("Endpoints"), column("Age")],
        deprecated: Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        for port in self
            .subsets
            .iter_mut()
            .flatten()
            .flat_map(|subset| subset.ports.iter_mut().flatten())
        {
            crate::defaults::text(&mut port.protocol, "TCP");
        }
    }

    fn validate(&self, _old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let subsets = Path::ROOT.field("subsets");
        for (index, subset) in self.subsets.iter().flatten().enumerate() {
            let path = subsets.index(index);
            let (ready, unready) = (subset.addresses.as_deref(), subset.not_ready_addresses.as_deref());
            if ready.is_none_or(<[_]>::is_empty) && unready.is_none_or(<[_]>::is_empty) {
                errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
            }
            addresses(ready, &path.field("addresses"), errors);
            addresses(unready, &path.field("notReadyAddresses"), errors);
            ports(
                subset.ports.as_deref().unwrap_or_default(),
                &path.field("ports"),
                errors,
            );
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let pairs = self.subsets.iter().flatten().flat_map(|subset| {
            let addresses = subset.addresses.as_deref().unwrap_or_default();
            let ports = subset.ports.as_deref().unwrap_or_default();
            // Without ports, the addresses are shown alone.
            let alone = ports
                .is_empty()
                .then(|| addresses.iter().map(|address| address.ip.clone()));
            let with_ports = ports.iter().flat_map(move |port| {
                addresses
                    .iter()
                    .map(move |address| values::address(&address.ip, port.port))
            });
            alone.into_iter().flatten().chain(with_ports)
        });
        vec![
            name(&self.metadata),
            first_few(pairs, NONE).into(),
            age(&self.metadata, now),
        ]
    }
}

/// The first three and how many more there are; `empty` if there are none.
pub(super) fn first_few(texts: impl Iterator<Item = String>, empty: &str) -> String {
    let texts: Vec<_> = texts.collect();
    match texts.len() {
        0 => empty.to_owned(),
        1..=SHOWN => texts.join(","),
        count => format!("{} + {} more...", texts[..SHOWN].join(","), count - SHOWN),
    }
}

/// Loopback addresses are good ones here: every pod has one.
fn addresses(addresses: Option<&[EndpointAddress]>, path: &Path<'_>, errors: &mut Errors) {
    for (index, address) in addresses.unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        errors.problems(&path.field("ip"), &address.ip, &values::endpoint_ip(&address.ip));
        if let Some(hostname) = address
            .hostname
            .as_deref()
            .filter(|hostname| !hostname.is_empty())
        {
            errors.problems(&path.field("hostname"), hostname, &names::label(hostname));
        }
    }
}

fn ports(ports: &[EndpointPort], path: &Path<'_>, errors: &mut Errors) {
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        match port.name.as_deref().unwrap_or_default() {
            "" if ports.len() > 1 => errors.required(&path.field("name"), ""),
            "" => {}
            name => errors.problems(&path.field("name"), name, &names::label(name)),
        }
        errors.problems(
            &path.field("port"),
            &port.port,
            &names::port_number(port.port.into()),
        );
        errors.one_of(
            &path.field("protocol"),
            port.protocol.as_deref(),
            &values::PROTOCOLS,
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_show_three_addresses() {
        let row = |count: usize| {
            let addresses: Vec<_> = (1..=count)
                .map(|n| json!({"ip": format!("127.10.1.{n}")}))
                .collect();
            let object = json!({"metadata": {"name": "e"}, "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]});
            serde_json::from_value::<Endpoints>(object)
                .unwrap_or_default()
                .cells(0)[1]
                .clone()
        };
        assert_eq!(row(0), "<none>");
        assert_eq!(row(2), "127.10.1.1:80,127.10.1.2:80");
        assert_eq!(row(5), "127.10.1.1:80,127.10.1.2:80,127.10.1.3:80 + 2 more...");
    }
}
