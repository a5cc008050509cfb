//! Tokens of service accounts: a JSON Web Token, signed, that says who its bearer is and until when.
//!
//! Flows in: a key file, claims, tokens. Flows out: tokens, and the claims of those that are ours and in their time.
//! The algorithm is HS256 and no other: who signs is who checks. Never writes a token anywhere, log lines included.

mod bearer;
mod request;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::pki::{self, PkiError};

pub(crate) use bearer::{authenticate, review};
pub(crate) use request::issue;

/// Who issues the tokens, and the audience of those that name none: upstream's default for both.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The file of the key, within the folder of the certificates.
const KEY_FILE: &str = "sa.key";

const KEY_BYTES: usize = 32;

/// The secret that tokens are signed with. Clones share it.
#[derive(Clone)]
pub struct TokenKey(Arc<hmac::Key>);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

impl TokenKey {
    /// A key that nobody else has: tokens do not outlive it.
    #[must_use]
    pub fn random() -> Self {
        Self::new(&rand::rng().random::<[u8; KEY_BYTES]>())
    }

    /// The key in `folder` (`sa.key`, readable only to its owner), made if there is none.
    ///
    /// # Errors
    /// If the file cannot be read or written, or holds no key.
    pub fn open_or_create(folder: &Path) -> Result<Self, PkiError> {
        let path = folder.join(KEY_FILE);
        if !path.exists() {
            let secret = rand::rng().random::<[u8; KEY_BYTES]>();
            pki::write_private(&path, &URL_SAFE_NO_PAD.encode(secret))?;
        }
        let text = std::fs::read_to_string(&path).map_err(|source| pki::at(&path, source))?;
        let secret = URL_SAFE_NO_PAD.decode(text.trim()).unwrap_or_default();
        if secret.len() == KEY_BYTES {
            Ok(Self::new(&secret))
        } else {
            let why = "this is no key for tokens; without the file a new one is made, and the old tokens end";
            Err(pki::at(&path, std::io::Error::other(why)))
        }
    }

    fn new(secret: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// The claims as a signed token.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, serde_json::Error> {
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let signed = format!("{head}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, signed.as_bytes()));
        Ok(format!("{signed}.{signature}"))
    }

    /// The claims of a token that this key has signed and that is valid at `now`, in Unix seconds.
    pub(crate) fn verify(&self, token: &str, now: i64) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.0, signed.as_bytes(), &signature).ok()?;
        let head: Head = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).ok()?).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let in_time = claims.not_before <= now && now < claims.expires;
        (head.algorithm == "HS256" && claims.issuer == ISSUER && in_time).then_some(claims)
    }
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "alg")]
    algorithm: String,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Whom the token is for.
    #[serde(rename = "aud")]
    pub audiences: Vec<String>,
    /// Unix seconds: from then on the token is nothing.
    #[serde(rename = "exp")]
    pub expires: i64,
    /// Unix seconds.
    #[serde(rename = "iat")]
    pub issued: i64,
    #[serde(rename = "iss")]
    pub issuer: String,
    /// The token's own name, which may be shown.
    #[serde(rename = "jti")]
    pub id: String,
    /// Whom it stands for.
    #[serde(rename = "kubernetes.io")]
    pub bound: Bound,
    /// Unix seconds.
    #[serde(rename = "nbf")]
    pub not_before: i64,
    /// The user's name.
    #[serde(rename = "sub")]
    pub subject: String,
}

/// The objects that must exist for the token to be valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub namespace: String,
    pub serviceaccount: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
}

/// One certain object, not another of its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub name: String,
    pub uid: String,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn claims() -> Claims {
        Claims {
            audiences: vec![ISSUER.to_owned()],
            expires: 2000,
            issued: 1000,
            issuer: ISSUER.to_owned(),
            id: "1".to_owned(),
            bound: Bound {
                namespace: "default".to_owned(),
                serviceaccount: Reference {
                    name: "robot".to_owned(),
                    uid: "7".to_owned(),
                },
                pod: None,
                secret: None,
            },
            not_before: 1000,
            subject: "system:serviceaccount:default:robot".to_owned(),
        }
    }

    #[test]
    fn a_token_is_valid_in_its_time_and_under_its_key() {
        let key = TokenKey::random();
        let token = key.sign(&claims()).unwrap();
        assert_eq!(key.verify(&token, 1000), Some(claims()));
        assert_eq!(key.verify(&token, 1999), Some(claims()));
        assert_eq!(key.verify(&token, 999), None);
        assert_eq!(key.verify(&token, 2000), None);
        assert_eq!(TokenKey::random().verify(&token, 1000), None);
    }

    #[test]
    fn other_algorithms_are_refused_even_under_our_key() {
        let key = TokenKey::random();
        let token = key.sign(&claims()).unwrap();
        let rest = token.split_once('.').unwrap().1;
        let claims = rest.split_once('.').unwrap().0;
        for head in [r#"{"alg":"none"}"#, r#"{"alg":"RS256"}"#, "{}"] {
            let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(head));
            let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key.0, signed.as_bytes()));
            assert_eq!(key.verify(&format!("{signed}.{signature}"), 1500), None, "{head}");
            assert_eq!(key.verify(&format!("{signed}."), 1500), None, "{head}");
        }
    }

    #[test]
    fn the_key_stays_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let token = TokenKey::open_or_create(folder.path()).unwrap().sign(&claims());
        let again = TokenKey::open_or_create(folder.path()).unwrap();
        assert!(again.verify(&token.unwrap(), 1000).is_some());
        let path = folder.path().join(KEY_FILE);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "too short").unwrap();
        let error = TokenKey::open_or_create(folder.path()).unwrap_err().to_string();
        assert!(error.contains("sa.key") && error.contains("no key"), "{error}");
        assert_eq!(format!("{again:?}"), "TokenKey(..)");
    }

    proptest! {
        /// Whatever one byte of a token becomes, it is not another valid token.
        #[test]
        fn a_changed_token_is_refused(at in 0usize..1000, byte in 0x20u8..0x7f) {
            let key = TokenKey::new(&[7; KEY_BYTES]);
            let token = key.sign(&claims()).unwrap();
            let mut changed = token.clone().into_bytes();
            let at = at % changed.len();
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert_eq!(key.verify(&changed, 1500).is_some(), changed == token);
        }

        #[test]
        fn never_panics(token: String) {
            prop_assert_eq!(TokenKey::random().verify(&token, 1500), None);
        }
    }
}
