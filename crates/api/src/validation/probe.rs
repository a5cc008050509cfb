//! Rules for probes and lifecycle hooks.

use k8s_openapi::api::core::v1::{
    ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction, TCPSocketAction,
};

use super::{Errors, Path, names, values};

/// What a probe asks or a hook does; exactly one of them.
#[derive(Default)]
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

/// Checks a probe. Only readiness may want several successes.
pub fn probe(probe: &Probe, is_readiness: bool, path: &Path<'_>, errors: &mut Errors) {
    let handler = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    handler.validate(None, path, errors);
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (field, number) in numbers {
        errors.non_negative(&path.field(field), number.map(i64::from));
    }
    let path_of_grace = path.field("terminationGracePeriodSeconds");
    match probe.termination_grace_period_seconds {
        Some(_) if is_readiness => {
            let detail = "must not be set for readinessProbes";
            errors.invalid(&path_of_grace, &probe.termination_grace_period_seconds, detail);
        }
        Some(seconds) if seconds <= 0 => errors.invalid(&path_of_grace, &seconds, "must be greater than 0"),
        _ => {}
    }
    if let Some(count) = probe
        .success_threshold
        .filter(|count| !is_readiness && *count != 1)
    {
        errors.invalid(&path.field("successThreshold"), &count, "must be 1");
    }
}

/// Checks hooks. A pod that ends in `grace_period` seconds cannot sleep longer first.
pub fn lifecycle(lifecycle: &Lifecycle, grace_period: Option<i64>, path: &Path<'_>, errors: &mut Errors) {
    let hooks = [
        ("postStart", &lifecycle.post_start),
        ("preStop", &lifecycle.pre_stop),
    ];
    for (field, hook) in hooks {
        if let Some(hook) = hook {
            Handler::of(hook).validate(grace_period, &path.field(field), errors);
        }
    }
}

impl<'a> Handler<'a> {
    fn of(hook: &'a LifecycleHandler) -> Self {
        Self {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc: None,
            sleep: hook.sleep.as_ref(),
        }
    }

    fn validate(&self, grace_period: Option<i64>, path: &Path<'_>, errors: &mut Errors) {
        let present = [
            ("exec", self.exec.is_some()),
            ("httpGet", self.http_get.is_some()),
            ("tcpSocket", self.tcp_socket.is_some()),
            ("grpc", self.grpc.is_some()),
            ("sleep", self.sleep.is_some()),
        ];
        let mut present = present
            .into_iter()
            .filter(|(_, is_present)| *is_present)
            .map(|(field, _)| field);
        match present.next() {
            None => errors.required(path, "must specify a handler type"),
            Some(first) => self.only(first).each(grace_period, path, errors),
        }
        for extra in present {
            errors.forbidden(&path.field(extra), "may not specify more than 1 handler type");
        }
    }

    /// Of several handlers only the first is looked at.
    fn only(&self, field: &str) -> Self {
        let mut only = Self::default();
        match field {
            "exec" => only.exec = self.exec,
            "httpGet" => only.http_get = self.http_get,
            "tcpSocket" => only.tcp_socket = self.tcp_socket,
            "grpc" => only.grpc = self.grpc,
            _ => only.sleep = self.sleep,
        }
        only
    }

    fn each(&self, grace_period: Option<i64>, path: &Path<'_>, errors: &mut Errors) {
        if self
            .exec
            .is_some_and(|exec| exec.command.as_ref().is_none_or(Vec::is_empty))
        {
            errors.required(&path.field("exec.command"), "");
        }
        if let Some(action) = self.http_get {
            http_get(action, &path.field("httpGet"), errors);
        }
        if let Some(action) = self.tcp_socket {
            values::port_or_name(&action.port, &path.field("tcpSocket.port"), errors);
        }
        if let Some(action) = self.grpc {
            errors.problems(
                &path.field("grpc.port"),
                &action.port,
                &names::port_number(action.port.into()),
            );
        }
        if let Some(sleep) = self.sleep {
            let longest = grace_period.unwrap_or(0);
            if !(0..=longest).contains(&sleep.seconds) {
                let detail =
                    format!("must be non-negative and less than terminationGracePeriodSeconds ({longest})");
                errors.invalid(&path.field("sleep"), &sleep.seconds, &detail);
            }
        }
    }
}

fn http_get(action: &HTTPGetAction, path: &Path<'_>, errors: &mut Errors) {
    if action.path.as_deref().is_none_or(str::is_empty) {
        errors.required(&path.field("path"), "");
    }
    values::port_or_name(&action.port, &path.field("port"), errors);
    errors.one_of(
        &path.field("scheme"),
        action.scheme.as_deref(),
        &["HTTP", "HTTPS"],
    );
    let headers = path.field("httpHeaders");
    for header in action.http_headers.iter().flatten() {
        let is_ok = !header.name.is_empty()
            && header
                .name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_ok {
            let detail = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
            errors.invalid(&headers, &header.name, detail);
        }
    }
}
