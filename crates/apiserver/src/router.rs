//! From a request to the verb that serves it.
//!
//! Flows in: every request, from both doors. Flows out: a response; failures become Status objects here and nowhere else.

use std::sync::Arc;

use api::kind::{Subresource, Write};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode, header};

use crate::auth::{self, Identity};
use crate::body::{self, Request, Response};
use crate::call::Call;
use crate::path::{ObjectPath, Path};
use crate::query::{self, Query};
use crate::server::Core;
use crate::status::Failure;
use crate::{
    binding, compress, create, delete, eviction, finalize, get, list, metrics, nodes, patch, proxy, review,
    scale, token, update, watch, yaml,
};

/// Serves a request. Boxed, for the future of all verbs together is large.
pub(crate) fn handle(core: Arc<Core>, request: Request) -> BoxFuture<'static, Response> {
    Box::pin(async move {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let compressed = compress::is_accepted(request.headers());
        let in_yaml = yaml::is_wanted(request.headers());
        let mut response = route(core, request).await.unwrap_or_else(Failure::into_response);
        if in_yaml {
            response = yaml::instead_of_json(response).await;
        }
        if compressed {
            response = compress::large(response).await;
        }
        tracing::debug!(%method, path, status = response.status().as_u16(), "served");
        response
    })
}

async fn route(core: Arc<Core>, mut request: Request) -> Result<Response, Failure> {
    let path = Path::parse(request.uri().path());
    auth::check_site(request.headers(), request.uri())?;
    if let Path::Health(name) = path {
        return read_only(&request, health(name, &Query::parse(request.uri().query())));
    }
    let identity = identify(&core, &mut request).await?;
    auth::check_impersonation(request.headers())?;
    match path {
        Path::Object(path) if asks_for_definitions(&path) => read_only(&request, no_definitions(&core)),
        Path::Object(path) => match review::at(&path) {
            Some(review) if request.method() == Method::POST => {
                let (parts, body) = request.into_parts();
                review::answer(&core, (review, &path), &identity, &parts.headers, body).await
            }
            Some(_) => Err(Failure::MethodNotAllowed),
            None => match metrics::at(&path) {
                Some(usage) if request.method() == Method::GET => {
                    let query = Query::parse(request.uri().query());
                    metrics::get(&core, usage, &path, &query, request.headers()).await
                }
                Some(_) => Err(Failure::MethodNotAllowed),
                None => object(core, path, identity.user, request).await,
            },
        },
        Path::Unknown | Path::Health(_) => Err(Failure::NoSuchPath),
        path => read_only(&request, document(&core, &path, request.headers())?),
    }
}

/// What the server tells of itself.
fn document(core: &Core, path: &Path, headers: &HeaderMap) -> Result<Response, Failure> {
    match path {
        Path::Version => Ok(body::json(StatusCode::OK, core.config.version.to_json())),
        Path::OpenApiIndex => core.openapi.index(&core.registry),
        Path::OpenApi(name) => core
            .openapi
            .document(&core.registry, &core.config.version.git_version, name),
        Path::OpenApiV2 => {
            let version = &core.config.version.git_version;
            core.openapi.version_2(&core.registry, version, headers)
        }
        path => core.discovery.respond(path, headers),
    }
}

/// Who asks: by the token of the request, else by the door that it came through.
async fn identify(core: &Core, request: &mut Request) -> Result<Identity, Failure> {
    if let Some(identity) = token::authenticate(core, request.headers()).await? {
        // It was for us: neither an agent nor a pod behind the proxy is to see it.
        request.headers_mut().remove(header::AUTHORIZATION);
        return Ok(identity);
    }
    request
        .extensions()
        .get::<Identity>()
        .cloned()
        .ok_or(Failure::Unauthorized)
}

/// A server that answers is healthy. `?verbose` lists the checks, of which there is one.
fn health(name: &str, query: &Query) -> Response {
    let text = match name {
        "livez" | "readyz" | "healthz" if query.flag("verbose") => {
            format!("[+]ping ok\n{name} check passed\n")
        }
        _ => "ok".to_owned(),
    };
    body::typed(StatusCode::OK, "text/plain; charset=utf-8", text)
}

fn read_only(request: &Request, response: Response) -> Result<Response, Failure> {
    match *request.method() {
        Method::GET | Method::HEAD => Ok(response),
        _ => Err(Failure::MethodNotAllowed),
    }
}

/// A request on a kind: its collection, an object, or a part of one.
async fn object(
    core: Arc<Core>,
    path: ObjectPath,
    user: String,
    request: Request,
) -> Result<Response, Failure> {
    let bindings = path.group.is_empty() && path.plural == "bindings" && path.name.is_none();
    let looked_up = if bindings {
        ObjectPath {
            plural: "pods".to_owned(),
            ..path.clone()
        }
    } else {
        path.clone()
    };
    let resource = core.registry.at(&looked_up)?;
    let call = Call {
        query: Query::parse(request.uri().query()),
        headers: request.headers().clone(),
        user,
        options: query::options_of(request.method()),
        core,
        resource,
        path: looked_up,
    };
    if bindings {
        return match *request.method() {
            Method::POST => binding::bind(&call, request.into_body()).await,
            _ => Err(Failure::MethodNotAllowed),
        };
    }
    let Some(deprecated) = call.resource.kind.deprecated else {
        return verb(call, request).await;
    };
    let mut response = verb(call, request).await.unwrap_or_else(Failure::into_response);
    body::warn(&mut response, deprecated);
    Ok(response)
}

