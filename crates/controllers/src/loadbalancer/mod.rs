//! External addresses of Services of type LoadBalancer.
//!
//! Flows in: Services. Flows out: an address from the cluster's own block in `status.loadBalancer.ingress`, where the
//! balancer listens, and Events. The Services are the record of which addresses are taken, and one worker gives them
//! out, so none is given out twice. Leaves Services with a `loadBalancerClass` alone: they are somebody else's.

mod plan;

use std::net::Ipv4Addr;

use informer::{Key, Next, Queue, Recorder, Type};
use k8s_openapi::api::core::v1::Service;
use kube::Resource;
use serde_json::json;

use crate::RequestError;
use crate::context::{Context, attempt};
use plan::{Action, plan};

/// One, so that a decision sees all earlier ones.
const WORKERS: usize = 1;

/// When an address that cannot be had is asked for again.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Addresses to give out: the /16 that begins here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block(pub Ipv4Addr);

/// Runs the controller until the context's stop.
pub async fn run(context: Context, block: Block) {
    let recorder = Recorder::new(context.client.clone(), "service-controller", "");
    let queue = Queue::new("loadbalancer");
    let changed = queue.clone();
    context.caches.services.on_change(Box::new(move |_, new| {
        new.into_iter()
            .for_each(|service| changed.add(Key::of(&**service)));
    }));
    let stop = context.stop.clone();
    let reconcile = move |key: Key| {
        let (context, recorder) = (context.clone(), recorder.clone());
        async move { attempt(sync(&context, &recorder, block, &key)).await }
    };
    queue.run(WORKERS, stop, reconcile).await;
}

async fn sync(context: &Context, recorder: &Recorder, block: Block, key: &Key) -> Result<Next, RequestError> {
    let cache = &context.caches.services;
    let Some(service) = cache.get(key) else {
        return Ok(Next::Wait);
    };
    let tell = |type_, reason: &str, message: String| {
        recorder.event(&service.object_ref(&()), type_, reason, message);
    };
    match plan(&service, &cache.list(), block) {
        None => {}
        Some(Action::Assign(address)) => {
            tell(
                Type::Normal,
                "EnsuringLoadBalancer",
                "Ensuring load balancer".to_owned(),
            );
            let ingress = json!([{"ip": address.to_string(), "ipMode": "VIP"}]);
            write(context, &service, &ingress).await?;
            tell(
                Type::Normal,
                "EnsuredLoadBalancer",
                "Ensured load balancer".to_owned(),
            );
        }
        Some(Action::Clear) => {
            tell(
                Type::Normal,
                "DeletingLoadBalancer",
                "Deleting load balancer".to_owned(),
            );
            write(context, &service, &serde_json::Value::Null).await?;
            tell(
                Type::Normal,
                "DeletedLoadBalancer",
                "Deleted load balancer".to_owned(),
            );
        }
        Some(Action::Refuse(why)) => {
            let message = format!("Error syncing load balancer: failed to ensure load balancer: {why}");
            tell(Type::Warning, "SyncLoadBalancerFailed", message);
            return Ok(Next::After(AGAIN));
        }
    }
    Ok(Next::Wait)
}

async fn write(
    context: &Context,
    service: &Service,
    ingress: &serde_json::Value,
) -> Result<(), RequestError> {
    let status = json!({"loadBalancer": {"ingress": ingress}});
    let written = context
        .patch_status(&context.caches.services, service, status)
        .await;
    written.map(drop)
}
