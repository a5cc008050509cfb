//! Which nodes there are: what is told when one comes or goes. Pure.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use kube::Resource as _;

/// A node that is older than this when the controller starts was there before it, and is no news.
const JUST_BEFORE: SignedDuration = SignedDuration::from_mins(1);

/// The nodes seen so far.
pub struct Roll {
    present: HashMap<String, ObjectReference>,
    start: Timestamp,
}

/// An event.
#[derive(Debug, PartialEq)]
pub struct News {
    pub about: ObjectReference,
    pub reason: &'static str,
    pub message: String,
}

impl Roll {
    /// Nobody yet. `start`: when the controller started.
    pub fn new(start: Timestamp) -> Self {
        Self {
            present: HashMap::new(),
            start,
        }
    }

    /// A node as it is now, `None`: gone. What there is to tell of it.
    pub fn call(&mut self, name: &str, node: Option<&Node>) -> Vec<News> {
        let about = node.map(|node| node.object_ref(&()));
        let uid = |about: &ObjectReference| about.uid.clone();
        let before = self.present.get(name);
        if before.map(uid) == about.as_ref().map(uid) {
            return Vec::new();
        }
        let mut news = Vec::new();
        if let Some(gone) = self.present.remove(name) {
            news.push(News {
                about: gone,
                reason: "RemovingNode",
                message: format!("Node {name} event: Removing Node {name} from Controller"),
            });
        }
        if let Some(about) = about {
            self.present.insert(name.to_owned(), about.clone());
            let created = node.and_then(|node| node.metadata.creation_timestamp.as_ref());
            if created.is_none_or(|created| self.start.duration_since(created.0) < JUST_BEFORE) {
                news.push(News {
                    about,
                    reason: "RegisteredNode",
                    message: format!("Node {name} event: Registered Node {name} in Controller"),
                });
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(uid: &str, created: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": { "name": "node-1", "uid": uid, "creationTimestamp": created } }))
        .unwrap()
    }

    #[test]
    fn a_node_is_told_of_when_it_comes_and_when_it_goes() {
        let mut roll = Roll::new("2026-01-01T10:00:00Z".parse().unwrap());
        let mut reasons = |node: Option<&Node>| -> Vec<_> {
            let news = roll.call("node-1", node);
            news.into_iter()
                .map(|news| (news.reason, news.about.uid))
                .collect()
        };
        let uid = |uid: &str| Some(uid.to_owned());
        let old = node("old", "2026-01-01T09:00:00Z");
        assert_eq!(reasons(Some(&old)), []);
        assert_eq!(reasons(None), [("RemovingNode", uid("old"))]);
        assert_eq!(reasons(None), []);
        let new = node("new", "2026-01-01T11:00:00Z");
        assert_eq!(reasons(Some(&new)), [("RegisteredNode", uid("new"))]);
        assert_eq!(reasons(Some(&new)), []);
        let another = node("another", "2026-01-01T12:00:00Z");
        let both = [("RemovingNode", uid("new")), ("RegisteredNode", uid("another"))];
        assert_eq!(reasons(Some(&another)), both);
    }

    #[test]
    fn a_node_that_registers_while_the_controller_starts_is_news() {
        let mut roll = Roll::new("2026-01-01T10:00:00.5Z".parse().unwrap());
        let news = roll.call("node-1", Some(&node("new", "2026-01-01T10:00:00Z")));
        let messages: Vec<_> = news.iter().map(|news| news.message.as_str()).collect();
        assert_eq!(
            messages,
            ["Node node-1 event: Registered Node node-1 in Controller"]
        );
    }
}
