//! HTTP to a pod or a Service through the API: `pods/NAME/proxy/PATH` and `services/NAME/proxy/PATH`.
//!
//! Flows in: a client's request. Flows out: the same request to the pod, and its answer, upgrades such as WebSockets
//! included. What proves who the client is stays here. Rules are upstream's
//! (`apimachinery/pkg/util/proxy/{upgradeaware,transport}.go`), but for links in HTML, which are left as they are.

mod location;
mod target;

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri, Version};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::body::{self, Request, Response};
use crate::call::Call;
use crate::compress::Foreign;
use crate::status::Failure;
use target::Target;

/// How long a pod may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Headers about one connection, which end here.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Serves a request on `/proxy`; `path` is what follows that, empty or with a slash at its beginning.
pub(crate) async fn serve(call: &Call, mut request: Request, path: &str) -> Result<Response, Failure> {
    let own = request.uri().path().to_owned();
    let prefix = own.strip_suffix(path).unwrap_or(&own);
    let query = request.uri().query().map(|query| format!("?{query}"));
    let query = query.unwrap_or_default();
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    if path.is_empty() && upgrade.is_none() && matches!(*request.method(), Method::GET | Method::HEAD) {
        // Relative links must lead below the pod's own root.
        return redirect(&format!("{own}/{query}"));
    }
    let target = target::find(call).await?;
    let forwarded = [
        ("x-forwarded-uri", own.clone()),
        ("x-forwarded-host", host(&request)),
        ("x-forwarded-proto", "https".to_owned()),
    ];
    let wrong = |error: http::Error| Failure::BadRequest(error.to_string());
    let uri = if path.is_empty() { "/" } else { path };
    *request.uri_mut() = format!("{uri}{query}")
        .parse::<Uri>()
        .map_err(|error| wrong(error.into()))?;
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    strip(headers, upgrade.as_ref());
    headers.remove(header::AUTHORIZATION);
    for (name, value) in forwarded
        .into_iter()
        .chain([("host", target.address.to_string())])
    {
        let value = HeaderValue::from_str(&value).map_err(|error| wrong(error.into()))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    let mut response = send(target, request).await?;
    response.extensions_mut().insert(Foreign);
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    strip(headers, upgrade.as_ref().filter(|_| switched));
    if let Some(location) = headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        && let Ok(value) = HeaderValue::from_str(&location::rewrite(location, target, prefix))
    {
        headers.insert(header::LOCATION, value);
    }
    Ok(response)
}

fn redirect(location: &str) -> Result<Response, Failure> {
    let mut response = body::typed(StatusCode::MOVED_PERMANENTLY, "text/plain; charset=utf-8", "");
    let value = HeaderValue::from_str(location).map_err(|error| Failure::BadRequest(error.to_string()))?;
    response.headers_mut().insert(header::LOCATION, value);
    Ok(response)
}

/// The host that the client asked.
fn host(request: &Request) -> String {
    let named = request.headers().get(header::HOST);
    let named = named.and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    named.or(authority).unwrap_or_default().to_owned()
}

/// Takes away what is about one connection, but for an upgrade.
fn strip(headers: &mut HeaderMap, upgrade: Option<&HeaderValue>) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
}

/// Sends a request on a connection of its own. An upgraded connection is carried on in the background.
async fn send(target: Target, mut request: Request) -> Result<Response, Failure> {
    let unreachable = |why: String| Failure::Unavailable(format!("error trying to reach service: {why}"));
    let address = target.address;
    let connected = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
    let stream = connected
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => {
                unreachable(format!("dial tcp {address}: connect: connection refused"))
            }
            _ => unreachable(format!("dial tcp {address}: {error}")),
        })?;
    let spoken = tokio::time::timeout(CONNECT, pod_tls::over(stream, target.tls)).await;
    let stream = spoken
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(|error| unreachable(format!("tls: {error}")))?;
    let broken = |error: hyper::Error| unreachable(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection ended");
        }
    });
    let client = hyper::upgrade::on(&mut request);
    let mut response = sender.send_request(request).await.map_err(broken)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let pod = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            // Either side may go before it comes to that.
            if let Ok((client, pod)) = tokio::try_join!(client, pod) {
                let (mut client, mut pod) = (TokioIo::new(client), TokioIo::new(pod));
                let _ = tokio::io::copy_bidirectional(&mut client, &mut pod).await;
            }
        });
    }
    Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
}
