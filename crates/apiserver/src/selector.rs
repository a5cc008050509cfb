//! What a list, a watch or a collection delete shows: label and field selectors over store entries.
//!
//! Flows in: `labelSelector` and `fieldSelector`. Flows out: a filter. Names and namespaces are read from the key, labels
//! and fields from the entry's memo. Never parses an object that has been asked about before.

use api::fields::FieldSelector;
use api::labels::Selector;
use store::Entry;

use crate::object::Memo;
use crate::query::Query;
use crate::resource::Resource;
use crate::status::Failure;

/// A filter over the entries of one resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    labels: Selector,
    fields: FieldSelector,
    name: Option<String>,
}

impl Filter {
    /// Reads both selectors; `name` narrows to one object.
    pub fn parse(resource: &Resource, query: &Query, name: Option<&str>) -> Result<Self, Failure> {
        let labels = Selector::parse(query.get("labelSelector").unwrap_or_default())
            .map_err(|error| Failure::BadRequest(error.to_string()))?;
        let text = query.get("fieldSelector").unwrap_or_default();
        let fields = FieldSelector::parse(text)
            .map_err(|error| Failure::BadRequest(format!("unable to parse field selector: {error}")))?;
        if let Some(field) = fields.unsupported(resource.kind.field_names) {
            let why = if resource.kind.field_names.is_empty() {
                format!(
                    "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                )
            } else {
                format!("field label not supported: {field}")
            };
            return Err(Failure::BadRequest(why));
        }
        Ok(Self {
            labels,
            fields,
            name: name.map(str::to_owned),
        })
    }

    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty() && self.name.is_none()
    }

    /// The one name that can be shown, if there is one: narrows the part of the store that is read.
    pub fn name(&self) -> Option<&str> {
        self.name
            .as_deref()
            .or_else(|| self.fields.requires("metadata.name"))
    }

    /// Whether an entry is shown.
    pub fn matches(&self, resource: &Resource, entry: &Entry) -> bool {
        let (namespace, own_name) = resource.split_key(&entry.key);
        if self.name.as_deref().is_some_and(|name| name != own_name) {
            return false;
        }
        if self.labels.is_empty() && self.fields.is_empty() {
            return true;
        }
        let view = resource.kind.stored_as.map(|_| Memo::of_view(resource, entry));
        let memo = || view.as_ref().unwrap_or_else(|| Memo::of(resource, entry));
        let fields = self.fields.matches(|field| match field {
            "metadata.name" => Some(own_name),
            "metadata.namespace" => Some(namespace),
            _ => memo().field(field),
        });
        fields && (self.labels.is_empty() || self.labels.matches(&memo().labels))
    }
}
