//! What can go wrong in a control loop: always a request to the API server.

use kube::core::Status;

/// A request that failed. The loop's queue logs it and tries the key again.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// An object or list could not be read.
    #[error("read {what}: {source}")]
    Read {
        /// Kind and name.
        what: String,
        /// The API's answer.
        #[source]
        source: kube::Error,
    },
    /// An object could not be created.
    #[error("create {what}: {source}")]
    Create {
        /// Kind and name.
        what: String,
        /// The API's answer.
        #[source]
        source: kube::Error,
    },
    /// An object could not be changed.
    #[error("update {what}: {source}")]
    Update {
        /// Kind and name.
        what: String,
        /// The API's answer.
        #[source]
        source: kube::Error,
    },
    /// An object could not be deleted.
    #[error("delete {what}: {source}")]
    Delete {
        /// Kind and name.
        what: String,
        /// The API's answer.
        #[source]
        source: kube::Error,
    },
}

impl RequestError {
    /// The API server's own words, where it answered.
    pub fn status(&self) -> Option<&Status> {
        let (Self::Read { source, .. }
        | Self::Create { source, .. }
        | Self::Update { source, .. }
        | Self::Delete { source, .. }) = self;
        status(source)
    }

    /// Someone else wrote the object first: read again, decide again.
    pub fn is_conflict(&self) -> bool {
        self.status()
            .is_some_and(|status| status.code == 409 && status.reason == "Conflict")
    }

    /// A new object's name is taken.
    pub fn already_exists(&self) -> bool {
        self.status()
            .is_some_and(|status| status.reason == "AlreadyExists")
    }

    /// The object is gone.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// Nothing can be created in this namespace any more, and nothing needs to be.
    pub fn namespace_is_terminating(&self) -> bool {
        let causes = self
            .status()
            .and_then(|status| status.details.as_ref())
            .map(|details| &details.causes);
        causes.is_some_and(|causes| causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
    }

    /// What users read in events and conditions: the API server's sentence, or else the error itself.
    pub fn sentence(&self) -> String {
        match self.status() {
            Some(status) if !status.message.is_empty() => status.message.clone(),
            _ => self.to_string(),
        }
    }
}

fn status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}
