//! Lifecycle hooks: postStart and preStop.

use std::time::Duration;

use k8s_openapi::api::core::v1::LifecycleHandler;

use crate::target::Target;

/// Runs a hook to its end; what went wrong as a sentence.
pub async fn run(target: &Target, handler: &LifecycleHandler) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        target.exec(exec.command.as_deref().unwrap_or_default()).await
    } else if let Some(action) = &handler.http_get {
        target.http(action).await
    } else if let Some(action) = &handler.sleep {
        let seconds = u64::try_from(action.seconds).unwrap_or_default();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    } else if let Some(action) = &handler.tcp_socket {
        target.tcp(action.host.as_deref(), &action.port).await
    } else {
        Err("it has no handler".to_owned())
    }
}
