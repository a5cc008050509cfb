//! Defaults of volumes.

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, Volume, VolumeProjection};
use serde_json::Value;

use super::text;

/// rw-r--r--
const MODE: i32 = 0o644;

/// Seconds that a projected service account token is valid.
const TOKEN_EXPIRATION: i64 = 3600;

/// Fills in a volume; one without a source is an `emptyDir`.
pub fn volume(volume: &mut Volume) {
    if !has_source(volume) {
        volume.empty_dir = Some(k8s_openapi::api::core::v1::EmptyDirVolumeSource::default());
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(MODE);
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(MODE);
    }
    if let Some(source) = &mut volume.host_path {
        source.type_.get_or_insert_default();
    }
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(MODE);
        downward(source.items.as_deref_mut());
    }
    if let Some(source) = &mut volume.projected {
        source.default_mode.get_or_insert(MODE);
        source.sources.iter_mut().flatten().for_each(projection);
    }
}

/// Whether any of the many kinds of source is given: whatever the volume has besides its name.
#[must_use]
pub fn has_source(volume: &Volume) -> bool {
    let fields = serde_json::to_value(volume).unwrap_or_default();
    fields
        .as_object()
        .is_some_and(|fields: &serde_json::Map<String, Value>| fields.keys().any(|key| key != "name"))
}

fn projection(projection: &mut VolumeProjection) {
    if let Some(token) = &mut projection.service_account_token {
        token.expiration_seconds.get_or_insert(TOKEN_EXPIRATION);
    }
    downward(
        projection
            .downward_api
            .as_mut()
            .and_then(|source| source.items.as_deref_mut()),
    );
}

fn downward(items: Option<&mut [DownwardAPIVolumeFile]>) {
    for field in items
        .into_iter()
        .flatten()
        .filter_map(|item| item.field_ref.as_mut())
    {
        text(&mut field.api_version, "v1");
    }
}
