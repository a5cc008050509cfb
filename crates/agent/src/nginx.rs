//! The configuration of an nginx that runs as a pod.
//!
//! One master and one worker a pod, as root or as an ordinary user; all its files are in the pod's folder. Every answer
//! names image, pod and node, so that a client can tell versions apart.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use crate::inside;

/// Requests on one client connection before nginx closes it. nginx's own default of 1000 makes it close connections
/// every so often; a load test should not see that.
const KEEPALIVE_REQUESTS: u32 = 1_000_000;
/// Connections of the worker, where the limit of open files allows.
const CONNECTIONS: u64 = 4096;

/// What the configuration is made of.
#[derive(Clone, Debug)]
pub struct Site<'a> {
    /// The pod's address.
    pub ip: Ipv4Addr,
    /// Real ports to listen on.
    pub ports: &'a [u16],
    /// The image's name.
    pub image: &'a str,
    /// The pod's name.
    pub pod: &'a str,
    /// The node's name.
    pub node: &'a str,
}

/// Writes the configuration below `dir`; returns the arguments of nginx.
pub fn configure(dir: &Path, site: &Site<'_>) -> io::Result<Vec<String>> {
    fs::create_dir_all(dir)?;
    let path = dir.join("nginx.conf");
    inside::write(dir, Path::new("nginx.conf"), configuration(dir, site).as_bytes())?;
    let words = [
        Path::new("-e"),
        Path::new("stderr"),
        Path::new("-p"),
        dir,
        Path::new("-c"),
        &path,
    ];
    Ok(words.map(|word| word.to_string_lossy().into_owned()).into())
}

fn configuration(dir: &Path, site: &Site<'_>) -> String {
    let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let open_files = open_files.unwrap_or(u64::MAX).min(2 * CONNECTIONS);
    let connections = CONNECTIONS.min(open_files / 2);
    let quoted = |name: &str| quote(&dir.join(name));
    let mut text = String::from("daemon off;\nworker_processes 1;\n");
    if nix::unistd::geteuid().is_root() {
        // Workers of another user could not reach the data folder, which is nobody else's.
        text.push_str("user root;\n");
    }
    let mut line = |line: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line(format!("worker_rlimit_nofile {open_files};"));
    line(format!("pid {};", quoted("nginx.pid")));
    line("error_log stderr notice;".into());
    line(format!("events {{ worker_connections {connections}; }}"));
    line("http {".into());
    line("  access_log /dev/stdout combined buffer=16k flush=500ms;".into());
    line(format!("  keepalive_requests {KEEPALIVE_REQUESTS};"));
    for folder in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        line(format!("  {folder}_temp_path {};", quoted(folder)));
    }
    line("  server {".into());
    for &port in site.ports {
        line(format!("    listen {};", SocketAddrV4::new(site.ip, port)));
    }
    let [image, pod, node] = [site.image, site.pod, site.node].map(plain);
    line(format!("    add_header X-Coracle-Image \"{image}\" always;"));
    line(format!("    add_header X-Coracle-Pod \"{pod}\" always;"));
    line(format!("    add_header X-Coracle-Node \"{node}\" always;"));
    // So that a client can tell which question an answer is to. Without the request's header there is none.
    line("    add_header X-Request-Id $http_x_request_id always;".into());
    line("    default_type text/html;".into());
    line(format!(
        "    location / {{ return 200 \"{}\"; }}",
        page(&image, &pod, &node)
    ));
    line("  }\n}".into());
    text
}

fn page(image: &str, pod: &str, node: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head>\n<body><h1>Welcome to nginx!</h1>\n\
         <p>image {image}, pod {pod}, node {node}</p></body></html>\n"
    )
}

/// Names hold nothing else anyway; whatever did would be read as configuration.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(*c))
        .collect()
}

fn quote(path: &Path) -> String {
    format!(
        "\"{}\"",
        path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"")
    )
}

/// Whether a command line is how nginx images start nginx, so that ours can take its place.
pub fn is_plain_start(command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().map(|word| word.trim_end_matches(';')).collect();
    matches!(words.as_slice(), ["nginx"] | ["nginx", "-g", "daemon off"])
}

/// Folder of a container's nginx in its pod's folder.
pub fn folder(pod_dir: &Path, container: &str) -> PathBuf {
    pod_dir.join(".nginx").join(container)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site<'static> {
        Site {
            ip: Ipv4Addr::new(127, 10, 1, 2),
            ports: &[20_001, 20_002],
            image: "nginx:1.8",
            pod: "web-1",
            node: "node-1\"; evil",
        }
    }

    #[test]
    fn it_listens_on_the_pods_ports_and_names_itself() {
        let text = configuration(Path::new("/x"), &site());
        for part in [
            "listen 127.10.1.2:20001;",
            "listen 127.10.1.2:20002;",
            "X-Coracle-Image \"nginx:1.8\" always;",
            "node-1evil",
            "proxy_temp_path \"/x/proxy\";",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn only_the_images_own_start_is_replaced() {
        let words = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        assert!(is_plain_start(&words("nginx|-g|daemon off;")));
        assert!(!is_plain_start(&words("nginx|-t")));
        assert!(!is_plain_start(&words("sleep|9")));
    }
}
