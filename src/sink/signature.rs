//! Signatures of Standard Webhooks: HMAC-SHA256 over id, timestamp and body.
//!
//! **Architecture invariant:** no secret leaves this module.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The prefix of a secret.
const PREFIX: &str = "whsec_";

/// The lengths of a secret in bytes that the specification recommends.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// The most secrets in a file. Each makes the header longer.
const MOST: usize = 5;

/// The secrets that sign.
pub(super) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// Reads a file with a secret on each line.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        Self::parse(&std::fs::read_to_string(file).map_err(|error| error.to_string())?)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let secrets: Option<Vec<_>> = lines.map(secret).collect();
        match secrets {
            Some(secrets) if (1..=MOST).contains(&secrets.len()) => Ok(Self(secrets)),
            _ => Err(format!(
                "must contain 1 to {MOST} secrets, one per line: whsec_ and the base64 of {} to {} bytes",
                LENGTHS.start(),
                LENGTHS.end()
            )),
        }
    }

    /// The value of the header `webhook-signature`: a signature by each secret.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signatures = self.0.iter().filter_map(|secret| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

fn secret(line: &str) -> Option<Vec<u8>> {
    let secret = STANDARD.decode(line.strip_prefix(PREFIX)?).ok()?;
    LENGTHS.contains(&secret.len()).then_some(secret)
}
