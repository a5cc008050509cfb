//! One plain HTTP request: enough to ask a pod or a Service who it is.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Kubectl;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// `GET /` on a new connection.
///
/// # Errors
/// If there is no answer within 10 s.
pub fn get(address: SocketAddr) -> std::io::Result<Answer> {
    get_path(address, "/")
}

/// `GET` of a path on a new connection.
///
/// # Errors
/// If there is no answer within 10 s.
pub fn get_path(address: SocketAddr, path: &str) -> std::io::Result<Answer> {
    let limit = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    Ok(Answer {
        status: status.ok_or_else(|| std::io::Error::other(format!("no status line in {head:?}")))?,
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect(),
        body: body.to_owned(),
    })
}

/// The ClusterIP and first port of a Service.
#[track_caller]
pub fn cluster_ip(kubectl: &Kubectl, service: &str) -> SocketAddr {
    let address = kubectl.ok(&[
        "get",
        "service",
        service,
        "-o",
        "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}",
    ]);
    address
        .parse()
        .unwrap_or_else(|error| panic!("service {service} has address {address:?}: {error}"))
}

/// A Service's first node port, on 127.0.0.1.
#[track_caller]
pub fn node_port(kubectl: &Kubectl, service: &str) -> SocketAddr {
    let port = kubectl.ok(&[
        "get",
        "service",
        service,
        "-o",
        "jsonpath={.spec.ports[0].nodePort}",
    ]);
    let port = port
        .parse()
        .unwrap_or_else(|error| panic!("service {service} has node port {port:?}: {error}"));
    SocketAddr::from(([127, 0, 0, 1], port))
}