/// A request on a kind, by its verb.
async fn verb(call: Call, request: Request) -> Result<Response, Failure> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD) && !call.query.flag("watch");
    let limit = call.query.timeout()?;
    let served = match (call.path.name.is_some(), call.path.subresource.clone()) {
        (true, Some(part)) => return subresource(call, &part, request).await,
        (false, _) => collection(call, request).boxed(),
        (true, None) => one(call, request).boxed(),
    };
    // A watch ends by `timeoutSeconds`, and a write is not left half done.
    match limit.filter(|_| is_read) {
        Some(limit) => tokio::time::timeout(limit, served)
            .await
            .unwrap_or(Err(Failure::TooLate)),
        None => served.await,
    }
}

/// There are no CustomResourceDefinitions. `kubectl apply` looks for one before it says that it does not know a kind.
fn no_definitions(core: &Core) -> Response {
    let list = serde_json::json!({
        "kind": "CustomResourceDefinitionList",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": { "resourceVersion": core.store.revision().to_string() },
        "items": [],
    });
    body::json(StatusCode::OK, list.to_string())
}

fn asks_for_definitions(path: &ObjectPath) -> bool {
    (path.group.as_str(), path.version.as_str()) == ("apiextensions.k8s.io", "v1")
        && path.plural == "customresourcedefinitions"
        && path.name.is_none()
}

async fn collection(call: Call, request: Request) -> Result<Response, Failure> {
    match *request.method() {
        Method::GET if call.query.flag("watch") => watch::watch(call, request).await,
        Method::GET | Method::HEAD => list::list(&call).await,
        Method::POST => create::create(&call, request.into_body()).await,
        Method::DELETE => delete::delete_collection(&call, request.into_body()).await,
        _ => Err(Failure::MethodNotAllowed),
    }
}

async fn one(call: Call, request: Request) -> Result<Response, Failure> {
    match *request.method() {
        Method::GET if call.query.flag("watch") => watch::watch(call, request).await,
        Method::GET | Method::HEAD => get::get(&call).await,
        Method::PUT => update::update(&call, request.into_body(), Write::Main).await,
        Method::PATCH => patch::patch(&call, request.into_body(), Write::Main).await,
        Method::DELETE => delete::delete(&call, request.into_body()).await,
        _ => Err(Failure::MethodNotAllowed),
    }
}

async fn subresource(call: Call, part: &str, request: Request) -> Result<Response, Failure> {
    let part = match part {
        "status" => Subresource::Status,
        "scale" => Subresource::Scale,
        "binding" => Subresource::Binding,
        "eviction" => Subresource::Eviction,
        "log" => Subresource::Log,
        "exec" => Subresource::Exec,
        "attach" => Subresource::Attach,
        "portforward" => Subresource::PortForward,
        "ephemeralcontainers" => Subresource::EphemeralContainers,
        "proxy" => Subresource::Proxy,
        "finalize" => Subresource::Finalize,
        "token" => Subresource::Token,
        _ => return Err(Failure::NoSuchPath),
    };
    if !call.resource.has(part) {
        return Err(Failure::NoSuchPath);
    }
    let method = request.method().clone();
    match (part, method) {
        (Subresource::Status, _) => object_by_part(&call, request, Write::Status).await,
        (Subresource::EphemeralContainers, _) => {
            object_by_part(&call, request, Write::EphemeralContainers).await
        }
        (Subresource::Scale, Method::GET) => scale::get(&call).await,
        (Subresource::Scale, Method::PUT) => scale::update(&call, request.into_body()).await,
        (Subresource::Scale, Method::PATCH) => scale::patch(&call, request.into_body()).await,
        (Subresource::Binding, Method::POST) => binding::bind(&call, request.into_body()).await,
        (Subresource::Eviction, Method::POST) => eviction::evict(&call, request.into_body()).await,
        (Subresource::Finalize, Method::PUT) => finalize::finalize(&call, request.into_body()).await,
        (Subresource::Token, Method::POST) => token::issue(&call, request.into_body()).await,
        (Subresource::Log, Method::GET) => nodes::log(&call, request).await,
        (Subresource::Exec, Method::GET | Method::POST) => nodes::container(&call, request, "exec").await,
        (Subresource::Attach, Method::GET | Method::POST) => nodes::container(&call, request, "attach").await,
        (Subresource::PortForward, Method::GET | Method::POST) => nodes::ports(&call, request).await,
        (Subresource::Proxy, _) if call.resource.is("", "nodes") => nodes::proxy(&call, request).await,
        (Subresource::Proxy, _) => proxy::serve(&call, request, &call.path.rest).await,
        _ => Err(Failure::MethodNotAllowed),
    }
}

/// The whole object, at a path where only a part of it can be written.
async fn object_by_part(call: &Call, request: Request, write: Write) -> Result<Response, Failure> {
    match *request.method() {
        Method::GET => get::get(call).await,
        Method::PUT => update::update(call, request.into_body(), write).await,
        Method::PATCH => patch::patch(call, request.into_body(), write).await,
        _ => Err(Failure::MethodNotAllowed),
    }
}
