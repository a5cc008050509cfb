//! Values with a fixed form that several kinds have: addresses, ports by number or name, counts or percentages.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Errors, Path, names};

/// Transport protocols.
pub const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

const BAD_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// An IP address of any family.
#[must_use]
pub fn ip(text: &str) -> Vec<String> {
    if text.parse::<IpAddr>().is_ok() {
        Vec::new()
    } else {
        vec![BAD_IP.to_owned()]
    }
}

/// An IP address of one family.
#[must_use]
pub fn ip_of(text: &str, is_v4: bool) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Err(_) => vec![BAD_IP.to_owned()],
        Ok(ip) if ip.is_ipv4() != is_v4 => {
            let family = if is_v4 { "IPv4" } else { "IPv6" };
            vec![format!("must be a valid {family} address")]
        }
        Ok(ip) => endpoint_problems(ip),
    }
}

/// An address of any family that traffic can be sent to.
#[must_use]
pub fn endpoint_ip(text: &str) -> Vec<String> {
    text.parse::<IpAddr>()
        .map_or_else(|_| vec![BAD_IP.to_owned()], endpoint_problems)
}

/// Upstream refuses loopback addresses as well; here every pod has one.
fn endpoint_problems(ip: IpAddr) -> Vec<String> {
    let mut problems = Vec::new();
    if ip.is_unspecified() {
        problems.push(format!("may not be unspecified ({ip})"));
    }
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if is_link_local {
        problems.push("may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned());
    }
    let is_local_multicast = match ip {
        IpAddr::V4(ip) => matches!(ip.octets(), [224, 0, 0, _]),
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    };
    if is_local_multicast {
        problems.push("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned());
    }
    problems
}

/// A network, of any family.
#[must_use]
pub fn cidr(text: &str) -> Vec<String> {
    if network(text).is_some() {
        Vec::new()
    } else {
        vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()]
    }
}

/// Whether a network is one of IPv4, its address bits from the left, and how many of them count.
#[must_use]
pub fn network(cidr: &str) -> Option<(bool, u128, u8)> {
    let (address, length) = cidr.split_once('/')?;
    let length: u8 = length.parse().ok()?;
    let (is_v4, bits) = match address.parse().ok()? {
        IpAddr::V4(ip) => (true, u128::from(u32::from(ip)) << 96),
        IpAddr::V6(ip) => (false, u128::from(ip)),
    };
    (length <= if is_v4 { 32 } else { 128 }).then_some((is_v4, bits, length))
}

/// `10.0.0.1:80`, `[::1]:80`
#[must_use]
pub fn address(ip: &str, port: i32) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}

/// A path that begins with a domain: `acme.io/foo`.
pub fn domain_path(text: &str, path: &Path<'_>, errors: &mut Errors) {
    if text.is_empty() {
        return errors.required(path, "");
    }
    let parts = text.split_once('/');
    let Some((domain, rest)) = parts.filter(|(domain, rest)| !domain.is_empty() && !rest.is_empty()) else {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        return errors.invalid(path, text, detail);
    };
    errors.problems(path, domain, &names::subdomain(domain));
    let is_ok = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    if !rest.bytes().all(is_ok) {
        let detail = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        errors.invalid(path, rest, detail);
    }
}

/// A port number, or the name of one.
pub fn port_or_name(port: &IntOrString, path: &Path<'_>, errors: &mut Errors) {
    match port {
        IntOrString::Int(number) => errors.problems(path, number, &names::port_number((*number).into())),
        IntOrString::String(name) => errors.problems(path, name, &names::port_name(name)),
    }
}

/// A number of pods, or a percentage of them.
pub fn count_or_percent(value: &IntOrString, path: &Path<'_>, errors: &mut Errors) {
    match value {
        IntOrString::Int(number) => errors.non_negative(path, Some((*number).into())),
        IntOrString::String(text) if percent(text).is_none() => errors.invalid(
            path,
            text,
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        ),
        IntOrString::String(_) => {}
    }
}

/// A percentage may not exceed 100.
pub fn at_most_all(value: &IntOrString, path: &Path<'_>, errors: &mut Errors) {
    if let IntOrString::String(text) = value
        && percent(text).is_some_and(|percent| percent > 100)
    {
        errors.invalid(path, text, "must not be greater than 100%");
    }
}

/// The number itself, of a count or a percentage.
#[must_use]
pub fn number(value: &IntOrString) -> Option<i32> {
    match value {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => percent(text),
    }
}

fn percent(text: &str) -> Option<i32> {
    let digits = text.strip_suffix('%')?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(i32::MAX))
}
