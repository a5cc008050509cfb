//! In which form a client wants its answer.
//!
//! Flows in: the `Accept` header. Flows out: a form that we have. Protobuf, which is only read, is skipped: every
//! client that asks for it also takes JSON.

use http::{HeaderMap, header};

use crate::status::Failure;
use crate::yaml;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object or list itself.
    Object,
    /// Rows and columns, made for a terminal.
    Table,
    /// Only kind and metadata.
    Metadata,
    /// A list of which only kind and metadata are wanted.
    MetadataList,
}

/// The first form of the `Accept` header that we have.
pub(crate) fn form(headers: &HeaderMap) -> Result<Form, Failure> {
    let mut any = false;
    for media in accepted(headers) {
        any = true;
        // YAML is made of JSON on the way out.
        let json = ["application/json", "application/*", "*/*", yaml::MEDIA_TYPE];
        let json = json.contains(&media.name.as_str());
        if !json {
            continue;
        }
        let meta = media.parameter("g") == Some("meta.k8s.io");
        match (media.parameter("as"), media.parameter("v")) {
            (None, _) => return Ok(Form::Object),
            (Some("Table"), Some("v1")) if meta => return Ok(Form::Table),
            (Some("PartialObjectMetadata"), Some("v1")) if meta => return Ok(Form::Metadata),
            (Some("PartialObjectMetadataList"), Some("v1")) if meta => return Ok(Form::MetadataList),
            _ => {}
        }
    }
    if any {
        Err(Failure::NotAcceptable)
    } else {
        Ok(Form::Object)
    }
}

/// Whether the client takes aggregated discovery, v2, in preference to the old documents.
pub(crate) fn wants_aggregated(headers: &HeaderMap) -> bool {
    for media in accepted(headers) {
        let aggregated = media.parameter("as") == Some("APIGroupDiscoveryList");
        if aggregated
            && media.parameter("g") == Some("apidiscovery.k8s.io")
            && media.parameter("v") == Some("v2")
        {
            return true;
        }
        if !aggregated && ["application/json", "*/*"].contains(&media.name.as_str()) {
            return false;
        }
    }
    false
}

/// One media type of an `Accept` header.
pub(crate) struct Media {
    /// `application/json`
    pub name: String,
    parameters: Vec<(String, String)>,
}

impl Media {
    /// Reads `application/json;as=Table;v=v1`.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split(';');
        let name = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let parameters = parts.filter_map(|part| part.split_once('='));
        let parameters = parameters
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Self { name, parameters }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

fn accepted(headers: &HeaderMap) -> impl Iterator<Item = Media> {
    let values = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .filter(|text| !text.trim().is_empty())
        .map(Media::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_of(accept: &'static str) -> Result<Form, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        form(&headers)
    }

    #[test]
    fn what_clients_send() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form_of(kubectl), Ok(Form::Table));
        assert_eq!(
            form_of("application/vnd.kubernetes.protobuf,application/json"),
            Ok(Form::Object)
        );
        assert_eq!(
            form_of("application/vnd.kubernetes.protobuf, */*"),
            Ok(Form::Object)
        );
        assert_eq!(
            form_of("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
            Ok(Form::MetadataList)
        );
        assert_eq!(form(&HeaderMap::new()), Ok(Form::Object));
        assert_eq!(form_of("text/html"), Err(Failure::NotAcceptable));
    }

    #[test]
    fn aggregated_discovery_v2_only() {
        let mut headers = HeaderMap::new();
        let newer = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        headers.insert(header::ACCEPT, newer.parse().unwrap());
        assert!(wants_aggregated(&headers));
        let older =
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        headers.insert(header::ACCEPT, older.parse().unwrap());
        assert!(!wants_aggregated(&headers));
    }
}
