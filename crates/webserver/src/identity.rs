//! Who answers: image, pod and node.

use std::fmt;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

const IMAGE: HeaderName = HeaderName::from_static("x-coracle-image");
const POD: HeaderName = HeaderName::from_static("x-coracle-pod");
const NODE: HeaderName = HeaderName::from_static("x-coracle-node");

/// What the page and the headers of every response say.
#[derive(Clone, Debug)]
pub struct Identity {
    image: HeaderValue,
    pod: HeaderValue,
    node: HeaderValue,
}

impl Identity {
    /// Characters that a header cannot carry become `?`.
    pub fn new(image: &str, pod: &str, node: &str) -> Self {
        Self {
            image: value(image),
            pod: value(pod),
            node: value(node),
        }
    }

    /// Writes the three headers.
    pub(crate) fn sign(&self, headers: &mut HeaderMap) {
        headers.insert(IMAGE, self.image.clone());
        headers.insert(POD, self.pod.clone());
        headers.insert(NODE, self.node.clone());
    }

    /// The page.
    pub(crate) fn page(&self) -> String {
        let [image, pod, node] = [&self.image, &self.pod, &self.node].map(|value| escaped(text(value)));
        format!(
            "<!doctype html>\n<html>\n<head><title>{image}</title></head>\n<body>\n<h1>{image}</h1>\n\
             <p>Pod {pod} on {node}.</p>\n</body>\n</html>\n"
        )
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (pod {} on {})",
            text(&self.image),
            text(&self.pod),
            text(&self.node)
        )
    }
}

fn value(text: &str) -> HeaderValue {
    let visible: String = text
        .chars()
        .map(|c| if (' '..='~').contains(&c) { c } else { '?' })
        .collect();
    HeaderValue::from_str(&visible).unwrap_or(HeaderValue::from_static("?"))
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("?")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_stay_harmless() {
        let identity = Identity::new("a<b>\r\nSet-Cookie: x", "pöd", "");
        assert_eq!(identity.to_string(), "a<b>??Set-Cookie: x (pod p?d on )");
        assert!(identity.page().contains("<h1>a&lt;b&gt;??Set-Cookie: x</h1>"));
    }
}
