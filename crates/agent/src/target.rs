//! A container as probes and hooks reach it: its address, its real ports, commands run in it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::unix::pipe;

use crate::keeper::protocol::{Exec, ExecResult};
use crate::sandbox::{Place, exec};
use crate::start;

/// Output of a command that is kept for the message of an event.
const OUTPUT: usize = 10 * 1024;
/// How long output of a command that has ended is waited for.
const LAST_OUTPUT: Duration = Duration::from_millis(20);

/// A container of a running pod.
#[derive(Clone, Debug)]
pub struct Target {
    /// The pod's folder.
    pub dir: Arc<PathBuf>,
    /// The pod's address and ports.
    pub place: Arc<Place>,
    /// The container.
    pub container: Arc<Container>,
}

impl Target {
    /// The real port behind a port as manifests give it.
    pub fn port(&self, port: &IntOrString) -> Result<u16, String> {
        let declared = match port {
            IntOrString::Int(number) => u16::try_from(*number).ok(),
            IntOrString::String(name) => {
                let ports = self.container.ports.iter().flatten();
                let named = ports.into_iter().find(|port| port.name.as_ref() == Some(name));
                named
                    .and_then(|port| u16::try_from(port.container_port).ok())
                    .or_else(|| name.parse().ok())
            }
        };
        let text = || format!("couldn't find port: {port:?}");
        declared
            .filter(|&port| port > 0)
            .map(|port| start::real_port(&self.place, port, "TCP"))
            .ok_or_else(text)
    }

    fn address(&self, host: Option<&str>, port: &IntOrString) -> Result<SocketAddrV4, String> {
        let ip = match host.filter(|host| !host.is_empty()) {
            None => self.place.ip,
            Some("localhost") => Ipv4Addr::LOCALHOST,
            Some(host) => host
                .parse()
                .map_err(|_| format!("host {host:?} is not an IPv4 address"))?,
        };
        Ok(SocketAddrV4::new(ip, self.port(port)?))
    }

    /// Opens and closes a connection.
    pub async fn tcp(&self, host: Option<&str>, port: &IntOrString) -> Result<(), String> {
        let address = self.address(host, port)?;
        TcpStream::connect(address)
            .await
            .map(drop)
            .map_err(|error| format!("dial tcp {address}: {}", cause(&error)))
    }

    /// A GET request; an answer from 200 to 399 is good.
    pub async fn http(&self, action: &HTTPGetAction) -> Result<(), String> {
        let tls = action.scheme.as_deref() == Some("HTTPS");
        let address = self.address(action.host.as_deref(), &action.port)?;
        let path = action
            .path
            .as_deref()
            .filter(|path| !path.is_empty())
            .unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://{address}{slash}{path}");
        let failed = |cause: String| format!("Get \"{url}\": {cause}");
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| failed(format!("dial tcp {address}: {}", cause(&error))))?;
        let stream = pod_tls::over(stream, tls)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let mut request = hyper::Request::get(format!("{slash}{path}"));
        let headers = action.http_headers.iter().flatten();
        let own = [
            ("host", address.to_string()),
            ("user-agent", "kube-probe/1.36".to_owned()),
            ("accept", "*/*".to_owned()),
        ];
        for (name, value) in own {
            if !headers
                .clone()
                .any(|header| header.name.eq_ignore_ascii_case(name))
            {
                request = request.header(name, value);
            }
        }
        for header in headers {
            request = request.header(&header.name, &header.value);
        }
        let request = request.header("connection", "close").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| failed(error.to_string()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            sender
                .send_request(request)
                .await
                .map(|response| response.status().as_u16())
        };
        let status = tokio::select! {
            status = exchange => status,
            // The connection ends before the answer is complete only if it fails.
            Err(error) = connection => Err(error),
        };
        match status.map_err(|error| failed(error.to_string()))? {
            200..=399 => Ok(()),
            status => Err(format!("HTTP probe failed with statuscode: {status}")),
        }
    }

    /// Runs a command in the container; exit code 0 is good, else the output says why.
    pub async fn exec(&self, command: &[String]) -> Result<(), String> {
        let run = async {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            let stdin: OwnedFd = std::fs::File::open("/dev/null")?.into();
            let descriptors = [stdin, write.try_clone()?, write];
            let container = self.container.name.clone();
            let request = Exec {
                container,
                command: command.to_vec(),
                terminal: false,
            };
            rustix::io::ioctl_fionbio(&read, true)?;
            let mut output = pipe::Receiver::from_owned_fd(read)?;
            let mut text = Vec::new();
            let mut result = Box::pin(exec::exec(&self.dir, request, descriptors));
            let mut chunk = [0; 1024];
            let mut is_open = true;
            let result = loop {
                tokio::select! {
                    result = &mut result => break result?,
                    read = output.read(&mut chunk), if is_open => is_open = keep(&mut text, &chunk, read?),
                }
            };
            // What it wrote at the very end may not have been read yet; what it left running may never end.
            while is_open {
                match tokio::time::timeout(LAST_OUTPUT, output.read(&mut chunk)).await {
                    Ok(read) => is_open = keep(&mut text, &chunk, read?),
                    Err(_) => break,
                }
            }
            io::Result::Ok((result, String::from_utf8_lossy(&text).into_owned()))
        };
        match run.await {
            Ok((ExecResult::Exited { code: 0 }, _)) => Ok(()),
            Ok((ExecResult::Exited { .. }, text)) => Err(text),
            Ok((ExecResult::Failed(text), _)) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Keeps output up to the limit; `false` at its end.
fn keep(text: &mut Vec<u8>, chunk: &[u8], read: usize) -> bool {
    let room = OUTPUT.saturating_sub(text.len());
    text.extend_from_slice(&chunk[..read.min(room)]);
    read > 0
}

/// Why a connection was not made, in the words that users of Kubernetes know.
fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        _ => error.to_string(),
    }
}
